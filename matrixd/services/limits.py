"""What a client is told that does something too often."""

from matrixd.core.errors import MatrixError
from matrixd.util.clock import Clock
from matrixd.util.ratelimit import RateLimiter


class Limit:
    """A rate limit that services count against; `what` begins the sentence for the user."""

    def __init__(self, limiter: RateLimiter, clock: Clock, what: str) -> None:
        self._limiter = limiter
        self._clock = clock
        self._what = what

    def check(self, key: str, count: bool = True) -> None:
        """Raises M_LIMIT_EXCEEDED when `key` must wait; with `count`, the action is counted."""
        wait = self._limiter.wait(key, self._clock.monotonic(), count)
        if wait > 0:
            sentence = f"{self._what}. Try again in {int(wait) + 1} seconds."
            raise MatrixError(429, "M_LIMIT_EXCEEDED", sentence, retry_after_ms=int(wait * 1000) + 1)

    def count(self, key: str) -> None:
        """Count an action that has happened, whether it was allowed or not."""
        self._limiter.wait(key, self._clock.monotonic())
