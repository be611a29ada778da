"""Several who ask for the same thing at the same time share one answer."""

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs at most one coroutine for each key; bounded by those who wait."""

    def __init__(self) -> None:
        self._waiting: dict[K, list[Deferred[V]]] = {}

    def run(self, key: K, start: Callable[[], Coroutine[Deferred[Any], Any, V]]) -> "Deferred[V]":
        """The result of the coroutine that is under way for `key`, or of a new one from `start`."""
        mine: Deferred[V] = Deferred()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(mine)
            return mine
        self._waiting[key] = [mine]
        Deferred.fromCoroutine(start()).addBoth(self._finish, key)
        return mine

    def _finish(self, result: V | Failure, key: K) -> None:
        for waiter in self._waiting.pop(key):
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)
