"""A connection on Twisted's web server: what it may send, for how long, and how it ends."""

from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from matrixd.core.errors import MatrixError
from matrixd.http.kit import response as responses
from matrixd.http.kit.request import MatrixRequest, Site

#: A head must be complete so soon after its first byte, in seconds.
HEAD_S = 30.0
#: A body may take so long, and the time for its bytes at the slowest rate, in bytes a second.
BODY_S = 60.0
SLOWEST_RATE = 2048
#: A client that reads nothing of its answer is dropped after this.
UNREAD_S = 90.0
#: So long a client may take to close whose request was refused before its end. What it still sends is thrown away: were
#: the connection cut at once, the client would see a broken connection instead of the refusal.
LINGER_S = 15.0

_NEVER = float("inf")


class MatrixChannel(HTTPChannel):
    """One connection.

    Twisted's channel has a timer that begins and ends with each request and that each byte prolongs. Here a connection
    has a deadline instead, which the site looks at now and then.
    """

    requestFactory = MatrixRequest
    maxHeaders = 100
    #: The longest line, which is most often the request's URL, and the whole head, in bytes.
    MAX_LENGTH = 16 * 1024
    totalHeadersSize = 32 * 1024

    # zope's interfaces mean nothing to the type checker.
    transport: Any
    factory: Site

    def __init__(self) -> None:
        super().__init__()
        #: When to lose patience, on the site's clock.
        self.deadline = _NEVER
        #: The peer's address, '' at a Unix socket.
        self.peer = ""
        self._addresses: tuple[Any, Any] = (None, None)
        #: A request has begun to come, and is not complete; its first line, and itself while its body comes.
        self._is_reading = False
        self._line = b""
        self._body: MatrixRequest | None = None
        self._body_since = 0.0
        self._is_closing = False

    def connectionMade(self) -> None:
        """Begin."""
        peer = self.transport.getPeer()
        self._addresses = (peer, self.transport.getHost())
        # a socket that takes both families shows IPv4 peers as ::ffff:192.0.2.1; a Unix socket has no host
        self.peer = str(getattr(peer, "host", "")).removeprefix("::ffff:")
        super().connectionMade()
        self.factory.opened(self)

    def getPeer(self) -> Any:
        """The peer's address: each request asks for it, and the socket would be asked each time."""
        return self._addresses[0]

    def getHost(self) -> Any:
        """The listener's address."""
        return self._addresses[1]

    @property
    def is_busy(self) -> bool:
        """A request is complete and not yet answered."""
        return bool(self.requests) and not self._is_reading

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Take what has come, or throw it away."""
        if not self._is_closing:
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a head, and keep the first: it says how long the body may be."""
        if not self._line:
            self._line = line
            self._is_reading = True
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a URL or a header that is too long."""
        self._refuse(b"431 Request Header Fields Too Large" if self._line else b"414 URI Too Long")

    def headerReceived(self, line: bytes) -> bool:
        """Take a header; False if it is refused."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:  # a Content-Length of thousands of digits
            self._refuse(b"400 Bad Request")
            return False

    def _refuse(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)
        self.loseConnection()

    def allHeadersReceived(self) -> None:
        """Go on to the body, unless it is announced as too long."""
        if self.length != 0:
            request = self.requests[-1]
            request.begin(self._line)
            if self.length is not None and self.length > request.limit:
                request.refuse(responses.too_large(request.limit))
                return
            self._body = request
            self._body_since = self.factory.seconds()
            self.deadline = self._body_since + BODY_S
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """Answer the request, which is complete."""
        if self._is_closing:
            return  # refused: the decoder of chunks has come to their end
        self._is_reading = False
        self._line = b""
        self._body = None
        super().allContentReceived()

    # Backpressure. Twisted's channel would go on with all the requests that it has, and read more while it answers.

    def pauseProducing(self) -> None:
        """The client does not read its answers: it gets no more of them."""
        self.paused = True
        self.deadline = self.factory.seconds() + UNREAD_S
        super().pauseProducing()
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read what was written."""
        self.paused = False
        self.setTimeout(self.timeOut)
        super().resumeProducing()
        if not self.paused:
            self.transport.resumeProducing()
            LineReceiver.dataReceived(self, b"")

    # Time

    def setTimeout(self, period: int | None) -> int | None:
        """Wait so many seconds for the next request; for ever with None, while one is answered."""
        before, self.timeOut = self.timeOut, period
        self.deadline = _NEVER if period is None else self.factory.seconds() + period
        return before

    def resetTimeout(self) -> None:
        """Something has come: a head has its time from its first byte on, a body has more for each of its bytes."""
        if self._body is not None:
            self.deadline = self._body_since + BODY_S + self._body.size / SLOWEST_RATE
        elif not self._is_reading and not self.requests:
            self._is_reading = True
            self.deadline = self.factory.seconds() + HEAD_S

    def timeoutConnection(self) -> None:
        """The deadline has come."""
        if self._is_closing or self.paused:
            self.abort()
        elif self._body is not None:
            self._body.refuse(MatrixError(408, "M_UNKNOWN", "The request did not come to its end in time."))
        else:
            self.loseConnection()

    # Ending

    def loseConnection(self) -> None:
        """Close when all is written and, where a request was refused before its end, when the client closes too."""
        is_sending = self._is_reading and not self.isSecure()  # TLS waits for the other side by itself
        self._is_closing = True
        self._is_reading = False
        self.clearLineBuffer()
        self.deadline = self.factory.seconds() + (LINGER_S if is_sending else UNREAD_S)
        lose_write = getattr(self.transport, "loseWriteConnection", None)
        if is_sending and lose_write is not None:
            self.transport.unregisterProducer()
            lose_write()
        else:
            super().loseConnection()

    def abort(self) -> None:
        """Cut the connection."""
        self._is_closing = True
        self.transport.abortConnection()

    def shut_down(self) -> None:
        """The server stops: end what waits, and close when the request under way is answered."""
        if self._is_closing or self._is_reading:
            return
        if self.requests:
            self.persistent = False
            self.requests[0].shut_down()
        else:
            self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the connection, and tell whoever still works on an answer."""
        self._is_closing = True
        self.factory.closed(self)
        super().connectionLost(reason)
