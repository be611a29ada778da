"""Later, as something that is passed in: a reactor, or a test's clock."""

from collections.abc import Callable
from typing import Any, Protocol


class Scheduled(Protocol):
    """A call that is to happen."""

    def cancel(self) -> None:
        """Do not call after all."""


class Timer(Protocol):
    """The part of a reactor that calls later, in seconds."""

    def seconds(self) -> float:
        """The time by which delays are counted."""

    def callLater(self, delay: float, callable: Callable[..., object], /, *args: Any, **kwargs: Any) -> Scheduled: ...


class Alarm:
    """Calls `ring` at the earliest of the times that were asked for; one call is pending at most.

    Whoever is rung looks what is due and sets the alarm again.
    """

    def __init__(self, timer: Timer, ring: Callable[[], None]) -> None:
        self._timer = timer
        self._ring = ring
        self._pending: Scheduled | None = None
        self._at = 0.0

    def set(self, at: float) -> None:
        """Ring at `at` (the timer's seconds), or before if that was asked for."""
        if self._pending is not None:
            if self._at <= at:
                return
            self._pending.cancel()
        self._at = at
        self._pending = self._timer.callLater(max(0.0, at - self._timer.seconds()), self._go)

    def stop(self) -> None:
        """Do not ring any more."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def _go(self) -> None:
        self._pending = None
        self._ring()
