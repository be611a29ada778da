"""Ties a missing event to the room: it is fetched with the state before it, and its own past stays a gap.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu, step 5, needs the state before an
event, which needs that after the events before it. Where these are too many to fetch, the state is asked for.
"""

import logging
from collections.abc import Collection, Iterable, Sequence

from matrixd.core.auth import EventForbidden, check_state_dependent
from matrixd.core.auth.plan import state_for_check
from matrixd.core.event import Event
from matrixd.core.versions import RoomVersion
from matrixd.net.errors import RemoteError
from matrixd.services.receiving import stored_apart
from matrixd.services.receiving.auth_events import AuthEvents, AuthEventsMissing, check_by_auth_events, check_creation
from matrixd.services.receiving.fetched_redactions import apply_redactions
from matrixd.services.receiving.pdu_checks import CheckedPdus, PduChecks
from matrixd.services.receiving.remote_history import RemoteHistory
from matrixd.services.receiving.stored_apart import Apart
from matrixd.storage import event_state, events, room_state, rooms, timeline_gaps
from matrixd.storage.database import Database
from matrixd.storage.event_state import EventState
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

logger = logging.getLogger(__name__)

#: Events of a state that are fetched one by one; of more, the whole state is fetched at once.
_MAX_SINGLE = 20
#: State events that another server may claim there are.
MAX_STATE = 200_000
#: How long the past of an anchored event may stay a gap until somebody looks.
_FIRST_REPAIR_MS = 5_000


class NoAnchor(Exception):
    """No server that was asked tells the event and the state before it."""


class Anchors:
    """Fetches and stores events with the state before them."""

    def __init__(
        self,
        database: Database,
        checks: PduChecks,
        auth_events: AuthEvents,
        history: RemoteHistory,
        clock: Clock,
    ) -> None:
        self._database = database
        self._checks = checks
        self._auth_events = auth_events
        self._history = history
        self._clock = clock

    async def anchor(self, servers: Sequence[str], version: RoomVersion, room_id: str, event_id: str) -> None:
        """Store an event with the state before it, as a part of the room's history. Asks one server after the other.

        Raises `NoAnchor`.
        """
        problem = "nobody to ask"
        for server in servers:
            try:
                checked = await self._fetch(server, version, room_id, event_id)
                await self.tie(server, checked.events[0], checked.signed_by[event_id])
                return
            except (RemoteError, AuthEventsMissing, NoAnchor) as error:
                problem = str(error)
                logger.info("%s does not help with %s of %s: %s", server, event_id, room_id, error)
        raise NoAnchor(problem)

    async def _fetch(self, server: str, version: RoomVersion, room_id: str, event_id: str) -> CheckedPdus:
        checked = await self._checks.check(version, room_id, [await self._history.event(server, event_id)])
        if event_id not in checked.signed_by:
            raise NoAnchor(checked.refused.get(event_id, f"{server} has answered with another event."))
        return checked

    async def tie(self, server: str, event: Event, signed_by: frozenset[str]) -> None:
        """Store an event that is at hand with the state that a server says was before it.

        Raises `RemoteError`, `AuthEventsMissing`, `NoAnchor`.
        """
        await self._auth_events.ensure(server, event)
        state_ids = await self.state_before(server, event)
        repair_ts = self._clock.now_ms() + _FIRST_REPAIR_MS
        await self._database.write(_store, event, signed_by, state_ids, repair_ts)

    async def state_before(self, server: str, event: Event) -> list[str]:
        """The state that a server says was before an event: the IDs of its events, all of which are stored afterwards.

        Raises `RemoteError`, `AuthEventsMissing`, `NoAnchor`.
        """
        state_ids, _ = await self._history.state_ids(server, event.room_id, event.event_id)
        if len(state_ids) > MAX_STATE:
            raise NoAnchor(f"{server} claims a state of {len(state_ids)} events.")
        await self._fetch_state(server, event, state_ids)
        return list(state_ids)

    async def _fetch_state(self, server: str, event: Event, state_ids: Collection[str]) -> None:
        missing = await self._missing(state_ids)
        if not missing:
            return
        if len(missing) <= _MAX_SINGLE:
            pdus = [await self._history.event(server, event_id) for event_id in missing]
        else:
            state, chain = await self._history.state(server, event.room_id, event.event_id)
            pdus = [*chain, *state]
        checked = await self._checks.check(event.version, event.room_id, pdus)
        for found in checked.events if len(missing) <= _MAX_SINGLE else ():
            await self._auth_events.ensure(server, found)
        await self._auth_events.store(event.version, event.room_id, checked)
        still = await self._missing(state_ids)
        if still:
            raise NoAnchor(f"{server} does not tell {len(still)} events of the state before {event.event_id}.")

    async def _missing(self, event_ids: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(event_ids))
        known = await self._database.read(events.nids, wanted)
        return [event_id for event_id in wanted if event_id not in known]


def _store(
    tx: Transaction, event: Event, signed_by: frozenset[str], state_ids: Sequence[str], repair_ts: int
) -> None:
    room = rooms.by_id(tx, event.room_id)
    stored = events.by_id(tx, event.event_id)
    if room is None or (stored is not None and (not stored.is_outlier or stored.room_nid != room.room_nid)):
        return
    before = state_of(tx, room.room_nid, room.last_pos, state_ids)
    verdict = _verdict(tx, event, signed_by, before)
    nids = stored_apart.store(tx, room.room_nid, [Apart(event, verdict, before, is_history=True)])
    timeline_gaps.close(tx, [event.event_id])
    here = events.by_ids(tx, event.prev_events)
    missing = [prev for prev in event.prev_events if prev not in here or here[prev].is_outlier]
    timeline_gaps.open_all(tx, [(room.room_nid, prev, nids[event.event_id]) for prev in missing], repair_ts)
    if verdict is None:
        apply_redactions(tx, [event])


def state_of(tx: Transaction, room_nid: int, at: int, state_ids: Collection[str]) -> EventState:
    """The state that consists of some stored events, as a difference to the timeline's state after a position.

    In the place of rejected events, which no honest server names, the timeline's stay.
    """
    held: dict[int, int | None] = room_state.key_events(tx, room_nid, at)
    wanted = events.keys_of(tx, room_nid, state_ids)
    entries: dict[int, int | None] = {key: nid for key, nid in wanted.items() if nid not in (None, held.get(key))}
    entries.update((key, None) for key in held if key not in wanted)
    return event_state.timeline(room_nid, at).with_entries(entries)


def _verdict(tx: Transaction, event: Event, signed_by: frozenset[str], before: EventState) -> str | None:
    wanted = {*event.auth_events, f"${event.room_id[1:]}"}
    stored = events.by_ids(tx, wanted)
    rejected = {event_id for event_id, item in stored.items() if item.verdict == "rejected"}
    keys = state_for_check(event.version, event.type, event.sender, event.state_key, event.content)
    try:
        check_creation(tx, before.room_nid, event)
        check_by_auth_events(event, {i: item.event for i, item in stored.items()}, signed_by, rejected)
        check_state_dependent(event, {key: item.event for key, item in before.of_keys(tx, keys).items()})
    except EventForbidden as error:
        logger.info("%s is rejected: %s", event.event_id, error)
        return "rejected"
    return None
