"""Caches that share one byte budget.

Each cache is told how large an entry is. When all together exceed the budget, the entry that has not been used for the
longest time goes, whichever cache it is in. To be used in one thread.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Entry(Generic[V]):
    __slots__ = ("size", "tick", "value")

    def __init__(self, value: V, size: int, tick: int) -> None:
        self.value = value
        self.size = size
        self.tick = tick


class CacheBudget:
    """The bytes that all caches of a process may hold together."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self.tick = 0
        self.caches: dict[str, LruCache[Hashable, object]] = {}

    def cache(
        self, name: str, key_type: type[K], value_type: type[V], max_bytes: int | None = None
    ) -> "LruCache[K, V]":
        """Register a cache; `max_bytes` bounds it further. The types are for the type checker."""
        if name in self.caches:
            raise ValueError(f"two caches are called {name}")
        made: LruCache[K, V] = LruCache(self, name, max_bytes)
        self.caches[name] = made  # type: ignore[assignment]
        return made

    def trim(self) -> None:
        """Drop what was not used for the longest time until the budget holds."""
        while self.used_bytes > self.total_bytes:
            filled = [cache for cache in self.caches.values() if len(cache)]
            oldest = min(filled, key=LruCache.oldest_tick, default=None)
            if oldest is None:
                return
            oldest.evict()


class LruCache(Generic[K, V]):
    """A mapping that forgets what was not used for the longest time. Made by `CacheBudget.cache`."""

    def __init__(self, budget: CacheBudget, name: str, max_bytes: int | None) -> None:
        self.name = name
        self.used_bytes = 0
        self.hits = 0
        self.misses = 0
        self._budget = budget
        self._max_bytes = max_bytes
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._entries))

    def get(self, key: K) -> V | None:
        """The value, which now counts as just used."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._budget.tick += 1
        entry.tick = self._budget.tick
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of about `size` bytes."""
        self.remove(key)
        self._budget.tick += 1
        self._entries[key] = _Entry(value, size, self._budget.tick)
        self._account(size)
        if self._max_bytes is not None:
            while self.used_bytes > self._max_bytes and self._entries:
                self.evict()
        if self._budget.used_bytes > self._budget.total_bytes:
            self._budget.trim()

    def resize(self, key: K, size: int) -> None:
        """Say that the value under `key` has become about `size` bytes large."""
        entry = self._entries.get(key)
        if entry is not None:
            self._account(size - entry.size)
            entry.size = size

    def remove(self, key: K) -> None:
        """Forget a value, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._account(-entry.size)

    def remove_where(self, condition: Callable[[V], bool]) -> None:
        """Forget every value that fulfils the condition."""
        for key in [key for key, entry in self._entries.items() if condition(entry.value)]:
            self.remove(key)

    def clear(self) -> None:
        """Forget everything."""
        self._account(-self.used_bytes)
        self._entries.clear()

    def oldest_tick(self) -> int:
        """When the entry that would go next was last used."""
        return next(iter(self._entries.values())).tick

    def evict(self) -> None:
        """Forget the entry that was not used for the longest time."""
        _, entry = self._entries.popitem(last=False)
        self._account(-entry.size)

    def _account(self, size: int) -> None:
        self.used_bytes += size
        self._budget.used_bytes += size
