"""Running coroutines that seldom wait."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def run(
    coroutine: Coroutine["Deferred[Any]", Any, T], done: Callable[[T], None], failed: Callable[[Failure], None]
) -> None:
    """Run a coroutine, then call `done` with its result; at once, and without a Deferred, if it does not wait.

    What it raises before it waits is raised here; what it, or `done`, raises later goes to `failed`.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        done(stop.value)
    else:
        Deferred.fromCoroutine(_Begun(coroutine, awaited)).addCallback(done).addErrback(failed)


class _Begun(Coroutine["Deferred[Any]", Any, T]):
    """A coroutine that has begun, and awaits a Deferred, as one that has not."""

    def __init__(self, working: Coroutine["Deferred[Any]", Any, T], awaited: "Deferred[Any]") -> None:
        self._working = working
        self._awaited: Deferred[Any] | None = awaited

    def send(self, value: Any) -> "Deferred[Any]":
        awaited, self._awaited = self._awaited, None
        return self._working.send(value) if awaited is None else awaited

    def throw(self, *error: Any) -> "Deferred[Any]":
        return self._working.throw(*error)

    def close(self) -> None:
        self._working.close()

    def __await__(self) -> Generator["Deferred[Any]", Any, T]:
        return self._working.__await__()
