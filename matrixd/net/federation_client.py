"""Requests to other servers: signed, sent to where the server is, bounded in time and size; their errors told apart.

https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

import re
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.failure import Failure

from matrixd import __version__
from matrixd.core import canonical_json
from matrixd.net.answers import content_of, refusal_of
from matrixd.net.connection_pool import ConnectionPool, PoolFull, PoolLimits
from matrixd.net.connector import Connector
from matrixd.net.discovery import Discovery
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.failures import NETWORK_FAILURES, explain
from matrixd.net.http_connection import Answer, Connection, Consumer, NotAnswered, Request
from matrixd.net.outages import Outages
from matrixd.net.paths import target_of
from matrixd.util.clock import Clock

#: Makes the values of the Authorization headers: destination, method, target, and the body, which is canonical JSON.
Sign = Callable[[str, str, str, bytes | None], Sequence[bytes]]

Query = Sequence[tuple[str, str]]

#: The largest answer, unless the caller says otherwise.
MAX_BYTES: Final = 10 * 1024 * 1024
_USER_AGENT = f"User-Agent: matrixd/{__version__}\r\n"
_TARGET = re.compile(r"/[\x21-\x7e]*")


class Reachable(Protocol):
    """Who remembers which servers answer."""

    def check(self, destination: str) -> None:
        """Raises RemoteError(BACKING_OFF) if it is not to be asked now."""

    def succeeded(self, destination: str) -> None:
        """It has answered a request."""

    def failed(self, destination: str, error: RemoteError) -> None:
        """A request gave an error, of whatever kind."""


@dataclass(slots=True)
class _Sent:
    """A request, and how far it has come."""

    destination: str
    method: str
    target: str
    body: bytes
    authorization: Sequence[bytes]
    max_bytes: int
    consume: Consumer | None
    is_sent: bool = False

    def request(self, host_header: str) -> Request:
        """It as bytes."""
        start = f"{self.method} {self.target} HTTP/1.1\r\nHost: {host_header}\r\n{_USER_AGENT}"
        lines = [start.encode("ascii")]
        lines += [b"Authorization: %b\r\n" % value for value in self.authorization]
        if self.body:
            lines.append(b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(self.body))
        lines.append(b"\r\n")
        return Request(self.method.encode("ascii"), b"".join(lines), self.body)


class FederationClient:
    """Asks other servers.

    All methods take: destination, a server name. path, made by `paths.path_of`. timeout_s, for all of it (None: the
    option `federation.client_timeout`). max_bytes, of the answer. ignore_backoff, to ask a server that failed lately.
    consume, which takes the body of a 2xx answer piece by piece; if it returns a Deferred, the next piece comes when
    that has fired. Then the result is None, and what `consume` raises is raised.

    content is a JSON object; as bytes it is canonical JSON already (a transaction, whose events are encoded once for
    all servers).

    All return the answer's JSON and raise RemoteError. Redirects are not followed.
    """

    def __init__(
        self,
        server_name: str,
        sign: Sign,
        discovery: Discovery,
        connector: Connector,
        reachability: Reachable,
        clock: Clock,
        reactor: Any,
        *,
        partners: Container[str] | None = None,
        timeout_s: float = 60,
        limits: PoolLimits | None = None,
    ) -> None:
        self._server_name = server_name
        self._sign = sign
        self._discovery = discovery
        self._connector = connector
        self._reachability = reachability
        self._clock = clock
        self._reactor = reactor
        self._partners = partners
        self._timeout_s = timeout_s
        self._outages = Outages()
        self.pool = ConnectionPool(reactor, self._connect, limits or PoolLimits())
        #: How many requests had which outcome: `ok`, or the value of a FailureKind.
        self.outcomes: Counter[str] = Counter()
        #: How many connections were opened.
        self.opened = 0

    async def get(
        self,
        destination: str,
        path: str,
        query: Query = (),
        *,
        timeout_s: float | None = None,
        max_bytes: int = MAX_BYTES,
        ignore_backoff: bool = False,
        consume: Consumer | None = None,
    ) -> Any:
        """A signed GET."""
        sent = self._signed(destination, "GET", target_of(path, query), None, max_bytes, consume)
        return await self._send(sent, timeout_s, ignore_backoff=ignore_backoff)

    async def put(
        self,
        destination: str,
        path: str,
        content: Any,
        query: Query = (),
        *,
        timeout_s: float | None = None,
        max_bytes: int = MAX_BYTES,
        ignore_backoff: bool = False,
        consume: Consumer | None = None,
    ) -> Any:
        """A signed PUT of a JSON object."""
        sent = self._signed(destination, "PUT", target_of(path, query), content, max_bytes, consume)
        return await self._send(sent, timeout_s, ignore_backoff=ignore_backoff)

    async def post(
        self,
        destination: str,
        path: str,
        content: Any,
        query: Query = (),
        *,
        timeout_s: float | None = None,
        max_bytes: int = MAX_BYTES,
        ignore_backoff: bool = False,
        consume: Consumer | None = None,
    ) -> Any:
        """A signed POST of a JSON object."""
        sent = self._signed(destination, "POST", target_of(path, query), content, max_bytes, consume)
        return await self._send(sent, timeout_s, ignore_backoff=ignore_backoff)

    async def get_unsigned(
        self,
        destination: str,
        path: str,
        query: Query = (),
        *,
        timeout_s: float | None = None,
        max_bytes: int = MAX_BYTES,
        ignore_backoff: bool = False,
    ) -> Any:
        """A GET without signature, for what is public: a server's keys."""
        self._permit(destination)
        sent = _Sent(destination, "GET", _checked(target_of(path, query)), b"", (), max_bytes, None)
        return await self._send(sent, timeout_s, ignore_backoff=ignore_backoff)

    def stop(self) -> None:
        """Close the connections that are not in use, and keep none any more."""
        self.pool.close()

    def _permit(self, destination: str) -> None:
        if destination == self._server_name:
            raise RemoteError(destination, FailureKind.DENIED, "this is the server itself")
        if self._partners is not None and destination not in self._partners:
            problem = "federation_domain_whitelist or federation_domain_denylist forbid to talk to the server"
            raise RemoteError(destination, FailureKind.DENIED, problem)

    def _signed(
        self, destination: str, method: str, target: str, content: Any, max_bytes: int, consume: Consumer | None
    ) -> _Sent:
        self._permit(destination)
        if isinstance(content, bytes):
            body = content
        else:
            body = b"" if content is None else canonical_json.encode(content)
        authorization = self._sign(destination, method, _checked(target), body or None)
        return _Sent(destination, method, target, body, authorization, max_bytes, consume)

    async def _send(self, sent: _Sent, timeout_s: float | None, *, ignore_backoff: bool) -> Any:
        destination = sent.destination
        if not ignore_backoff:
            self._reachability.check(destination)
        try:
            answer = await self._answer(sent, self._timeout_s if timeout_s is None else timeout_s)
            if not 200 <= answer.status < 300:
                raise refusal_of(destination, answer, self._clock.now_ms() / 1000)
            content = None if sent.consume is not None else content_of(destination, answer)
        except RemoteError as error:
            self.outcomes[error.kind.value] += 1
            if error.kind is not FailureKind.BUSY:
                self._reachability.failed(destination, error)
                self._outages.failed(error)
            raise
        self.outcomes["ok"] += 1
        self._reachability.succeeded(destination)
        self._outages.answered(destination)
        return content

    async def _answer(self, sent: _Sent, timeout_s: float) -> Answer:
        asking = Deferred.fromCoroutine(self._ask(sent))
        try:
            return await asking.addTimeout(timeout_s, self._reactor, _timed_out)
        except PoolFull:
            text = "too many requests to it wait for a connection already"
            raise RemoteError(sent.destination, FailureKind.BUSY, text) from None
        except DeferredTimeout:
            what = "complete answer" if sent.is_sent else "connection"
            text = f"no {what} within {timeout_s:g} seconds"
            raise RemoteError(sent.destination, FailureKind.TIMEOUT, text) from None
        except NETWORK_FAILURES as error:
            kind, sentence = explain(error)
            raise RemoteError(sent.destination, kind, sentence) from None

    async def _ask(self, sent: _Sent) -> Answer:
        connection = await self.pool.take(sent.destination)
        try:
            return await self._ask_on(connection, sent)
        except NotAnswered:
            # The other side may close a kept connection just when it is used again: that says nothing. All requests of
            # the specification may be sent twice.
            if connection.requests == 1:
                raise
        return await self._ask_on(await self.pool.take(sent.destination, fresh=True), sent)

    async def _ask_on(self, connection: Connection, sent: _Sent) -> Answer:
        sent.is_sent = True
        return await connection.ask(sent.request(connection.host_header), sent.max_bytes, sent.consume)

    async def _connect(self, destination: str) -> Connection:
        self.opened += 1
        route = await self._discovery.find(destination)
        try:
            return await self._connector.connect(route)
        except RemoteError:
            self._discovery.doubt(destination)
            raise


def _checked(target: str) -> str:
    if not _TARGET.fullmatch(target):
        raise ValueError(f"{target!r} is not a path that can be sent; make it with path_of")
    return target


def _timed_out(result: Any, _timeout_s: float) -> Any:
    """Of what is cancelled because its time is over: only who waited for this server's own limits did nothing wrong."""
    if isinstance(result, Failure) and not isinstance(result.value, PoolFull):
        raise DeferredTimeout
    return result
