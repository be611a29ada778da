"""Large answers that take long to put together: few at a time, each once for all who ask, and kept for a moment."""

from collections.abc import Callable, Coroutine, Hashable
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore

from matrixd.core.errors import MatrixError
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

#: Answers that are put together at the same time; they share the database's readers with all else.
AT_ONCE = 2
#: Answers that wait for their turn.
MAX_WAITING = 50
#: How long an answer is kept, in seconds: servers that have missed the same event ask for the same at the same time.
KEPT_S = 30.0
MAX_KEPT_BYTES = 32 * 1024 * 1024
_RETRY_AFTER_MS = 5_000

Make = Callable[[], Coroutine[Deferred[Any], Any, bytes]]


class SharedAnswers:
    """Makes and keeps them."""

    def __init__(self, clock: Clock, budget: CacheBudget) -> None:
        self._clock = clock
        self._kept = budget.cache("federation_answers", tuple, tuple[float, bytes], MAX_KEPT_BYTES)
        self._making: SingleFlight[Hashable, bytes] = SingleFlight()
        self._places = DeferredSemaphore(AT_ONCE)

    async def get(self, key: tuple[str, ...], make: Make) -> bytes:
        """The answer called `key`, which `make` puts together. Raises as it does, and M_LIMIT_EXCEEDED."""
        kept = self._kept.get(key)
        if kept is not None and self._clock.monotonic() - kept[0] < KEPT_S:
            return kept[1]
        return await self._making.run(key, lambda: self._make(key, make))

    async def _make(self, key: tuple[str, ...], make: Make) -> bytes:
        if len(self._places.waiting) >= MAX_WAITING:
            sentence = "Too many servers ask for large answers. Try again in a moment."
            raise MatrixError(429, "M_LIMIT_EXCEEDED", sentence, retry_after_ms=_RETRY_AFTER_MS)
        await self._places.acquire()
        try:
            answer = await make()
        finally:
            self._places.release()
        self._kept.put(key, (self._clock.monotonic(), answer), len(answer))
        return answer
