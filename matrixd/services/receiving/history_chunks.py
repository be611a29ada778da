"""Storing pieces of a room's history that were fetched later.

A piece is stored as far as the state before its events is known, or some server tells it; what is left stays a hole.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.core.event import Event
from matrixd.core.versions import RoomVersion
from matrixd.net.errors import RemoteError
from matrixd.services.receiving import stored_apart
from matrixd.services.receiving.anchors import Anchors, NoAnchor
from matrixd.services.receiving.auth_events import AuthEvents, AuthEventsMissing
from matrixd.services.receiving.ended_extremities import EndedExtremities
from matrixd.services.receiving.fetched_redactions import apply_redactions
from matrixd.services.receiving.history_plan import Chunk, Plan, make_plan
from matrixd.services.receiving.ordering import by_prev_events
from matrixd.services.receiving.pdu_checks import PduChecks
from matrixd.services.receiving.stored_apart import Apart
from matrixd.services.room_head import RoomHeads
from matrixd.storage import events, rooms, timeline_gaps
from matrixd.storage.database import Database
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

logger = logging.getLogger(__name__)

#: Branches of one piece whose state is asked for.
_MAX_TIED = 4


@dataclass(frozen=True, slots=True)
class Told:
    """A piece of history, as a server tells it."""

    server: str
    version: RoomVersion
    room_id: str
    pdus: Sequence[Any]
    #: When the holes before it are due (`timeline_gaps`).
    next_try_ts: int


class HistoryChunks:
    """Checks and stores pieces of history."""

    def __init__(
        self, database: Database, heads: RoomHeads, checks: PduChecks, auth_events: AuthEvents, anchors: Anchors
    ) -> None:
        self._database = database
        self._heads = heads
        self._checks = checks
        self._auth_events = auth_events
        self._anchors = anchors
        self._ended = EndedExtremities(database, heads)

    async def take(self, told: Told) -> int:
        """Store what can be stored; how many events now have a place that had none. `Unavailable` passes."""
        checked = await self._checks.check(told.version, told.room_id, told.pdus)
        if checked.refused:
            logger.info("%s tells events of %s that are refused: %s", told.server, told.room_id, checked.refused)
        chunk = Chunk(told.room_id, by_prev_events(checked.events), checked.signed_by)
        if not chunk.events:
            return 0
        await self._ensure_auth_events(told.server, chunk.events)
        await self._database.write(_store_outliers, told.room_id, [e for e in chunk.events if e.is_state])
        plan = await self._plan(told.server, chunk)
        if not plan.apart:
            return 0
        async with self._heads.exclusive(told.room_id):
            count = await self._database.write(_store, told.room_id, plan.apart, told.next_try_ts)
            referred = {prev for a in plan.apart if a.verdict is None for prev in a.event.prev_events}
            await self._ended.drop(told.room_id, referred)
        return count

    async def _plan(self, server: str, chunk: Chunk) -> Plan:
        plan = await self._database.read(make_plan, chunk, {})
        states = {}
        for event in plan.untied[:_MAX_TIED]:
            try:
                states[event.event_id] = await self._anchors.state_before(server, event)
            except (RemoteError, AuthEventsMissing, NoAnchor) as error:
                logger.info("%s does not tell the state before %s: %s", server, event.event_id, error)
        return await self._database.read(make_plan, chunk, states) if states else plan

    async def _ensure_auth_events(self, server: str, found: Sequence[Event]) -> None:
        """Fetch the auth events that are neither here nor in the chunk; the newest event's auth chain has most."""
        lacking = await self._database.read(_lacking_auth_events, found)
        for event in reversed(found):
            if not lacking.intersection(event.auth_events):
                continue
            try:
                await self._auth_events.ensure(server, event)
            except AuthEventsMissing as error:
                # What cannot be authorised is left out of the plan.
                logger.info("%s cannot be authorised: %s", event.event_id, error)
            lacking = await self._database.read(_lacking_auth_events, found)


def _lacking_auth_events(tx: Transaction, found: Sequence[Event]) -> set[str]:
    wanted = {auth_id for event in found for auth_id in event.auth_events} - {event.event_id for event in found}
    return wanted - events.nids(tx, wanted).keys()


def _store_outliers(tx: Transaction, room_id: str, found: Sequence[Event]) -> None:
    """The state after an event that is state can only be spoken of if it is stored."""
    room_nid = rooms.nid(tx, room_id)
    if room_nid is not None and found:
        stored_apart.store(tx, room_nid, [Apart(event) for event in found])


def _store(tx: Transaction, room_id: str, apart: Sequence[Apart], next_try_ts: int) -> int:
    room_nid = rooms.nid(tx, room_id)
    if room_nid is None:
        return 0
    known = events.by_ids(tx, [a.event.event_id for a in apart])
    wanted = [a for a in apart if _lacks_place(known.get(a.event.event_id), room_nid)]
    nids = stored_apart.store(tx, room_nid, wanted)
    timeline_gaps.close(tx, [a.event.event_id for a in apart])
    here = events.by_ids(tx, {prev for a in wanted for prev in a.event.prev_events})
    timeline_gaps.open_all(
        tx,
        [
            (room_nid, prev, nids[a.event.event_id])
            for a in wanted
            for prev in dict.fromkeys(a.event.prev_events)
            if prev not in here or here[prev].is_outlier
        ],
        next_try_ts,
    )
    apply_redactions(tx, [a.event for a in wanted if a.verdict is None])
    return len(wanted)


def _lacks_place(stored: StoredEvent | None, room_nid: int) -> bool:
    # In old room versions servers choose the IDs of events: another room may have one that is called the same.
    return stored is None or (stored.is_outlier and stored.room_nid == room_nid)
