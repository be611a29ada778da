"""Single requests whose answers are looked at, whatever they are: status, headers, and who is on both ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.protocol import Factory

from matrixd import __version__
from matrixd.core import canonical_json
from matrixd.net.connector import Connector
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.failures import NETWORK_FAILURES, explain
from matrixd.net.http_connection import Answer, Connection, Request
from matrixd.net.route import Place, Route, bracketed
from matrixd.util.clock import Clock

#: For one answer, in seconds.
ANSWER_S: Final = 10.0
MAX_BYTES: Final = 256 * 1024
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer. peer, own_address: the addresses of both ends. asked_ms, answered_ms: when, since the epoch."""

    answer: Answer
    peer: str
    own_address: str
    asked_ms: int
    answered_ms: int

    @property
    def json(self) -> Any:
        """The body; None if it is no JSON."""
        try:
            return canonical_json.decode(self.answer.body)
        except ValueError:
            return None

    @property
    def errcode(self) -> str | None:
        """That of an error of Matrix."""
        content = self.json
        found = content.get("errcode") if isinstance(content, dict) else None
        return found if isinstance(found, str) else None

    @property
    def clock_ahead_s(self) -> float | None:
        """By how much the other clock is ahead of ours, from the header `Date`; None without one. Good to a second."""
        header = self.answer.header(b"date")
        if header is None:
            return None
        try:
            theirs_s = parsedate_to_datetime(header).timestamp() + 0.5
        except (ValueError, OverflowError):
            return None
        return theirs_s - (self.asked_ms + self.answered_ms) / 2000

    def told(self) -> str:
        """The answer in a few words."""
        content = self.json
        if isinstance(content, dict) and isinstance(content.get("errcode"), str):
            text = f"status {self.answer.status}, {content['errcode']}: {content.get('error', '')}"
            return printable(text).rstrip(". ")
        kind = self.answer.header(b"content-type") or "no content type"
        server = self.answer.header(b"server")
        return printable(f"status {self.answer.status}, {kind}" + (f", from {server}" if server else ""))


class Fetcher:
    """Sends requests."""

    def __init__(self, connector: Connector, clock: Clock, reactor: Any) -> None:
        self._connector = connector
        self._clock = clock
        self._reactor = reactor

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Fetched:
        """A GET of an http or https URL; redirects are not followed. Raises RemoteError."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_tls = parts.scheme == "https"
        place = Place(host, parts.port or (443 if is_tls else 80))
        found = await self._connector.addresses(host, host)
        if is_tls:
            route = Route(host, [place], host, parts.netloc)
            connection = (await self._connector.open(route, place, found.allowed)).connection
        else:
            connection = await self._plain(place, found.allowed)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            return await self.ask(connection, host, parts.netloc, target, headers)
        finally:
            connection.abort_now()

    async def ask(
        self,
        connection: Connection,
        server_name: str,
        host_header: str,
        target: str,
        headers: Mapping[str, str] | None = None,
    ) -> Fetched:
        """A GET on a connection, which can be used again if this returns. Raises RemoteError."""
        lines = {"Host": host_header, "User-Agent": f"matrixd/{__version__}", **(headers or {})}
        head = f"GET {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        request = Request(b"GET", f"{head}\r\n".encode("latin-1"))
        ends = connection.transport.getPeer().host, connection.transport.getHost().host
        asked_ms = self._clock.now_ms()
        asking = Deferred.fromCoroutine(connection.ask(request, MAX_BYTES))
        try:
            answer = await asking.addTimeout(ANSWER_S, self._reactor)
        except DeferredTimeout:
            text = f"no answer within {ANSWER_S:g} seconds"
            raise RemoteError(server_name, FailureKind.TIMEOUT, text) from None
        except NETWORK_FAILURES as error:
            kind, sentence = explain(error)
            raise RemoteError(server_name, kind, sentence) from None
        return Fetched(answer, *ends, asked_ms, self._clock.now_ms())

    async def _plain(self, place: Place, addresses: tuple[str, ...]) -> Connection:
        factory: Any = Factory.forProtocol(Connection)
        factory.noisy = False
        where = f"{place.host} port {place.port}"
        connection: Connection = await self._connector.transport(place.host, where, factory, place.port, addresses)
        # There is no handshake that anybody waits for.
        connection.ready.addErrback(lambda _: None)
        return connection


def printable(text: str) -> str:
    """A line that may be shown, cut to a length."""
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_TEXT])


def url_of(host: str, port: int, *, is_tls: bool) -> str:
    """The URL of a place."""
    return f"{'https' if is_tls else 'http'}://{bracketed(host)}:{port}"
