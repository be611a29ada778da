"""The addresses of a server, each tried by itself: TCP, the certificate, and whether a homeserver answers."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from matrixd.net.addresses import is_address
from matrixd.net.check.certificates import RENEW, Certificate
from matrixd.net.check.fetching import Fetched
from matrixd.net.check.report import Notes
from matrixd.net.check.subject import Subject
from matrixd.net.check.tools import Tools, is_loopback, is_private
from matrixd.net.connector import Opened
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.http_connection import Connection
from matrixd.net.route import Place, Route, bracketed

#: Places that are tried; each has at most eight addresses.
_MAX_PLACES = 4
_VERSION = "/_matrix/federation/v1/version"
_NO_CONNECTION = (FailureKind.CONNECT, FailureKind.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Working:
    """A connection on which a homeserver has answered."""

    connection: Connection
    where: str
    first: Fetched


@dataclass(frozen=True, slots=True)
class Unreachable:
    """An address that lets nobody in, as this machine sees it."""

    where: str
    address: str
    port: int
    problem: str


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of all addresses."""

    working: Sequence[Working]
    unreachable: Sequence[Unreachable]


class Connections:
    """Tries a route; `notes` of the connections and of the server API that begins there."""

    def __init__(self, tools: Tools, subject: Subject, notes: Notes, api: Notes) -> None:
        self._tools = tools
        self._subject = subject
        self._notes = notes
        self._api = api
        self._working: list[Working] = []
        self._unreachable: list[Unreachable] = []

    async def try_all(self, route: Route) -> Tried:
        """Try each address of each place."""
        for place in route.places[_MAX_PLACES:]:
            self._notes.skipped("addresses", place.host, f"Only {_MAX_PLACES} places are tried.")
        await _all([self._try_place(route, place) for place in route.places[:_MAX_PLACES]])
        return Tried(self._working, self._unreachable)

    def close(self) -> None:
        """Close the connections that still work."""
        for working in self._working:
            working.connection.abort_now()

    async def _try_place(self, route: Route, place: Place) -> None:
        try:
            found = await self._tools.connector.addresses(route.server_name, place.host)
        except RemoteError as error:
            self._notes.failure(
                "addresses", place.host, f"There is no address to go to: {error.error}.",
                f"Make A and AAAA records for {place.host} in the DNS: `{place.host}. IN A 203.0.113.7` with the "
                "server's own address. The target of an SRV record must be such a name, too."
                if error.kind is FailureKind.DNS
                else "This machine's `ip_range_blacklist` and `ip_range_whitelist` say where it may connect to.",
            )  # fmt: skip
            return
        if not is_address(place.host):
            self._tell_addresses(place, (*found.allowed, *found.refused))
        for address in found.refused:
            self._notes.skipped("address", address, "`ip_range_blacklist` forbids this server to connect to it.")
        for address in found.allowed:
            self._tell_address(place, address)
        await _all([self._try_address(route, place, address) for address in found.allowed])

    def _tell_addresses(self, place: Place, addresses: Sequence[str]) -> None:
        listed = ", ".join(addresses)
        if self._tools.hosts.addresses(place.host) and place.host != "localhost":
            self._notes.warning(
                "addresses", place.host, f"This machine's hosts file says {listed}; others ask the DNS instead.",
                f"See what they get: `dig +short A {place.host}` and `dig +short AAAA {place.host}`. To have this "
                "check see it, too, take the name out of /etc/hosts.",
            )  # fmt: skip
        else:
            self._notes.ok("addresses", place.host, f"The name has {_count(addresses)}: {listed}.")

    def _tell_address(self, place: Place, address: str) -> None:
        if self._subject.own is None or not is_private(address):
            return
        self._notes.warning(
            "private_address", address,
            "This is an address of this machine or of a private network: servers elsewhere cannot come here, and by "
            "default refuse to.",
            f"Let the DNS name the public address of {place.host}: for a server at home, that of the router, which has "
            f"to pass on TCP port {place.port}. Nothing is to be done in a closed network, or if only this machine's "
            "resolver says so.",
        )  # fmt: skip

    async def _try_address(self, route: Route, place: Place, address: str) -> None:
        where = f"{bracketed(address)}:{place.port}"
        try:
            opened = await self._tools.connector.open(route, place, [address])
        except RemoteError as error:
            if error.kind in _NO_CONNECTION:
                self._unreachable.append(Unreachable(where, address, place.port, _short(error)))
            else:
                await self._tell_refused(route, place, address, error)
            return
        self._tell_certificate(route, where, opened)
        await self._ask_version(route, where, opened.connection)

    def _tell_certificate(self, route: Route, where: str, opened: Opened) -> None:
        now_s = self._tools.clock.now_ms() / 1000
        certificate = Certificate.of(opened.handshake.chain)
        if certificate is None:
            self._notes.warning("certificate", where, "The certificate cannot be read.", "Look at it with openssl.")
            return
        text = f"{certificate.describe(now_s)} {opened.handshake.version}."
        if not self._tools.tls.is_verified(route.server_name, route.tls_name):
            self._notes.warning(
                "certificate", where, f"{text} This server verifies no certificate here; others do.",
                "Remove `federation_verify_certificates: false`, or the name from "
                "`federation_certificate_verification_whitelist`, and check again.",
            )  # fmt: skip
        elif certificate.ends_soon(now_s):
            self._notes.warning(
                "certificate", where, f"{text} It should have been renewed by now.", RENEW
            )
        elif self._tools.config.custom_ca_files and self._subject.own is not None:
            self._notes.ok(
                "certificate", where,
                f"{text} It is trusted because of `federation_custom_ca_list`: other servers need the same authority.",
            )  # fmt: skip
        else:
            self._notes.ok("certificate", where, text)

    async def _tell_refused(self, route: Route, place: Place, address: str, error: RemoteError) -> None:
        """A certificate that was refused is looked at."""
        where, now_s = f"{bracketed(address)}:{place.port}", self._tools.clock.now_ms() / 1000
        try:
            opened = await self._tools.unverified.open(route, place, [address])
        except RemoteError:
            self._notes.failure(
                "tls", where, f"TLS does not come about: {_short(error)}.",
                f"Port {place.port} must speak TLS 1.2 or later. In nginx: `listen {place.port} ssl;` - in matrixd a "
                "listener with `tls: true`.",
            )  # fmt: skip
            return
        certificate = Certificate.of(opened.handshake.chain)
        opened.connection.abort_now()
        described = "" if certificate is None else f" {certificate.describe(now_s)}"
        cure = "Get a new certificate." if certificate is None else certificate.cure(route.tls_name, now_s)
        self._notes.failure("certificate", where, f"Other servers refuse it: {_short(error)}.{described}", cure)

    async def _ask_version(self, route: Route, where: str, connection: Connection) -> None:
        try:
            fetched = await self._tools.fetcher.ask(connection, route.server_name, route.host_header, _VERSION)
        except RemoteError as error:
            connection.abort_now()
            self._api.failure(
                "version", where, f"The port takes connections, but no answer comes: {error.error}.",
                "See the logs of the reverse proxy and of the homeserver. Another program may have the port.",
            )  # fmt: skip
            return
        content = fetched.json
        if fetched.answer.status == 200 and isinstance(content, dict):
            server = content.get("server")
            named = server if isinstance(server, dict) else {}
            who = f"{named.get('name', 'a homeserver')} {named.get('version', '')}".strip()[:100]
            self._api.ok("version", where, f"{who} answers.")
            self._working.append(Working(connection, where, fetched))
            return
        connection.abort_now()
        self._api.failure(
            "version", where, f"{_VERSION} is not answered by a homeserver: {fetched.told()}.",
            proxy_cure(self._subject, fetched),
        )  # fmt: skip


def proxy_cure(subject: Subject, fetched: Fetched) -> str:
    """What may be wrong with what stands before the homeserver."""
    status = fetched.answer.status
    if status in (502, 503, 504) and fetched.errcode is None:
        return (
            "The reverse proxy does not reach the homeserver. Is it running (`synctl status`), and does `proxy_pass` "
            f"name a port of its listeners? nginx: {subject.nginx}"
        )
    if status in (301, 302, 307, 308):
        return f"Other servers follow no redirects here. Pass the requests on instead. nginx: {subject.nginx}"
    if fetched.errcode is not None:
        return (
            "A homeserver answers, but not on this path. Either its listener has no `federation` in `resources`, or "
            "the reverse proxy changes the path: after the port, `proxy_pass` must have nothing, not even a slash. "
            f"nginx: {subject.nginx}"
        )
    return f"The web server answers by itself instead of passing the request on. nginx: {subject.nginx}"


def tell_unreachable(subject: Subject, tried: Tried, is_seen: bool, notes: Notes) -> None:
    """The addresses that let nobody in. is_seen: another server has just reached ours."""
    for one in tried.unreachable:
        if is_seen:
            notes.warning(
                "connection", one.where,
                f"This machine does not get in ({one.problem}), but another server just did: the router does not let "
                "machines behind it in by their outside address (no hairpin NAT).",
                "Nothing is to be done for other servers. For clients in the same network switch on hairpin NAT (NAT "
                "loopback) in the router, or let the network's own DNS name the server's inside address.",
            )  # fmt: skip
        elif subject.own is not None and not is_private(one.address):
            notes.failure(
                "connection", one.where, f"No connection comes about: {one.problem}.",
                f"{_open_cure(one)} If this machine stands behind a router, it may be that only machines behind it "
                "cannot use the outside address (no hairpin NAT). Then this is a false alarm: try from outside, for "
                f"example with a phone without WLAN, https://{one.where}/_matrix/federation/v1/version - an answer, or "
                "a complaint about the certificate's name, shows that the port is open.",
            )  # fmt: skip
        else:
            notes.failure("connection", one.where, f"No connection comes about: {one.problem}.", _open_cure(one))


def _open_cure(one: Unreachable) -> str:
    port = one.port
    if ":" in one.address and not is_loopback(one.address):
        return (
            f"The program must listen on IPv6, too (nginx: `listen [::]:{port} ssl;`), and firewalls must let TCP port "
            f"{port} through. If the machine has no IPv6, remove the AAAA record."
        )
    if "refused" in one.problem:
        return (
            f"Nothing listens on TCP port {port}, or a firewall answers. Let the reverse proxy (nginx: `listen {port} "
            f"ssl;`) or a listener of matrixd take it; a router must pass it on. Other servers can be sent to port 443 "
            "by /.well-known/matrix/server (`serve_server_wellknown: true`)."
        )
    return (
        f"A firewall or router drops what comes to TCP port {port}. Open it: `ufw allow {port}/tcp`, the security "
        "group of the hosting company, the port forwarding of the router."
    )


def _short(error: RemoteError) -> str:
    """Without the place, which stands beside it."""
    head, colon, tail = error.error.partition(": ")
    return tail if colon and " port " in head else error.error


def _count(addresses: Sequence[str]) -> str:
    return "one address" if len(addresses) == 1 else f"{len(addresses)} addresses"


async def _all(coroutines: Sequence[Coroutine["Deferred[Any]", Any, None]]) -> None:
    await gatherResults([Deferred.fromCoroutine(each) for each in coroutines], consumeErrors=True)
