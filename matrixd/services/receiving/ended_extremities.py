"""Forward extremities that history which was fetched later has taken from the room's end.

What came after an outage stands beside what the room had before, as if the room had forked. Once the events between are
here, what the room had is no end any more.
"""

import logging
from collections.abc import Collection

from matrixd.core.versions import ROOM_VERSIONS
from matrixd.queries.state_resolution import resolve
from matrixd.services.room_head import RoomHeads
from matrixd.storage import event_state, events, rooms
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

logger = logging.getLogger(__name__)


class EndedExtremities:
    """Drops such extremities."""

    def __init__(self, database: Database, heads: RoomHeads) -> None:
        self._database = database
        self._heads = heads

    async def drop(self, room_id: str, referred: Collection[str]) -> None:
        """Drop those extremities of a room that accepted events name in prev_events. To be called in `exclusive`.

        Where the state that the other ends resolve to is not the current one they stay: the current state changes with
        events only. The room's next event of ours cites them all, and with it every server resolves the same.
        """
        head = await self._heads.find(room_id)
        if head is None or not any(event.event_id in referred for event in head.extremities):
            return
        kept = await self._database.read(_remaining, room_id, referred)
        if kept is not None:
            await self._database.write(_replace, room_id, kept)
            self._heads.forget(room_id)


def _remaining(tx: Transaction, room_id: str, referred: Collection[str]) -> list[str] | None:
    """The extremities without those that are none; None if all have to stay."""
    room = rooms.by_id(tx, room_id)
    if room is None:
        return None
    kept = [event_id for event_id in room.extremities if event_id not in referred]
    if not kept or len(kept) == len(room.extremities):
        return None
    afters = event_state.afters(tx, list(events.by_ids(tx, kept).values()))
    states = [state for state in afters.values() if state is not None]
    if not states:
        return None
    now = event_state.timeline(room.room_nid, room.last_pos)
    current = resolve(tx, ROOM_VERSIONS[room.version], states)
    if event_state.differing_keys(tx, [now, current]):
        logger.info("%s keeps ends that are none: without them its state would be another", room_id)
        return None
    return kept


def _replace(tx: Transaction, room_id: str, extremities: Collection[str]) -> None:
    room_nid = rooms.nid(tx, room_id)
    if room_nid is not None:
        rooms.set_extremities(tx, room_nid, extremities)
