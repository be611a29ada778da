"""The other end of a connection: a site on a clock of the test's, and what it writes, parsed."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock as Reactor
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Answer, Call
from matrixd.http.kit.channel import MatrixChannel
from matrixd.http.kit.dispatch import Dispatcher
from matrixd.http.kit.metrics import RequestMetrics
from matrixd.http.kit.route import Auth, Route, Router
from matrixd.http.kit.server import MatrixSite, TrustedProxies
from matrixd.queries.authentication import Requester
from matrixd.util.ratelimit import RateLimiter

ALICE = Requester("@alice:test", 1, "DEVICE", 1, b"")
GUEST = Requester("@guest:test", 2, "GUEST", 2, b"", is_guest=True)
ADMIN = Requester("@admin:test", 3, "ADMIN", 3, b"", is_admin=True)
LOCKED = Requester("@locked:test", 4, "LOCKED", 4, b"", is_locked=True)
TOKENS = {"alice": ALICE, "guest": GUEST, "admin": ADMIN, "locked": LOCKED}
MAX_BODY = 1000
#: The body of the answer of `large`, in bytes.
LARGE = 6 * 1024 * 1024
_ROOM = "/_matrix/client/v3/rooms/{roomId}"


class Tokens:
    """In the place of the authenticator."""

    async def requester(self, token: str) -> Requester:
        if token not in TOKENS:
            raise MatrixError(401, "M_UNKNOWN_TOKEN", "The access token is not known.", soft_logout=False)
        return TOKENS[token]


@dataclass(frozen=True)
class Rate:
    per_second: float = 0.5
    burst_count: float = 2


class ReactorClock:
    """The clock of the dispatcher is the reactor's."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def now_ms(self) -> int:
        return int(self._reactor.seconds() * 1000)

    def monotonic(self) -> float:
        return float(self._reactor.seconds())


class Named(msgspec.Struct):
    """A body."""

    name: str
    size: int = 0
    inner: Named | None = None
    names: list[str] = []
    free: dict[str, Any] = {}


class Endpoints:
    """Endpoints that show what came in, wait, and fail."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[object]] = []
        self.ended: list[str] = []
        self.calls: list[Call] = []
        self.large_answers = 0

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/_matrix/client/v3/account/whoami", self.whoami, spec="x"),
            Route("GET", "/_matrix/client/v3/open", self.echo, spec="x", auth=Auth.NONE),
            Route("GET", "/_matrix/client/v3/optional", self.whoami, spec="x", auth=Auth.OPTIONAL),
            Route("GET", "/_matrix/client/v3/guest", self.whoami, spec="x", auth=Auth.GUEST),
            Route("GET", "/_matrix/client/v3/admin", self.whoami, spec="x", auth=Auth.ADMIN),
            Route("POST", "/_matrix/client/v3/logout", self.whoami, spec="x"),
            Route("GET", "/_matrix/client/v3/limited", self.whoami, spec="x", limit="few"),
            Route("GET", "/_matrix/client/v3/limited_open", self.echo, spec="x", auth=Auth.NONE, limit="few"),
            Route("POST", "/_matrix/client/v3/echo", self.echo, spec="x", auth=Auth.NONE, max_body=MAX_BODY),
            Route("POST", "/_matrix/client/v3/typed", self.typed, spec="x", auth=Auth.NONE),
            Route("POST", "/_matrix/client/v3/form", self.form, spec="x", auth=Auth.NONE, takes_form=True),
            Route("GET", "/_matrix/client/v3/wait", self.wait, spec="x", auth=Auth.NONE),
            Route("GET", "/_matrix/client/v3/large", self.large, spec="x", auth=Auth.NONE),
            Route("GET", "/_matrix/client/v3/fail", self.fail, spec="x", auth=Auth.NONE),
            Route("GET", "/_matrix/client/v3/page", self.page, spec="x", auth=Auth.NONE),
            Route("GET", "/_matrix/client/v3/injected", self.injected, spec="x", auth=Auth.NONE),
            Route("GET", _ROOM + "/state/{type}/{stateKey}", self.echo, spec="x", auth=Auth.NONE),
            Route("PUT", _ROOM + "/send/{type}/{txnId}", self.echo, spec="x", auth=Auth.NONE),
        ]  # fmt: skip

    async def whoami(self, call: Call) -> object:
        requester = call.maybe_requester
        return {"user_id": requester.user_id if requester else None}

    async def echo(self, call: Call) -> object:
        self.calls.append(call)
        return {"path": call.parameters, "ip": call.client_ip, "q": call.query_all("q"), "body": call.json()}

    async def typed(self, call: Call) -> object:
        return {"name": call.body(Named).name}

    async def form(self, call: Call) -> object:
        return {"token": call.query("token")}

    async def wait(self, call: Call) -> object:
        done: Deferred[object] = Deferred()
        self.waiting.append(done)
        call.on_disconnect(lambda: self.ended.append("gone"))
        call.on_shutdown(lambda: done.callback({"stopped": True}))
        return await done

    async def large(self, call: Call) -> object:
        self.large_answers += 1
        return Answer(200, b"x" * LARGE, b"text/plain")

    async def fail(self, call: Call) -> object:
        raise RuntimeError("the secret inside")

    async def page(self, call: Call) -> object:
        return Answer(200, b"<p>", b"text/html", {b"X-Own": b"1"})

    async def injected(self, call: Call) -> object:
        return Answer(302, b"", headers={b"Location": (call.query("to") or "").encode()})


@dataclass(frozen=True)
class Parsed:
    """An answer as it was written."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def errcode(self) -> str:
        return str(self.json["errcode"])


class _Transport(StringTransportWithDisconnection):
    """One that can be closed on one side, and whose client can read slowly."""

    has_ended = False
    is_slow = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.is_slow and self.producer is not None:
            self.producer.pauseProducing()

    def loseWriteConnection(self) -> None:
        self.has_ended = True


class Peer:
    """A client without a socket."""

    transport: Any

    def __init__(self, site: MatrixSite, address: str) -> None:
        self.site = site
        self.transport = _Transport(peerAddress=IPv4Address("TCP", address, 4711))
        channel = site.buildProtocol(None)
        assert isinstance(channel, MatrixChannel)
        self.channel = self.transport.protocol = channel
        channel.makeConnection(self.transport)

    def send(self, data: bytes) -> Peer:
        self.channel.dataReceived(data)
        return self

    def disconnect(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))

    def written(self) -> bytes:
        """The bytes that have come since the last time."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    @property
    def is_open(self) -> bool:
        return bool(self.transport.connected)

    def answers(self, methods: Sequence[str] = ()) -> list[Parsed]:
        """What has come so far; the methods of the requests, where one is HEAD."""
        data = self.written()
        found: list[Parsed] = []
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            version, status, _ = first.split(" ", 2)
            assert version in ("HTTP/1.1", "HTTP/1.0")
            pairs = [line.split(": ", 1) for line in lines]
            headers = {name.lower(): value for name, value in pairs}
            assert len(headers) == len(pairs), "a header is there twice"
            is_head = len(methods) > len(found) and methods[len(found)] == "HEAD"
            length = 0 if is_head else int(headers.get("content-length", 0))
            found.append(Parsed(int(status), headers, data[:length]))
            assert len(data) >= length
            data = data[length:]
        return found

    def answer(self, data: bytes = b"", method: str = "") -> Parsed:
        """The only answer, after sending."""
        if data:
            self.send(data)
        answers = self.answers([method])
        assert len(answers) == 1, answers
        return answers[0]


class World:
    """A site with its endpoints, and peers of it."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self.reactor = Reactor()
        self.endpoints = Endpoints()
        self.seen: list[tuple[str, str, str]] = []
        self.metrics = RequestMetrics()
        self.dispatcher = Dispatcher(
            Router(self.endpoints.routes()),
            Tokens(),  # type: ignore[arg-type]
            {"few": RateLimiter(Rate())},
            ReactorClock(self.reactor),
            lambda requester, ip, agent: self.seen.append((requester.user_id, ip, agent)),
            self.metrics,
        )
        proxies = TrustedProxies([ipaddress.ip_network(network) for network in networks], unix=False)
        self.site = MatrixSite(self.dispatcher, proxies, self.reactor)

    def peer(self, address: str = "192.0.2.1") -> Peer:
        return Peer(self.site, address)

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Parsed:
        """One request on a connection of its own."""
        return self.peer().answer(request(method, target, body, **headers), method)


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request; underscores in the names of headers stand for hyphens."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def fired(deferred: Deferred[Any]) -> bool:
    """Whether the Deferred has its result."""
    return bool(deferred.called)
