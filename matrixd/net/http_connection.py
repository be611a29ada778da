"""One connection to another server: HTTP/1.1, one request at a time, and what is read is bounded."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IClientRequest
from zope.interface import implementer

#: What may come before the body: informational answers, the status and the headers, and what is read with them.
MAX_HEAD_BYTES: Final = 64 * 1024
#: What is read of the body of an answer without success.
MAX_ERROR_BYTES: Final = 64 * 1024

#: Takes a piece of an answer. If it returns a Deferred, the next piece comes when that has fired.
Consumer = Callable[[bytes], "Deferred[Any] | None"]


class AnswerTooLarge(Exception):
    """The answer is larger than the caller allows."""


class NotAnswered(ResponseFailed):
    """The connection ended before the first byte of an answer; kept connections do that when the other side closes."""


def causes(error: ResponseFailed) -> list[BaseException]:
    """Why an answer did not come, or not whole. Twisted gives failures and exceptions."""
    return [getattr(cause, "value", cause) for cause in error.reasons]


@implementer(IClientRequest)
@dataclass(slots=True)
class Request:
    """A request as it is sent. `head` ends with the empty line."""

    method: bytes
    head: bytes
    body: bytes = b""
    persistent: bool = True
    absoluteURI: None = None
    headers: Headers = field(default_factory=Headers)

    def writeTo(self, transport: Any) -> "Deferred[None]":
        """Called by Twisted. In one write, because each becomes a record of TLS."""
        transport.write(self.head + self.body)
        return succeed(None)

    def stopWriting(self) -> None:
        """Called by Twisted: everything was written at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its whole body; `body` is empty if a consumer took it."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> str | None:
        """The first header of this name."""
        values = self.headers.getRawHeaders(name)
        return values[0].decode("latin-1") if values else None


@implementer(IHandshakeListener)
class Connection(HTTP11ClientProtocol):
    """A connection that may be kept for further requests.

    ready: fires when TLS is established and the certificate accepted, else fails.
    host_header: what the server is called in requests.
    on_idle, on_lost: called when another request may be sent, and when it is over.
    """

    transport: Any

    def __init__(self) -> None:
        super().__init__(self._can_be_kept)
        self.ready: Deferred[None] = Deferred()
        self.on_idle: Callable[[Connection], None] = lambda connection: None
        self.on_lost: Callable[[Connection], None] = lambda connection: None
        self.host_header = ""
        self.requests = 0
        self.is_open = True
        self._asked: Deferred[Any] | None = None
        self._head_bytes = 0
        self._is_head_too_large = False
        self._is_kept = False

    async def ask(self, request: Request, max_bytes: int, consume: Consumer | None = None) -> Answer:
        """Send a request and read its answer. The body of a 2xx answer goes to `consume`, if there is one.

        Raises AnswerTooLarge, NotAnswered, ResponseFailed, CancelledError, and what `consume` raises. The connection
        is closed then.
        """
        self.requests += 1
        self._head_bytes = 0
        self._is_kept = False
        response = await self._response(request)
        is_success = 200 <= response.code < 300
        limit = max_bytes if is_success else MAX_ERROR_BYTES
        body = _Body(self.abort_now, limit, consume if is_success else None)
        if isinstance(response.length, int) and response.length > limit:
            self.abort_now()
            raise AnswerTooLarge(f"it has {response.length} bytes")
        response.deliverBody(body)
        content = await body.finished
        if self.is_open and self._is_kept:
            self.on_idle(self)
        return Answer(response.code, response.headers, content)

    async def _response(self, request: Request) -> Any:
        # It is written against an interface of Twisted's; the annotation names its own class.
        self._asked = self.request(request)  # type: ignore[arg-type]
        try:
            return await self._asked
        except ResponseFailed as error:
            if self._is_head_too_large:
                raise AnswerTooLarge("its head is too large") from None
            if any(isinstance(cause, CancelledError) for cause in causes(error)):
                raise CancelledError from None
            if self._head_bytes == 0:
                raise NotAnswered(error.reasons) from None
            raise
        finally:
            self._asked = None

    def abort_now(self) -> None:
        """Close the connection without waiting for the other side."""
        if self.is_open:
            self.transport.abortConnection()

    def handshakeCompleted(self) -> None:
        """Called by Twisted."""
        if not self.ready.called:
            self.ready.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """Called by Twisted."""
        if self.state == "QUIESCENT":
            # Nobody asked for anything.
            self.abort_now()
            return
        if self._asked is not None:
            if self._head_bytes > MAX_HEAD_BYTES:
                self._is_head_too_large = True
                self._asked.cancel()
                return
            self._head_bytes += len(data)
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Called by Twisted."""
        self.is_open = False
        super().connectionLost(reason)
        if not self.ready.called:
            self.ready.errback(reason)
        self.on_lost(self)

    def _can_be_kept(self, _: object) -> None:
        # Called before Twisted has let go of the answer: too early for the next request.
        self._is_kept = True


class _Body(Protocol):
    """Reads a body, or hands it over piece by piece."""

    transport: Any

    def __init__(self, abort: Callable[[], None], max_bytes: int, consume: Consumer | None) -> None:
        self.finished: Deferred[bytes] = Deferred(lambda _: self._give_up())
        self._abort = abort
        self._left = max_bytes
        self._consume = consume
        self._pieces: deque[bytes] = deque()
        self._is_consuming = False
        self._end: Failure | None = None
        self._is_over = False

    def dataReceived(self, data: bytes) -> None:
        """Called by Twisted."""
        if self._is_over:
            return
        self._left -= len(data)
        if self._left < 0:
            self._fail(Failure(AnswerTooLarge("its body is too large")))
            return
        self._pieces.append(data)
        if self._consume is not None and not self._is_consuming:
            self._hand_over(self._consume)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Called by Twisted at the end of the body, too."""
        if self._is_over:
            return
        self._end = reason
        # A body without a length ends with the connection; if it is cut, it is no JSON.
        if not reason.check(ResponseDone, PotentialDataLoss):
            self._fail(reason)
        elif not self._is_consuming:
            self._finish()

    def _hand_over(self, consume: Consumer) -> None:
        while self._pieces and not self._is_over:
            taken = maybeDeferred(consume, self._pieces.popleft())
            self._is_consuming = not taken.called
            if self._is_consuming:
                if self._end is None:
                    self.transport.pauseProducing()
                taken.addCallbacks(self._go_on, self._fail)
                return
            taken.addErrback(self._fail)
        if self._end is not None and not self._is_over:
            self._finish()

    def _go_on(self, _: object) -> None:
        self._is_consuming = False
        if self._is_over or self._consume is None:
            return
        if self._end is None:
            self.transport.resumeProducing()
        self._hand_over(self._consume)

    def _finish(self) -> None:
        self._is_over = True
        self.finished.callback(b"".join(self._pieces))

    def _fail(self, reason: Failure) -> None:
        if not self._is_over:
            self._give_up()
            self.finished.errback(reason)

    def _give_up(self) -> None:
        self._is_over = True
        self._pieces.clear()
        self._abort()
