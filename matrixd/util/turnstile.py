"""Lets few in at a time for each key, slows down who comes too often, and turns away who does not stop coming."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from matrixd.util.clock import Clock

#: Beyond so many keys those that are not in use are forgotten.
_MAX_KEYS = 10_000


class TurnstileLimits(Protocol):
    """Who comes more than `sleep_limit` times in `window_size_ms` waits for `sleep_delay_ms` each time.

    `concurrent` are in at once. Up to `reject_limit` wait, for the delay or for others; further ones are turned away.
    """

    @property
    def window_size_ms(self) -> int: ...
    @property
    def sleep_limit(self) -> int: ...
    @property
    def sleep_delay_ms(self) -> int: ...
    @property
    def reject_limit(self) -> int: ...
    @property
    def concurrent(self) -> int: ...


class TurnedAway(Exception):
    """Too many wait already."""


class _Lane:
    __slots__ = ("arrivals", "inside", "sleeping", "waiting")

    def __init__(self, sleep_limit: int) -> None:
        #: When the latest came, in monotonic seconds.
        self.arrivals: deque[float] = deque(maxlen=sleep_limit + 1)
        self.inside = 0
        self.sleeping = 0
        self.waiting: deque[Deferred[None]] = deque()

    def is_idle(self, since: float) -> bool:
        """Whether nobody is there, and nobody came after `since`."""
        return not (self.inside or self.sleeping or self.waiting) and (not self.arrivals or self.arrivals[-1] < since)


class Turnstile:
    """`await enter(key)`, then `leave(key)` for each who has entered. `call_later` is a reactor's `callLater`."""

    def __init__(self, limits: TurnstileLimits, clock: Clock, call_later: Callable[..., Any]) -> None:
        self._limits = limits
        self._clock = clock
        self._call_later = call_later
        self._lanes: dict[str, _Lane] = {}

    async def enter(self, key: str) -> None:
        """Wait for one's turn. Raises TurnedAway."""
        now = self._clock.monotonic()
        lane = self._lane(key, now)
        if lane.sleeping + len(lane.waiting) >= self._limits.reject_limit:
            raise TurnedAway(key)
        lane.arrivals.append(now)
        if self._comes_too_often(lane, now):
            lane.sleeping += 1
            await self._sleep()
            lane.sleeping -= 1
        if lane.inside < self._limits.concurrent:
            lane.inside += 1
            return
        turn: Deferred[None] = Deferred()
        lane.waiting.append(turn)
        await turn

    def leave(self, key: str) -> None:
        """Make room for the next."""
        lane = self._lanes[key]
        if lane.waiting:
            lane.waiting.popleft().callback(None)
        else:
            lane.inside -= 1

    def keys(self) -> set[str]:
        """Who is there, or was there lately."""
        return set(self._lanes)

    def _lane(self, key: str, now: float) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= _MAX_KEYS:
                since = now - self._limits.window_size_ms / 1000
                self._lanes = {key: lane for key, lane in self._lanes.items() if not lane.is_idle(since)}
            lane = self._lanes[key] = _Lane(self._limits.sleep_limit)
        return lane

    def _comes_too_often(self, lane: _Lane, now: float) -> bool:
        is_full = len(lane.arrivals) > self._limits.sleep_limit
        return is_full and lane.arrivals[0] > now - self._limits.window_size_ms / 1000

    def _sleep(self) -> "Deferred[None]":
        done: Deferred[None] = Deferred()
        self._call_later(self._limits.sleep_delay_ms / 1000, done.callback, None)
        return done
