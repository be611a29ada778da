"""Twisted's HTTP server in front of a dispatcher: one `Request` class, no resource tree."""

import ipaddress
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, HTTPFactory, Request

from matrixd.http.kit.dispatch import Dispatcher, Raw, Response

logger = logging.getLogger(__name__)

#: A body that is over its limit is read and thrown away up to here, so that the client gets to see the 413.
_IDLE_SECONDS = 90
_DISCARD_LIMIT = 64 * 1024 * 1024


class MatrixRequest(Request):
    """One request on a connection."""

    channel: "MatrixChannel"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._received = 0
        self._gone = False
        self._on_disconnect: list[Callable[[], None]] = []

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a part of the body, up to the listener's limit."""
        self._received += len(data)
        if self._received <= self.channel.max_body:
            super().handleContentChunk(data)
        elif self._received > _DISCARD_LIMIT:
            self.channel.forceAbortClient()

    def process(self) -> None:
        """Answer the request; called when it is complete."""
        if self._received > self.channel.max_body:
            limit = self.channel.max_body
            body = b'{"errcode":"M_TOO_LARGE","error":"The body must not be larger than %d bytes."}' % limit
            headers = ((b"Content-Type", b"application/json"), (b"Access-Control-Allow-Origin", b"*"))
            self._write(Response(413, headers, body))
            return
        assert self.content is not None
        raw = Raw(
            method=self.method,
            path=self.uri.partition(b"?")[0],
            arguments=self.args or {},
            authorization=self.getHeader(b"authorization"),
            body=self.content.read(),
            client_ip=self._client_ip(),
            user_agent=(self.getHeader(b"user-agent") or b"")[:500].decode("utf-8", "replace"),
            on_disconnect=self._on_disconnect.append,
        )
        Deferred.fromCoroutine(self.channel.dispatcher.respond(raw)).addCallbacks(self._write, self._failed)

    def connectionLost(self, reason: Failure) -> None:
        """Tell whoever still works on the answer."""
        self._gone = True
        super().connectionLost(reason)
        for callback in self._on_disconnect:
            callback()

    def _write(self, response: Response) -> None:
        if self._gone:
            return
        self.setResponseCode(response.status)
        headers = self.responseHeaders
        for name, value in response.headers:
            headers.setRawHeaders(name, [value])
        if response.status != 204:
            headers.setRawHeaders(b"content-length", [b"%d" % len(response.body)])
        if self.method != b"HEAD":
            self.write(response.body)
        self.finish()

    def _failed(self, failure: Failure) -> None:
        logger.error("writing an answer failed: %s", failure.getTraceback())
        if not self._gone:
            self.channel.forceAbortClient()

    def _client_ip(self) -> str:
        # a socket that takes both families shows IPv4 peers as ::ffff:192.0.2.1
        peer = str(getattr(self.getClientAddress(), "host", "")).removeprefix("::ffff:")
        if not self.channel.trusted_proxies.trust(peer):
            return peer or "unix"
        # The proxy appends the address that it saw: only the last one can be trusted.
        candidate = (self.getHeader(b"x-forwarded-for") or b"").rpartition(b",")[2].strip().decode("latin-1")
        try:
            return str(ipaddress.ip_address(candidate))
        except ValueError:
            return peer or "unix"


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The peers whose X-Forwarded-For is believed."""

    networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
    #: Whether the peers of a Unix socket are.
    unix: bool

    def trust(self, peer: str) -> bool:
        """Whether to believe a peer, given by its address; '' is the peer of a Unix socket."""
        if not peer:
            return self.unix
        if not self.networks:
            return False
        address = ipaddress.ip_address(peer)
        return any(address in network for network in self.networks)


class MatrixChannel(HTTPChannel):
    """One connection."""

    requestFactory = MatrixRequest
    dispatcher: Dispatcher
    trusted_proxies: TrustedProxies
    max_body: int


class MatrixSite(HTTPFactory):
    """Makes the channels of one listener.

    `max_body` in bytes.
    """

    def __init__(self, dispatcher: Dispatcher, trusted_proxies: TrustedProxies, max_body: int) -> None:
        super().__init__(timeout=_IDLE_SECONDS)
        self._dispatcher = dispatcher
        self._trusted_proxies = trusted_proxies
        self._max_body = max_body

    def buildProtocol(self, addr: IAddress | None) -> MatrixChannel:  # type: ignore[override]
        """The channel of a new connection."""
        channel = MatrixChannel()
        channel.factory = self
        channel.callLater = self.reactor.callLater  # type: ignore[method-assign, assignment]
        channel.timeOut = _IDLE_SECONDS
        channel.dispatcher = self._dispatcher
        channel.trusted_proxies = self._trusted_proxies
        channel.max_body = self._max_body
        return channel

    def log(self, request: Request) -> None:
        """No line per request: metrics count them, and errors are logged where they happen."""
