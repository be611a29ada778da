"""A homeserver that a test makes wrong where it wants, and the check of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from twisted.names.client import Resolver

from matrixd.config.federation import AddressRules
from matrixd.config.listeners import Listener
from matrixd.core.request_signing import authorization, parse_authorization
from matrixd.core.server_keys import published_keys
from matrixd.core.signing import SigningKey
from matrixd.net.check.check import Check
from matrixd.net.check.clients import SEEN
from matrixd.net.check.report import Report, Result, State
from matrixd.net.check.subject import OwnServer, Subject
from matrixd.net.check.tools import Tools, make_tools
from matrixd.net.connector import Connector
from matrixd.net.dns import Dns
from matrixd.net.hosts_file import HostsFile
from matrixd.net.tls import ClientTls
from matrixd.util.clock import SystemClock
from tests.support.authority import Certificate
from tests.unit.net.loopback import Asked, Net, Peer, TlsServer, answer, config

NAME = "a.example"
KEY = SigningKey.from_seed("a", b"a" * 32)
OURS = SigningKey.from_seed("b", b"b" * 32)
HOUR_MS = 60 * 60 * 1000
CORS = {"Access_Control_Allow_Origin": "*"}
VERSION = "/_matrix/federation/v1/version"
KEYS = "/_matrix/key/v2/server"
WELL_KNOWN = "/.well-known/matrix/server"
CLIENT_WELL_KNOWN = "/.well-known/matrix/client"
VERSIONS = "/_matrix/client/versions"

#: What is answered to a path, in the place of the right answer.
Answering = bytes | Callable[[Asked], bytes]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def json_answer(content: Any, status: str = "200 OK", **headers: str) -> bytes:
    return answer(json.dumps(content).encode(), status, Date=formatdate(usegmt=True), **headers)


def refusal(status: str, errcode: str) -> bytes:
    return json_answer({"errcode": errcode, "error": "So the test wants it."}, status)


def page(status: str) -> bytes:
    """What a web server says by itself."""
    return answer(b"<html>nginx</html>", status, **{"Content-Type": "text/html", "Server": "nginx"})


class Homeserver:
    """Answers everything on one port, right or as `instead` says by path."""

    def __init__(self, net: Net, *, is_own: bool = False, certificate: Certificate | None = None) -> None:
        self.instead: dict[str, Answering] = {}
        self.is_own = is_own
        #: Who signs requests to it.
        self.sender = KEY if is_own else OURS
        self.key = KEY
        self.valid_ms = 24 * HOUR_MS
        made = certificate or net.authority.issue(NAME, "localhost")
        self.tls: TlsServer = net.serve_with(made, self._handle)

    @property
    def port(self) -> int:
        return self.tls.port

    def _handle(self, peer: Peer) -> None:
        while (asked := peer.read()) is not None:
            peer.write(self._answer(asked))

    def _answer(self, asked: Asked) -> bytes:
        path = asked.line.split(" ")[1].partition("?")[0]
        instead = self.instead.get(path)
        if instead is not None:
            return instead(asked) if callable(instead) else instead
        right: Mapping[str, Any] = {
            VERSION: {"server": {"name": "fake", "version": "1"}},
            KEYS: published_keys(NAME, [self.key], [], now_ms() + self.valid_ms),
            VERSIONS: {"versions": ["v1.19"]},
            CLIENT_WELL_KNOWN: {"m.homeserver": {"base_url": f"https://{NAME}/"}},
            SEEN: {"client_ip": "127.0.0.1"},
        }
        if path in right:
            return json_answer(right[path], **(CORS if path in (VERSIONS, CLIENT_WELL_KNOWN) else {}))
        if path.startswith("/_matrix/federation/"):
            return self._signed(asked)
        return refusal("404 Not Found", "M_UNRECOGNIZED")

    def _signed(self, asked: Asked) -> bytes:
        method, target, _ = asked.line.split(" ")
        signature = parse_authorization(asked.headers["authorization"].encode())
        assert signature.destination == NAME
        if not signature.fits(method, target, b"", self.sender.verify_key):
            return refusal("401 Unauthorized", "M_UNAUTHORIZED")
        if self.is_own:
            return refusal("403 Forbidden", "M_FORBIDDEN")
        return refusal("404 Not Found", "M_NOT_FOUND")


class _Moved(Connector):
    """Nobody may listen on 443 in a test."""

    ports: Mapping[int, int] = {}

    async def transport(self, server_name: str, where: str, factory: Any, port: int, addresses: Sequence[str]) -> Any:
        return await super().transport(server_name, where, factory, self.ports.get(port, port), addresses)


@dataclass
class Looking:
    """How a check is made. ports: where connections to a port go instead."""

    net: Net
    ports: Mapping[int, int]
    own: OwnServer | None = None
    name: str = NAME
    sign_with: SigningKey | None = OURS
    patience_s: float = 20.0
    changes: Mapping[str, Any] = field(default_factory=dict)

    def report(self) -> Report:
        """What is found."""

        async def run() -> Report:
            subject = Subject(self.name, self.own, None if self.sign_with is None else self._sign)
            return await Check(self._tools(), subject, patience_s=self.patience_s).run()

        return self.net.run(run())

    def tools(self) -> Tools:
        """What a check works with."""
        return self.net.call(self._tools)

    def _tools(self) -> Tools:
        net = self.net

        def connect(reactor: Any, dns: Dns, rules: AddressRules, tls: ClientTls) -> Connector:
            moved = _Moved(reactor, dns, rules, tls)
            moved.ports = self.ports
            return moved

        def dns(hosts: HostsFile, budget: Any) -> Dns:
            resolver = Resolver(servers=[net.name_server], timeout=(1,), reactor=net.reactor)
            return Dns(resolver, hosts, SystemClock(), net.reactor, budget)

        return make_tools(
            config(net.authority, **self.changes),
            net.reactor,
            SystemClock(),
            HostsFile(net.hosts, time.monotonic),
            dns,
            is_own=self.own is not None,
            make_connector=connect,
        )

    def _sign(self, destination: str, method: str, target: str, body: bytes | None) -> Sequence[bytes]:
        assert self.sign_with is not None
        origin = self.name if self.own is not None else "here.example"
        return [authorization(method, target, origin, destination, self.sign_with, body)]


def everywhere(homeserver: Homeserver) -> dict[int, int]:
    """All ports lead to one."""
    return {443: homeserver.port, 8448: homeserver.port}


def own_server(port: int, **changes: Any) -> OwnServer:
    """What the configuration of `a.example` says; the listener is at `port`."""
    listener = Listener(
        port, ("127.0.0.1",), None, 0o666, "http", True, False, (), frozenset({"client", "federation"})
    )
    values: dict[str, Any] = {
        "listeners": [listener],
        "public_baseurl": f"https://{NAME}/",
        "keys": {KEY.key_id: KEY.verify_key.to_base64()},
        "key_refresh_interval_ms": 24 * HOUR_MS,
        "notaries": [],
        "turn": None,
    }
    return OwnServer(**{**values, **changes})


def found(report: Report, check: str) -> Result:
    """The one result of this name; the worst, if there are several."""
    states = [State.FAILURE, State.WARNING, State.OK, State.SKIPPED]
    results = sorted((r for r in report.results if r.check == check), key=lambda r: states.index(r.state))
    assert results, f"there is no {check} in {report.results}"
    return results[0]


def wrong(report: Report) -> list[str]:
    """The names of what failed."""
    return [result.check for result in report.results if result.state is State.FAILURE]

