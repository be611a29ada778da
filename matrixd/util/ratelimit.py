"""Token buckets: so many actions a second, with a burst."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Protocol

_MAX_KEYS = 50_000


class Rate(Protocol):
    """`per_second` actions are allowed on average, `burst_count` at once."""

    @property
    def per_second(self) -> float: ...
    @property
    def burst_count(self) -> float: ...


class RateLimiter:
    """Counts the actions of many keys against one rate; keeps at most 50,000 keys, the least recent goes first."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def wait(self, key: Hashable, now: float, count: bool = True) -> float:
        """Seconds until `key` may act, 0.0 if now; `now` is monotonic. With `count`, an allowed action is counted."""
        level, then = self._buckets.get(key, (0.0, now))
        level = max(0.0, level - (now - then) * self.rate.per_second)
        if level + 1.0 > self.rate.burst_count:
            missing = level + 1.0 - self.rate.burst_count
            return missing / self.rate.per_second if self.rate.per_second > 0 else 3600.0
        if count:
            self._buckets[key] = (level + 1.0, now)
            self._buckets.move_to_end(key)
            if len(self._buckets) > _MAX_KEYS:
                self._buckets.popitem(last=False)
        return 0.0
