"""The TURN servers: with the credentials that clients get, each makes a relay, and takes it back."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory

from matrixd.net.addresses import is_address
from matrixd.net.check.certificates import Certificate
from matrixd.net.check.report import Notes
from matrixd.net.check.subject import TurnAccess
from matrixd.net.check.tools import Tools, is_private
from matrixd.net.connector import HANDSHAKE_S
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.failures import NETWORK_FAILURES, explain
from matrixd.net.tls import Handshake
from matrixd.net.turn import (
    Allocation,
    DatagramExchange,
    Exchange,
    NoAnswer,
    Refused,
    StreamExchange,
    TurnError,
    TurnUri,
    WrongCredentials,
    allocate_and_release,
    look_up,
)

_MAX_URIS = 8
_MAX_ADDRESSES = 4


class Calls:
    """Tries the URIs."""

    def __init__(self, tools: Tools, access: TurnAccess, notes: Notes) -> None:
        self._tools = tools
        self._access = access
        self._notes = notes

    async def check(self) -> None:
        """Try them side by side."""
        await gatherResults(
            [Deferred.fromCoroutine(self._try(text)) for text in self._access.uris[:_MAX_URIS]], consumeErrors=True
        )
        if not any(uri.startswith("turns:") for uri in self._access.uris) and not self._notes.has_failed():
            self._notes.skipped("turns", "turn_uris", "There is no turns: URI, for networks that let only TLS out.")

    async def _try(self, text: str) -> None:
        try:
            uri = TurnUri.parse(text)
        except ValueError as error:
            self._notes.failure("turn", text, f"Not a TURN URI: {error}.", "Write `turn:turn.my.domain?transport=udp`.")
            return
        if uri.is_tls and uri.transport == "udp":
            self._notes.skipped("turn", text, "DTLS, TLS over UDP, is not tried; few clients use it.")
            return
        try:
            found = (uri.host,) if is_address(uri.host) else await self._tools.dns.addresses(uri.host, uri.host)
        except RemoteError as error:
            self._notes.failure(
                "turn", text, f"The name leads nowhere: {error.error}.",
                f"Make an A record for {uri.host} in the DNS, or correct `turn_uris`.",
            )  # fmt: skip
            return
        for address in found[:_MAX_ADDRESSES]:
            await self._try_address(uri, address)

    async def _try_address(self, uri: TurnUri, address: str) -> None:
        where = uri.text if uri.host == address else f"{uri.text} ({address})"
        attempt = _Attempt(self._tools, uri, address)
        try:
            exchange = await attempt.open()
            try:
                if not uri.is_relay:
                    self._notes.ok("stun", where, f"It tells clients their address, such as {await look_up(exchange)}.")
                    return
                made = await allocate_and_release(exchange, self._access.username, self._access.password)
            finally:
                await attempt.close()
        except RemoteError as error:
            self._tell_unreachable(uri, where, attempt, error)
        except TurnError as error:
            self._notes.failure("turn", where, f"It gives no relay: {error}.", _cure(uri, error))
        else:
            self.tell(where, address, made)

    def _tell_unreachable(self, uri: TurnUri, where: str, attempt: "_Attempt", error: RemoteError) -> None:
        if error.kind is not FailureKind.TLS:
            self._notes.failure("turn", where, f"No connection comes about: {error.error}.", _open_cure(uri))
            return
        certificate = Certificate.of(attempt.handshake.chain) if attempt.handshake is not None else None
        now_s = self._tools.clock.now_ms() / 1000
        self._notes.failure(
            "turn", where, f"Clients refuse it: {error.error}.",
            "In turnserver.conf: `cert=…/fullchain.pem` and `pkey=…/privkey.pem`, for the name in the URI."
            if certificate is None
            else f"{certificate.describe(now_s)} {certificate.cure(uri.host, now_s)} coturn's are `cert` and `pkey`.",
        )  # fmt: skip

    def tell(self, where: str, address: str, made: Allocation) -> None:
        """What an allocation by the server at `address` shows."""
        relay = made.relayed
        if not made.needs_credentials:
            self._notes.failure(
                "turn", where, "It gives relays to anybody, without a password: it will be misused.",
                "In turnserver.conf: `use-auth-secret` and `static-auth-secret=…`, the value of `turn_shared_secret`, "
                "and no `no-auth`.",
            )  # fmt: skip
        elif is_private(relay.address) and not is_private(address):
            self._notes.failure(
                "turn", where, f"The relay has the address {relay}, which nobody outside can reach: calls stay silent.",
                f"In turnserver.conf: `external-ip={address}/{relay.address}`.",
            )  # fmt: skip
        elif is_private(relay.address):
            self._notes.warning(
                "turn", where, f"It gives relays, such as {relay}: in a private network only.",
                "Let the URI name the server's public address, and in turnserver.conf: "
                f"`external-ip=PUBLIC/{relay.address}`. Nothing is to be done in a closed network.",
            )  # fmt: skip
        else:
            self._notes.ok("turn", where, f"It gives a relay, {relay} for {made.lifetime_s} s, and takes it back.")
        if made.needs_credentials and not made.is_released:
            self._notes.warning(
                "turn_release", where, "It does not take a relay back before its time is over.",
                "See the log of the TURN server: ports may run out.",
            )  # fmt: skip


class _Attempt:
    """One connection to a TURN server."""

    def __init__(self, tools: Tools, uri: TurnUri, address: str) -> None:
        self._tools = tools
        self._uri = uri
        self._address = address
        self._port: Any = None
        self._stream: StreamExchange | None = None
        self.handshake: Handshake | None = None

    async def open(self) -> Exchange:
        """Raises RemoteError."""
        uri, reactor = self._uri, self._tools.reactor
        if uri.transport == "udp":
            datagrams = DatagramExchange(reactor, self._address, uri.port)
            family = "::" if ":" in self._address else "0.0.0.0"
            try:
                self._port = reactor.listenUDP(0, datagrams, interface=family)
            except (CannotListenError, OSError) as error:
                raise RemoteError(uri.host, FailureKind.CONNECT, f"no way to {self._address}: {error}") from None
            return datagrams
        self._stream = await self._connect()
        return self._stream

    async def _connect(self) -> StreamExchange:
        uri, reactor = self._uri, self._tools.reactor
        ready: Deferred[None] = Deferred()
        factory: Any = Factory.forProtocol(lambda: StreamExchange(reactor, ready if uri.is_tls else None))
        factory.noisy = False
        if uri.is_tls:
            self.handshake = self._tools.tls.handshake(uri.host, verify=True)
            creator: Any = self.handshake
            factory = TLSMemoryBIOFactory(creator, True, factory, reactor)
        where = f"{uri.host} port {uri.port}"
        connected = await self._tools.connector.transport(uri.host, where, factory, uri.port, [self._address])
        if not uri.is_tls:
            stream: StreamExchange = connected
            return stream
        stream = connected.wrappedProtocol
        try:
            await ready.addTimeout(HANDSHAKE_S, reactor)
        except (CancelledError, DeferredTimeout, *NETWORK_FAILURES) as error:
            stream.transport.abortConnection()
            problem = self.handshake.problem if self.handshake is not None else None
            raise RemoteError(uri.host, FailureKind.TLS, problem or explain(error)[1]) from None
        return stream

    async def close(self) -> None:
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
        if self._stream is not None:
            self._stream.transport.abortConnection()


def _cure(uri: TurnUri, error: TurnError) -> str:
    if isinstance(error, WrongCredentials):
        return (
            "`turn_shared_secret` in homeserver.yaml must be the `static-auth-secret` of turnserver.conf, which also "
            "needs `use-auth-secret`. With fixed credentials, `turn_username` and `turn_password` must be its `user`. "
            "The clocks of both machines must be right, for credentials end."
        )
    if isinstance(error, NoAnswer):
        return _open_cure(uri)
    if isinstance(error, Refused):
        return "See the log of the TURN server. 486 and 508 mean that it has no more relays to give: raise its quotas."
    return "Something else than a TURN server answers on the port: correct `turn_uris`."


def _open_cure(uri: TurnUri) -> str:
    kind = uri.transport.upper()
    option = "tls-listening-port" if uri.is_tls else "listening-port"
    return (
        f"The TURN server must run, with `{option}={uri.port}`, and firewalls and routers must let {kind} port "
        f"{uri.port} through to it, and the UDP ports from its `min-port` to its `max-port`."
    )
