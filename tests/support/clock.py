"""A clock that a test moves."""

from __future__ import annotations


class TestClock:
    """Tells the time that the test has set; both clocks move together."""

    __test__ = False

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def advance(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)
