"""One connection: requests in, answers out, in HTTP/1.1, one after the other.

Twisted's own HTTPChannel costs several times what an endpoint costs, mostly for what nobody here asks for (cookies,
header objects, a timer for each request). So heads are read here, in one piece; chunked bodies are left to Twisted.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import _ChunkedTransferDecoder, _MalformedChunkedDataError

from matrixd.core.errors import MatrixError
from matrixd.http.kit import head as heads
from matrixd.http.kit import response as responses
from matrixd.http.kit import wire
from matrixd.http.kit.dispatch import Dispatcher, Raw
from matrixd.http.kit.head import BadHead, Head
from matrixd.http.kit.percent import parse_query
from matrixd.http.kit.response import Response
from matrixd.util import coroutines

logger = logging.getLogger(__name__)

#: An idle connection is kept open so long, in seconds.
IDLE_S = 90.0
#: A head must be complete so soon after its first byte.
HEAD_S = 30.0
#: A body may take so long, and the time for its bytes at the slowest rate, in bytes a second.
BODY_S = 60.0
SLOWEST_RATE = 2048
#: A client that does not read its answers is dropped after this.
UNREAD_S = 90.0
#: So long, and for so many bytes, the rest of a refused request is thrown away. Were the connection cut at once, its
#: client would see a broken connection instead of the refusal.
LINGER_S = 15.0
LINGER_BYTES = 64 * 1024 * 1024
#: So much of the next requests is read while one is answered.
READ_AHEAD = 64 * 1024

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NEVER = float("inf")
_USER_AGENT = 500


class Site(Protocol):
    """What a connection needs of the listener that it came by."""

    dispatcher: Dispatcher
    is_stopping: bool

    def opened(self, connection: "Connection") -> None: ...
    def closed(self, connection: "Connection") -> None: ...
    def seconds(self) -> float: ...
    def soon(self, callback: Callable[[], None]) -> None: ...
    def date(self) -> bytes: ...
    def client_ip(self, peer: str, forwarded: bytes | None) -> str: ...


class _Exchange:
    """A request on its way to its answer."""

    __slots__ = ("body", "gone", "has_ended", "head", "is_too_large", "limit", "since", "stopping")

    def __init__(self, head: Head) -> None:
        self.head = head
        self.body = bytearray()
        self.limit = 0
        self.since = 0.0
        self.has_ended = False
        self.is_too_large = False
        # What to do when the client goes away, and when the server stops.
        self.gone: list[Callable[[], None]] = []
        self.stopping: list[Callable[[], None]] = []


class Connection(TwistedProtocol):
    """The server's side of a connection."""

    # zope's interfaces mean nothing to the type checker.
    transport: Any

    def __init__(self, site: Site) -> None:
        self._site = site
        #: When to lose patience, on the site's clock.
        self.deadline = _NEVER
        #: An endpoint is working.
        self.is_busy = False
        self._peer = ""
        self._buffer = b""
        self._exchange: _Exchange | None = None
        self._chunks: _ChunkedTransferDecoder | None = None
        self._advancing = False
        self._is_unread = False
        self._is_halted = False
        self._is_ending = False
        self._left = 0

    def connectionMade(self) -> None:
        """Begin."""
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
        # a socket that takes both families shows IPv4 peers as ::ffff:192.0.2.1; a Unix socket has no host
        self._peer = str(getattr(self.transport.getPeer(), "host", "")).removeprefix("::ffff:")
        self.transport.registerProducer(self, True)
        self.deadline = self._site.seconds() + HEAD_S
        self._site.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever still works on the answer."""
        self._is_ending = True
        exchange, self._exchange = self._exchange, None
        self._chunks = None
        self._buffer = b""
        self._site.closed(self)
        if exchange is not None:
            for callback in exchange.gone:
                callback()

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Take what has come."""
        if self._is_ending:
            self._throw_away(len(data))
        elif self.is_busy:
            self._buffer += data
            if len(self._buffer) > READ_AHEAD and not self._is_halted:
                self._is_halted = True
                self.transport.pauseProducing()
        elif self._exchange is not None:
            self._read_body(self._exchange, data)
            self._advance()
        else:
            if not self._buffer:
                self.deadline = self._site.seconds() + HEAD_S
            self._buffer += data
            self._advance()

    def _advance(self) -> None:
        """Read the requests that have come, up to the first that is not complete or not answered at once."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._buffer and self._exchange is None and not self._is_ending and not self._is_unread:
                if not self._read_head():
                    return
        finally:
            self._advancing = False

    def _read_head(self) -> bool:
        """Read a head; False if it is not complete."""
        data = self._buffer
        if data.startswith(b"\r\n"):
            data = self._buffer = data.lstrip(b"\r\n")  # RFC 9112, section 2.2
        end = data.find(b"\r\n\r\n", 0, heads.MAX_HEAD) + 4
        if end < 4:
            if len(data) >= heads.MAX_HEAD:
                self._refuse(_unknown(431, f"The headers are over {heads.MAX_HEAD} bytes long."))
            return False
        try:
            head = heads.parse(data[:end])
        except BadHead as error:
            self._refuse(_unknown(error.status, str(error)))
            return False
        self._buffer = data[end:]
        self._begin(_Exchange(head))
        return True

    def _begin(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        head = exchange.head
        if head.length == 0:
            self._respond(exchange)
            return
        exchange.limit = self._site.dispatcher.max_body(head.method, head.path)
        if head.length is not None and head.length > exchange.limit:
            self._refuse(responses.too_large(exchange.limit), head.length)
            return
        if head.expects_continue and not self._buffer:
            self.transport.write(_CONTINUE)
        if head.length is None:
            self._chunks = _ChunkedTransferDecoder(self._add_chunk, self._end_chunks)
        exchange.since = self._site.seconds()
        self.deadline = exchange.since + BODY_S
        data, self._buffer = self._buffer, b""
        if data:
            self._read_body(exchange, data)

    def _read_body(self, exchange: _Exchange, data: bytes) -> None:
        length = exchange.head.length
        if length is None:
            self._read_chunks(exchange, data)
        else:
            missing = length - len(exchange.body)
            exchange.body += data[:missing]
            if len(data) >= missing:
                exchange.has_ended = True
                self._buffer = data[missing:]
        if self._is_ending:
            return
        if exchange.has_ended:
            self._chunks = None
            self._respond(exchange)
        else:
            self.deadline = exchange.since + BODY_S + len(exchange.body) / SLOWEST_RATE

    def _read_chunks(self, exchange: _Exchange, data: bytes) -> None:
        assert self._chunks is not None
        try:
            self._chunks.dataReceived(data)
        except _MalformedChunkedDataError:
            self._refuse(_unknown(400, "The chunks of the body are not valid HTTP."))
            return
        if exchange.is_too_large:
            self._refuse(responses.too_large(exchange.limit))

    def _add_chunk(self, data: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        if len(exchange.body) + len(data) > exchange.limit:
            exchange.is_too_large = True
        elif not exchange.is_too_large:
            exchange.body += data

    def _end_chunks(self, rest: bytes) -> None:
        assert self._exchange is not None
        self._exchange.has_ended = True
        self._buffer = rest

    # Answering

    def _respond(self, exchange: _Exchange) -> None:
        self.is_busy = True
        self.deadline = _NEVER
        head = exchange.head
        headers = head.headers
        site = self._site
        try:
            arguments = parse_query(head.query)
        except MatrixError as error:
            self._write(responses.failure(error))
            return
        raw = Raw(
            head.method,
            head.path,
            arguments,
            headers.get(b"authorization"),
            bytes(exchange.body),
            site.client_ip(self._peer, headers.get(b"x-forwarded-for")),
            headers.get(b"user-agent", b"")[:_USER_AGENT].decode("utf-8", "replace"),
            exchange.gone.append,
            self._on_shutdown,
        )
        coroutines.run(site.dispatcher.respond(raw), self._write, self._failed)

    def _on_shutdown(self, callback: Callable[[], None]) -> None:
        if self._exchange is not None:
            self._exchange.stopping.append(callback)
        if self._site.is_stopping:
            self._site.soon(callback)

    def _write(self, answer: Response) -> None:
        """Send the answer, and go on with the next request."""
        exchange, self._exchange = self._exchange, None
        self.is_busy = False
        if self._is_ending or exchange is None:
            return
        head = exchange.head
        keep_alive = head.keep_alive and not self._site.is_stopping
        self.transport.write(wire.encode(answer, self._site.date(), head, keep_alive))
        if not keep_alive:
            self._end()
            return
        self.deadline = self._site.seconds() + (UNREAD_S if self._is_unread else IDLE_S)
        if self._is_halted:
            self._is_halted = False
            self.transport.resumeProducing()
        if self._buffer:
            self._advance()

    def _failed(self, failure: Failure) -> None:
        logger.error("answering a request failed:\n%s", failure.getTraceback())
        self.abort()

    # Ending

    def _refuse(self, error: MatrixError, length: int | None = None) -> None:
        """Answer without an endpoint, and take no more requests. `length` is that of the body, if it is known."""
        head = None if self._exchange is None else self._exchange.head
        self._exchange = self._chunks = None
        self.transport.write(wire.encode(responses.failure(error), self._site.date(), head, keep_alive=False))
        self._is_ending = True
        self.deadline = self._site.seconds() + LINGER_S
        self._left = LINGER_BYTES
        if length is not None and length < LINGER_BYTES and not (head is not None and head.expects_continue):
            self._left = length
        else:
            lose_write = getattr(self.transport, "loseWriteConnection", None)
            if lose_write is not None:
                lose_write()
        self._throw_away(len(self._buffer))
        self._buffer = b""

    def _throw_away(self, count: int) -> None:
        if self._left > 0:
            self._left -= count
            if self._left <= 0:
                self._end()

    def _end(self) -> None:
        """Close when all is written."""
        self._is_ending = True
        self.deadline = self._site.seconds() + LINGER_S
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Cut the connection."""
        self._is_ending = True
        self.transport.abortConnection()

    def expire(self) -> None:
        """The deadline has come."""
        if self._is_ending or self._is_unread:
            self.abort()
        elif self._exchange is not None or self._buffer:
            self._refuse(_unknown(408, "The request did not come to its end in time."))
        else:
            self._end()

    def shut_down(self) -> None:
        """The server stops: end what waits, and close when the request under way is answered."""
        if self._is_ending:
            return
        if self._exchange is None:
            self._end()
        else:
            for callback in list(self._exchange.stopping):
                callback()

    # What the transport says of its buffer, as to a producer

    def pauseProducing(self) -> None:
        """The client does not read: neither do we."""
        self._is_unread = True
        if not self.is_busy:
            self.deadline = self._site.seconds() + UNREAD_S
        if not self._is_halted:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read what was written."""
        self._is_unread = False
        if not self._is_halted:
            self.transport.resumeProducing()
        if not self.is_busy and not self._is_ending:
            self.deadline = self._site.seconds() + IDLE_S
            self._advance()

    def stopProducing(self) -> None:
        """The connection is lost: `connectionLost` says so too."""


def _unknown(status: int, sentence: str) -> MatrixError:
    errcode = "M_TOO_LARGE" if status in (414, 431) else "M_UNKNOWN"
    return MatrixError(status, errcode, sentence)
