"""Forgetting what nobody will take any more, and keeping the queues of stored EDUs bounded."""

import logging
from dataclasses import dataclass

from matrixd.storage import destination_edus, destinations, outgoing_events
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

logger = logging.getLogger(__name__)

#: Stored EDUs that wait for one server. Beyond it the oldest device list updates go, since a server that finds one
#: missing asks for the whole list; then the oldest of whatever kind.
MAX_STORED_EDUS = 10_000
#: For a server that was out of reach for so long nothing is kept any more.
GIVEN_UP_AFTER_MS = 30 * 24 * 60 * 60 * 1000
_GOES_FIRST = ("m.device_list_update",)


@dataclass(frozen=True, slots=True)
class _Purged:
    """What a purge removed."""

    #: Server -> EDUs of servers that were given up.
    given_up: dict[str, int]
    #: Server -> EDUs that were too many.
    too_many: dict[str, int]


class Purge:
    """To be run each hour."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Remove it."""
        purged = await self._database.write(_purge, self._clock.now_ms() - GIVEN_UP_AFTER_MS)
        for destination, count in purged.given_up.items():
            logger.warning("%s was out of reach for 30 days: %d EDUs for it are dropped", destination, count)
        for destination, count in purged.too_many.items():
            logger.warning("more than %d EDUs wait for %s: %d are dropped", MAX_STORED_EDUS, destination, count)


def _purge(tx: Transaction, before_ts: int) -> _Purged:
    given_up = {}
    for destination in destinations.failing_since_before(tx, before_ts):
        count = destination_edus.delete_all(tx, destination)
        if count:
            given_up[destination] = count
    too_many = {}
    for destination, count in destination_edus.waiting(tx).items():
        if count > MAX_STORED_EDUS:
            too_many[destination] = _shorten(tx, destination, count - MAX_STORED_EDUS)
    destinations.delete_unused(tx, before_ts)
    outgoing_events.delete_unused_farewells(tx)
    outgoing_events.forget_sent_on(tx, destinations.everybody_has(tx, before_ts))
    return _Purged(given_up, too_many)


def _shorten(tx: Transaction, destination: str, count: int) -> int:
    removed = destination_edus.delete_oldest(tx, destination, _GOES_FIRST, count)
    if removed < count:
        removed += destination_edus.delete_oldest(tx, destination, None, count - removed)
    return removed
