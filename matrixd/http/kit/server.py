"""A listener's side of HTTP: the connections that came by it, whom to believe about addresses, and its end."""

import ipaddress
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPFactory, Request, datetimeToString

from matrixd.http.kit.channel import MatrixChannel
from matrixd.http.kit.dispatch import Dispatcher

logger = logging.getLogger(__name__)

#: An idle connection is kept open so long, in seconds.
IDLE_S = 90
#: How often connections that ought to have ended are looked for, in seconds.
SWEEP_S = 5.0
#: Requests that are under way when the server stops may go on so long, in seconds.
GRACE_S = 10.0

#: Of a long X-Forwarded-For only the end can come from our own proxies.
_MAX_FORWARDERS = 10


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


class MatrixSite(HTTPFactory):
    """Makes the connections of one listener, and ends them. `reactor` has the time."""

    protocol = MatrixChannel  # type: ignore[assignment]
    noisy = False
    # zope's interfaces mean nothing to the type checker.
    reactor: Any

    def __init__(self, dispatcher: Dispatcher, trusted_proxies: TrustedProxies, reactor: Any = _reactor) -> None:
        super().__init__(timeout=IDLE_S, reactor=reactor)
        self.dispatcher = dispatcher
        self.is_stopping = False
        self._trusted_proxies = trusted_proxies
        self._open: set[MatrixChannel] = set()
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = reactor
        self._all_closed: Deferred[None] | None = None
        self._date_second = -1
        self._date = b""
        # The last answers: a proxy sends the requests of many clients, and each sends many.
        self._last_forwarded: tuple[str, bytes | None] = ("", None)
        self._last_client_ip = "unix"

    def startFactory(self) -> None:
        """Open no access log, and run no clock for one."""

    def log(self, request: Request) -> None:
        """Log no requests: a URL may hold an access token. Metrics count them, and errors are logged where they are."""

    async def stop(self, grace_seconds: float = GRACE_S) -> None:
        """Let the requests under way finish, and close all connections; to be called when the port is closed.

        What waits for news is told to answer at once (`Call.on_shutdown`).
        """
        self.is_stopping = True
        for channel in list(self._open):
            channel.shut_down()
        if self._open:
            self._all_closed = Deferred()
            cut = self.reactor.callLater(grace_seconds, self._cut)
            await self._all_closed
            if cut.active():
                cut.cancel()

    def _cut(self) -> None:
        busy = sum(channel.is_busy for channel in self._open)
        if busy:
            logger.warning("stopping while %d requests are not answered", busy)
        for channel in list(self._open):
            channel.abort()

    # For the connections

    def opened(self, channel: MatrixChannel) -> None:
        """Watch a connection."""
        self._open.add(channel)
        if not self._sweeping.running:
            self._sweeping.start(SWEEP_S, now=False).addErrback(_log_failure)

    def closed(self, channel: MatrixChannel) -> None:
        """Forget a connection."""
        self._open.discard(channel)
        if not self._open:
            if self._sweeping.running:
                self._sweeping.stop()
            waiting, self._all_closed = self._all_closed, None
            if waiting is not None:
                waiting.callback(None)

    def seconds(self) -> float:
        """The time of deadlines."""
        seconds: float = self.reactor.seconds()
        return seconds

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back from the reactor."""
        self.reactor.callLater(0, callback)

    def date(self) -> bytes:
        """What the `Date` header says, made once a second."""
        now = int(self.reactor.seconds())
        if now != self._date_second:
            self._date_second = now
            self._date = datetimeToString(now)
        return self._date

    def client_ip(self, peer: str, forwarded: bytes | None) -> str:
        """The client's address: the peer's, or what our own proxies say. `forwarded` is the X-Forwarded-For header."""
        if (peer, forwarded) != self._last_forwarded:
            self._last_client_ip = self._client_ip(peer, forwarded or b"")
            self._last_forwarded = (peer, forwarded)
        return self._last_client_ip

    def _client_ip(self, peer: str, forwarded: bytes) -> str:
        # Each proxy appends the address that it saw: from the right, the first that is no proxy of ours is the client.
        found = peer
        for candidate in reversed(forwarded.split(b",")[-_MAX_FORWARDERS:]):
            if not self._trusted_proxies.trust(found):
                break
            try:
                address = ipaddress.ip_address(candidate.strip().decode("latin-1"))
            except ValueError:
                break
            found = str(getattr(address, "ipv4_mapped", None) or address)
        return found or "unix"

    def _sweep(self) -> None:
        now = self.seconds()
        for channel in [channel for channel in self._open if channel.deadline <= now]:
            channel.timeoutConnection()


def _log_failure(failure: Failure) -> None:
    logger.error("looking for connections to end failed:\n%s", failure.getTraceback())
