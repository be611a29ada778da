"""First syncs, which may be large: who asks again while the answer is made gets the same one.

A client whose patience ended, or whose connection broke, does not make the server begin anew: the answer goes on being
made, and one that nobody was there to take is kept for a while.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from matrixd.core.filters import Filter
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.sync.waiting import OnStop
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

#: All answers together may take so much, whatever the budget has left.
_MAX_BYTES = 64 * 2**20
_ENTRY_BYTES = 500

#: The device, and what it asked for.
_Key = tuple[int, Filter, bool]


class FirstSyncs:
    """Keeps an answer that could not be given for `keep_ms` milliseconds."""

    def __init__(self, clock: Clock, budget: CacheBudget, keep_ms: int) -> None:
        self._clock = clock
        self._keep_ms = keep_ms
        self._kept = budget.cache("first_syncs", tuple[int, Filter, bool], tuple[int, bytes], _MAX_BYTES)
        self._making: SingleFlight[_Key, bytes] = SingleFlight()

    async def answer(
        self, request: SyncRequest, make: Callable[[], Coroutine[Any, Any, bytes]], on_stop: OnStop
    ) -> bytes:
        """The answer to a first sync; `make` is called if none is kept or being made."""
        key = (request.device_nid, request.filter, request.use_state_after)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.remove(key)
            made_ms, body = kept
            if self._clock.now_ms() - made_ms < self._keep_ms:
                return body
        gone = []
        on_stop(lambda: gone.append(True))
        body = await self._making.run(key, make)
        if gone:
            self._kept.put(key, (self._clock.now_ms(), body), _ENTRY_BYTES + len(body))
        return body
