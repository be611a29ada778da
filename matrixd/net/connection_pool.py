"""Connections that are kept and shared: at most so many in all, and so many to each destination."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from twisted.internet.defer import CancelledError, Deferred

from matrixd.net.http_connection import Connection
from matrixd.util.timer import Scheduled, Timer


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much there may be at once.

    waiting: requests to one destination that wait for a connection.
    idle_s: how long an idle connection is kept; shorter than what reverse proxies do (60 to 75 s), so that they seldom
    close one that a request is just being sent on.
    age_s: after it a connection is not used again, so that a server that has moved is found in its new place.
    """

    connections: int = 400
    per_destination: int = 6
    waiting: int = 200
    idle_s: float = 45
    age_s: float = 3600


class PoolFull(Exception):
    """Too many requests wait for a connection already, or one was given up before its turn came."""


@dataclass(slots=True, eq=False)
class _Lane:
    """A destination. connections: open ones and those that are being opened. takers: who is in `take`."""

    destination: str
    connections: int = 0
    takers: int = 0
    idle: list[Connection] = field(default_factory=list)
    waiting: deque["Deferred[None]"] = field(default_factory=deque)


class ConnectionPool:
    """Hands out connections that `connect` makes."""

    def __init__(self, timer: Timer, connect: Callable[[str], Awaitable[Connection]], limits: PoolLimits) -> None:
        self._timer = timer
        self._connect = connect
        self._limits = limits
        self._lanes: dict[str, _Lane] = {}
        self._open = 0
        # Since when, in this order; the first one goes first.
        self._idle: dict[Connection, tuple[_Lane, float]] = {}
        self._opened: dict[Connection, float] = {}
        # Destinations that wait because there are too many connections in all, in order.
        self._starved: dict[_Lane, None] = {}
        self._sweep: Scheduled | None = None
        self._is_closed = False

    @property
    def open(self) -> int:
        """How many connections there are, with those that are being opened."""
        return self._open

    @property
    def idle(self) -> int:
        """How many of them wait for a request."""
        return len(self._idle)

    async def take(self, destination: str, *, fresh: bool = False) -> Connection:
        """A connection for one request, a new one if `fresh`; it comes back by itself when the answer is complete.

        Raises PoolFull, and what `connect` raises.
        """
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = _Lane(destination)
        lane.takers += 1
        try:
            while True:
                if lane.idle and not fresh:
                    return self._take_idle(lane)
                if self._has_room(lane, fresh=fresh):
                    return await self._new(lane)
                await self._wait(lane)
        finally:
            lane.takers -= 1
            self._forget(lane)

    def close(self) -> None:
        """Close what is idle, and keep nothing any more."""
        self._is_closed = True
        for connection in list(self._idle):
            connection.abort_now()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _take_idle(self, lane: _Lane) -> Connection:
        connection = lane.idle.pop()
        del self._idle[connection]
        return connection

    def _has_room(self, lane: _Lane, *, fresh: bool) -> bool:
        # Closing one lets another request that waits go on, which may take the place: so it is counted again.
        if fresh and lane.idle and lane.connections >= self._limits.per_destination:
            self._drop(lane.idle[0])
        if lane.connections >= self._limits.per_destination:
            return False
        if self._idle and self._open >= self._limits.connections:
            self._drop(next(iter(self._idle)))
        return self._open < self._limits.connections and lane.connections < self._limits.per_destination

    def _drop(self, connection: Connection) -> None:
        # It is out of the books at once: the transport tells only later that it is closed.
        connection.on_lost(connection)
        connection.abort_now()

    async def _new(self, lane: _Lane) -> Connection:
        lane.connections += 1
        self._open += 1
        connection = None
        try:
            connection = await self._connect(lane.destination)
        finally:
            if connection is None:
                self._left(lane)
        self._opened[connection] = self._timer.seconds()
        connection.on_idle = lambda idle: self._came_back(lane, idle)
        connection.on_lost = lambda lost: self._lost(lane, lost)
        if not connection.is_open:
            self._lost(lane, connection)
        return connection

    async def _wait(self, lane: _Lane) -> None:
        if len(lane.waiting) >= self._limits.waiting:
            raise PoolFull
        turn: Deferred[None] = Deferred(lambda cancelled: lane.waiting.remove(cancelled))
        lane.waiting.append(turn)
        if lane.connections < self._limits.per_destination:
            self._starved[lane] = None
        try:
            await turn
        except CancelledError:
            raise PoolFull from None

    def _came_back(self, lane: _Lane, connection: Connection) -> None:
        now = self._timer.seconds()
        if self._is_closed or now - self._opened[connection] > self._limits.age_s:
            self._drop(connection)
            return
        lane.idle.append(connection)
        self._idle[connection] = (lane, now)
        if not lane.waiting and self._starved:
            # Others wait for a place; one that nobody needs now goes for them.
            self._drop(connection)
            return
        self._call_next(lane)
        if self._sweep is None and self._idle:
            self._sweep = self._timer.callLater(self._limits.idle_s, self._close_idle)

    def _lost(self, lane: _Lane, connection: Connection) -> None:
        connection.on_lost = connection.on_idle = lambda _: None
        self._opened.pop(connection, None)
        if self._idle.pop(connection, None) is not None:
            lane.idle.remove(connection)
        self._left(lane)
        self._forget(lane)

    def _left(self, lane: _Lane) -> None:
        lane.connections -= 1
        self._open -= 1
        if lane.waiting:
            self._call_next(lane)
            return
        while self._starved:
            other = next(iter(self._starved))
            del self._starved[other]
            if other.waiting:
                self._call_next(other)
                if other.waiting and other.connections < self._limits.per_destination:
                    self._starved[other] = None
                return

    @staticmethod
    def _call_next(lane: _Lane) -> None:
        if lane.waiting:
            lane.waiting.popleft().callback(None)

    def _forget(self, lane: _Lane) -> None:
        if not lane.connections and not lane.takers:
            self._starved.pop(lane, None)
            self._lanes.pop(lane.destination, None)

    def _close_idle(self) -> None:
        self._sweep = None
        now = self._timer.seconds()
        for connection, (_, since) in list(self._idle.items()):
            if now - since < self._limits.idle_s:
                self._sweep = self._timer.callLater(since + self._limits.idle_s - now, self._close_idle)
                return
            self._drop(connection)
