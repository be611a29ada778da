"""Repairing rooms that have holes: events that could not be placed, and what is missing before those that could.

The holes are rows (`storage.timeline_gaps`), so that nothing is forgotten by a restart. A hole between what this server
has seen of a room is filled; the room's past from before this server took part is fetched when somebody pages to it.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matrixd.services.backfill import CHUNK, Backfill, retry_ts
from matrixd.services.receiving.receiver import Receiver
from matrixd.services.room_head import RoomHeads
from matrixd.storage import events, rooms, timeline_gaps
from matrixd.storage.database import Database
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.timeline_gaps import ON_PAGING, Gap
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

logger = logging.getLogger(__name__)

#: Holes that are looked at in one run.
_MAX_DUE = 200
#: Events that one run fetches for a room.
_MAX_EVENTS = 500
#: Rooms whose troubles are logged no second time.
_MAX_LOGGED = 10_000


@dataclass(frozen=True, slots=True)
class _Due:
    """The holes of a room that are due."""

    room_id: str
    #: Events that are kept without a place, the oldest first.
    unplaced: Sequence[StoredEvent]
    #: Holes in what this server has seen of the room.
    inside: Sequence[Gap]
    #: Holes before this server's part in the room.
    past: Sequence[Gap]


class GapRepair:
    """Fills the holes that are due."""

    def __init__(
        self, database: Database, heads: RoomHeads, receiver: Receiver, backfill: Backfill, clock: Clock
    ) -> None:
        self._database = database
        self._heads = heads
        self._receiver = receiver
        self._backfill = backfill
        self._clock = clock
        self._logged: set[str] = set()

    async def run(self) -> None:
        """Work off what is due, room by room; the rooms whose holes wait for the longest time come first."""
        for room_nid in await self._database.write(_rooms_due, self._clock.now_ms(), _MAX_DUE):
            due = await self._database.read(_due, room_nid, self._clock.now_ms())
            if due is not None:
                await self._repair(room_nid, due)

    async def _repair(self, room_nid: int, due: _Due) -> None:
        head = await self._heads.find(due.room_id)
        if head is None or not head.is_resident:
            # Who comes back joins anew, and what was kept is of no use then.
            await self._database.write(_postpone, room_nid, self._clock.now_ms())
            return
        problem = await self._place(room_nid, due)
        if due.past:
            filled = await self._backfill.fill(due.room_id, due.past, ON_PAGING)
            if filled.count:
                await self._database.write(_leave_to_paging, due.past)
            problem = problem or filled.problem
        problem = await self._fill(room_nid, due) or problem
        self._log(due.room_id, problem)

    async def _place(self, room_nid: int, due: _Due) -> str:
        """Try again to place the events that are kept; why one could not be placed, or nothing."""
        problem = ""
        for stored in due.unplaced:
            error = await self._receiver.retry(stored.event)
            if error is not None:
                problem = error
                await self._database.write(_failed, room_nid, stored.event_nid, self._clock.now_ms(), error)
        if due.unplaced:
            await self._database.write(timeline_gaps.close_filled, room_nid)
        return problem

    async def _fill(self, room_nid: int, due: _Due) -> str:
        """Fill the holes in what this server has seen; why that is not possible, or nothing."""
        gaps = due.inside
        for _ in range(_MAX_EVENTS // CHUNK):
            if not gaps:
                break
            filled = await self._backfill.fill(due.room_id, gaps, self._clock.now_ms())
            if not filled.count:
                return filled.problem
            found = await self._database.read(_due, room_nid, self._clock.now_ms())
            gaps = () if found is None else found.inside
        return ""

    def _log(self, room_id: str, problem: str) -> None:
        if not problem:
            self._logged.discard(room_id)
        elif room_id not in self._logged:
            if len(self._logged) >= _MAX_LOGGED:
                self._logged.clear()
            self._logged.add(room_id)
            logger.warning("%s has holes in its history that are not filled yet: %s", room_id, problem)


def _rooms_due(tx: Transaction, now_ms: int, limit: int) -> list[int]:
    """The rooms of the holes that are due, after those are closed that were filled by the way."""
    room_nids = list(dict.fromkeys(gap.room_nid for gap in timeline_gaps.due(tx, now_ms, limit)))
    for room_nid in room_nids:
        timeline_gaps.close_filled(tx, room_nid)
    return room_nids


def _due(tx: Transaction, room_nid: int, now_ms: int) -> _Due | None:
    room = rooms.by_nids(tx, [room_nid]).get(room_nid)
    gaps = timeline_gaps.due_of_room(tx, room_nid, now_ms, _MAX_DUE)
    if room is None or not gaps:
        return None
    stored = events.by_nids(tx, {gap.event_nid for gap in gaps})
    unplaced = [item for item in stored.values() if item.is_outlier]
    inside: list[Gap] = []
    past: list[Gap] = []
    for gap in sorted(gaps, key=lambda gap: _depth(stored, gap)):
        item = stored.get(gap.event_nid)
        if item is not None and not item.is_outlier:
            # What has a place in the timeline, and a hole before it, is how this server came into the room.
            (past if (item.pos or 0) > 0 else inside).append(gap)
    unplaced.sort(key=lambda item: item.event.depth)
    return _Due(room.room_id, unplaced, inside, past)


def _depth(stored: dict[int, StoredEvent], gap: Gap) -> int:
    item = stored.get(gap.event_nid)
    return 0 if item is None else item.event.depth


def _failed(tx: Transaction, room_nid: int, event_nid: int, now_ms: int, error: str) -> None:
    for gap in timeline_gaps.of_event(tx, room_nid, event_nid):
        timeline_gaps.failed(tx, gap, retry_ts(gap, now_ms), error)


def _postpone(tx: Transaction, room_nid: int, now_ms: int) -> None:
    for gap in timeline_gaps.due_of_room(tx, room_nid, now_ms, _MAX_DUE):
        timeline_gaps.failed(tx, gap, retry_ts(gap, now_ms), "This server is not in the room.")


def _leave_to_paging(tx: Transaction, gaps: Collection[Gap]) -> None:
    for gap in gaps:
        timeline_gaps.postpone(tx, gap, ON_PAGING)
