"""How far other servers have come, written to the database once a second for all of them together.

A server that takes what it is sent costs no row: all such servers share the floor. Only one that lags (it fails, or
takes long) has a row with a position of its own. The order makes a crash harmless: the floor moves only in the commit
that stores the rows of those who lag, so what is stored is never ahead of what was taken; after a crash some events are
sent again, which the other server recognises by their IDs.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, DeferredLock

from matrixd.net.reachability import Reachability
from matrixd.services.sending_out.destination_queue import DestinationQueue
from matrixd.storage import destinations, outgoing_events
from matrixd.storage.database import Database
from matrixd.storage.destinations import Behind, Reach
from matrixd.storage.engines.base import Unavailable
from matrixd.storage.transaction import Transaction

#: A window whose oldest event is this many positions behind the newest no longer holds back the floor.
_LAGS_AFTER = 5_000


@dataclass(slots=True)
class _Changes:
    """What one commit writes."""

    floor: int
    newest: Mapping[int, int]
    reaches: Sequence[Reach]
    behind: list[Behind] = field(default_factory=list)
    level: list[str] = field(default_factory=list)
    farewells: dict[tuple[str, int], int] = field(default_factory=dict)
    #: Servers whose farewells up to a position are over.
    told: dict[str, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.newest or self.reaches or self.behind or self.level or self.farewells)


class Progress:
    """Knows what is not yet written."""

    def __init__(self, database: Database, reachability: Reachability, dispatched: Callable[[], int]) -> None:
        self._database = database
        self._reachability = reachability
        self._dispatched = dispatched
        self.floor = 0
        #: Room -> position of its newest outgoing event, since the last commit.
        self._newest: dict[int, int] = {}
        self._lock = DeferredLock()

    def note(self, room_nid: int, pos: int) -> None:
        """An outgoing event was handed to the queues of its servers."""
        self._newest[room_nid] = pos

    async def write(self, queues: Collection[DestinationQueue], *, everything: bool = False) -> None:
        """Write what has changed; with `everything` no server that waits for something holds back the floor.

        Raises Unavailable; then all of it is written the next time. One goes after the other: each builds on what the
        last one stored.
        """
        await self._lock.run(lambda: Deferred.fromCoroutine(self._write(queues, everything=everything)))

    async def _write(self, queues: Collection[DestinationQueue], *, everything: bool) -> None:
        newest, self._newest = self._newest, {}
        changes = _Changes(self._dispatched(), newest, self._reachability.changed())
        rows = {queue: self._position(queue, changes, everything) for queue in queues}
        changes.floor = max(changes.floor, self.floor)
        if changes.is_empty and changes.floor == self.floor:
            return
        try:
            await self._database.write(_write, changes, changes.floor != self.floor)
        except Unavailable:
            self._newest = {**newest, **self._newest}
            self._reachability.not_stored(changes.reaches)
            raise
        self.floor = changes.floor
        for queue, pos in rows.items():
            queue.row_acked_pos = pos
            _forget_farewells(queue, changes)

    def _position(self, queue: DestinationQueue, changes: _Changes, everything: bool) -> int | None:
        """What the row of a server is to say; lowers the floor for one that is to have none."""
        acked = queue.acked_pos
        if acked is None:
            if queue.row_acked_pos is not None:
                changes.level.append(queue.name)
                changes.told[queue.name] = self._dispatched()
            return None
        lags = (
            everything
            or queue.row_acked_pos is not None
            or queue.catch_up is not None
            or queue.overflow is not None
            or self._reachability.failures(queue.name) > 0
            or self._dispatched() - acked > _LAGS_AFTER
        )
        if not lags:
            changes.floor = min(changes.floor, acked)
            return None
        if queue.row_acked_pos != acked:
            changes.behind.append(Behind(queue.name, acked))
            changes.told[queue.name] = acked
        for room_nid, pos in queue.farewells.items():
            if pos > acked:
                changes.farewells[queue.name, room_nid] = pos
        return acked


def _forget_farewells(queue: DestinationQueue, changes: _Changes) -> None:
    """Farewells that are stored, or that were taken, need not be kept in memory."""
    acked = queue.acked_pos
    for room_nid, pos in list(queue.farewells.items()):
        if changes.farewells.get((queue.name, room_nid)) == pos or acked is None or pos <= acked:
            del queue.farewells[room_nid]


def _write(tx: Transaction, changes: _Changes, floor_moved: bool) -> None:
    outgoing_events.set_newest(tx, changes.newest)
    destinations.set_reach(tx, changes.reaches)
    destinations.set_behind(tx, changes.behind)
    destinations.set_level(tx, changes.level)
    outgoing_events.set_farewells(tx, changes.farewells)
    for destination, up_to in changes.told.items():
        outgoing_events.delete_farewells(tx, destination, up_to)
    if floor_moved:
        destinations.set_floor(tx, changes.floor)
