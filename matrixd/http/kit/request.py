"""A request on Twisted's web server: what came goes to the dispatcher, and its answer back to the client."""

import logging
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Protocol

from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES, Request
from twisted.web.http_headers import Headers

from matrixd.core.errors import MatrixError
from matrixd.http.kit import response as responses
from matrixd.http.kit.dispatch import Dispatcher, Raw
from matrixd.http.kit.percent import parse_query
from matrixd.http.kit.response import Response
from matrixd.util import coroutines

logger = logging.getLogger(__name__)

#: Longer bodies are sent in pieces, as the client reads them.
AT_ONCE = 256 * 1024

_PIECE = 64 * 1024
_USER_AGENT = 500


class Site(Protocol):
    """What requests and their connections need of the listener that they came by."""

    dispatcher: Dispatcher
    is_stopping: bool

    def opened(self, channel: Any) -> None: ...
    def closed(self, channel: Any) -> None: ...
    def seconds(self) -> float: ...
    def soon(self, callback: Callable[[], None]) -> None: ...
    def date(self) -> bytes: ...
    def client_ip(self, peer: str, forwarded: bytes | None) -> str: ...


class MatrixRequest(Request):
    """One request on a connection."""

    #: The connection, a `MatrixChannel`; None when it is lost.
    channel: Any
    content: Any
    #: How many bytes the body may have, and how many have come.
    limit = 0
    size = 0
    # What to do when the client goes away, and when the server stops.
    _gone: Sequence[Callable[[], None]] = ()
    _stopping: Sequence[Callable[[], None]] = ()

    # Reading

    def parseCookies(self) -> None:
        """Nobody here asks for cookies."""

    def begin(self, line: bytes) -> None:
        """Learn from the first line how long the body may be."""
        self.method, self.uri, self.clientproto = line.split()
        path = _origin_form(self.uri).partition(b"?")[0]
        self.limit = self.channel.factory.dispatcher.max_body(self.method, path)

    def gotLength(self, length: int | None) -> None:
        """Make room for the body. Twisted would write a long one to a file, which blocks; ours are bounded."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a part of the body, or refuse the request when it is too long."""
        if self.finished:
            return  # refused: the decoder still brings what it has
        self.size += len(data)
        if self.size > self.limit:
            self.refuse(responses.too_large(self.limit))
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Take the complete request. Twisted's own would parse the query and forms, less strictly than `percent`."""
        self.method, self.uri, self.clientproto = command, path, version
        self.process()

    def process(self) -> None:
        """Answer the request."""
        target = _origin_form(self.uri)
        self.path, _, query = target.partition(b"?")
        try:
            arguments = parse_query(query)
        except MatrixError as error:
            self.answer(responses.failure(error))
            return
        channel, site = self.channel, self.channel.factory
        forwarded = self.requestHeaders.getRawHeaders(b"x-forwarded-for")
        authorizations = self.requestHeaders.getRawHeaders(b"authorization") or ()
        gone: list[Callable[[], None]] = []
        self._gone = gone
        raw = Raw(
            self.method,
            self.path,
            arguments,
            authorizations[-1] if authorizations else None,
            self.content.getvalue(),
            site.client_ip(channel.peer, None if forwarded is None else b",".join(forwarded)),
            (self.getHeader(b"user-agent") or b"")[:_USER_AGENT].decode("utf-8", "replace"),
            gone.append,
            self._on_shutdown,
            target,
            authorizations,
        )
        coroutines.run(site.dispatcher.respond(raw), self.answer, self._failed)

    def _on_shutdown(self, callback: Callable[[], None]) -> None:
        self._stopping = (*self._stopping, callback)
        if self.channel is not None and self.channel.factory.is_stopping:
            self.channel.factory.soon(callback)

    # Answering

    def answer(self, answer: Response) -> None:
        """Send the answer, unless the client has gone."""
        channel = self.channel
        if channel is None:
            return
        if channel.factory.is_stopping:
            channel.persistent = False
        self.setResponseCode(answer.status)
        self.responseHeaders = self._headers(answer, channel)
        if len(answer.body) > AT_ONCE and self.method != b"HEAD":
            sender = _Sender(self, answer.body)
            self.registerProducer(sender, True)
            sender.resumeProducing()
        else:
            self.write(answer.body)
            self.finish()

    def _headers(self, answer: Response, channel: Any) -> Headers:
        if answer.headers is responses.JSON:
            headers = _JSON.copy()
        else:
            headers = Headers()
            for name, value in answer.headers:
                headers.addRawHeader(name, value)
        headers.setRawHeaders(b"Date", [channel.factory.date()])
        if answer.status not in NO_BODY_CODES:
            headers.setRawHeaders(b"Content-Length", [b"%d" % len(answer.body)])
        if not channel.persistent:
            headers.setRawHeaders(b"Connection", _CLOSE)
        return headers

    def refuse(self, error: MatrixError) -> None:
        """Answer before the request is complete, and take no more on its connection."""
        self.channel.persistent = False
        self.answer(responses.failure(error))

    def _failed(self, failure: Failure) -> None:
        logger.error("answering a request failed:\n%s", failure.getTraceback())
        if self.channel is not None:
            self.channel.abort()

    # Ending

    def connectionLost(self, reason: Failure) -> None:
        """Tell whoever still works on the answer."""
        super().connectionLost(reason)
        for callback in self._gone:
            callback()

    def shut_down(self) -> None:
        """The server stops: end what waits."""
        for callback in self._stopping:
            callback()

    def __repr__(self) -> str:
        """Without the query, which may hold an access token."""
        return f"<{type(self).__name__} {self.method!r} {self.path!r}>"


class _Sender:
    """Sends a large body as its client reads it: an `IPushProducer`, which Twisted tells to go on and to pause."""

    def __init__(self, request: MatrixRequest, body: bytes) -> None:
        self._request = request
        self._body = body
        self._sent = 0
        self._is_paused = False

    def resumeProducing(self) -> None:
        self._is_paused = False
        while not self._is_paused and self._sent < len(self._body):
            piece = self._body[self._sent : self._sent + _PIECE]
            self._sent += len(piece)
            self._request.write(piece)
        if self._sent == len(self._body) and not self._request.finished:
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:
        self._is_paused = True

    def stopProducing(self) -> None:
        self._is_paused = True


def _origin_form(target: bytes) -> bytes:
    """The path and query: a proxy may send the whole URL (RFC 9112, section 3.2)."""
    if target.startswith(b"/"):
        return target
    scheme, separator, rest = target.partition(b"://")
    # What is neither, such as the "*" of OPTIONS, is no endpoint's path.
    return b"/" + rest.partition(b"/")[2] if separator and scheme.lower() in (b"http", b"https") else b""


_JSON = Headers({name: [value] for name, value in responses.JSON})
_CLOSE = [b"close"]
