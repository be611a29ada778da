"""Deciding about the events of another server's answer: signatures, then the authorisation rules, the oldest first.

The answer is not in memory: a chunk of it is, and those events that others were authorised by lately. What is allowed
is stored as outliers; the places that the state's events hold are noted until the room gets them.
"""

import enum
import itertools
import json
import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from matrixd.core import canonical_json
from matrixd.core.auth import EventForbidden, check_state_dependent, check_state_independent, state_for_check
from matrixd.core.content import room_version
from matrixd.core.event import Event
from matrixd.core.versions import RoomVersion
from matrixd.services.handshakes.servers import UselessAnswer
from matrixd.services.receiving import stored_apart
from matrixd.services.receiving.auth_events import check_by_auth_events
from matrixd.services.receiving.ordering import by_auth_events
from matrixd.services.receiving.pdu_checks import PduChecks
from matrixd.services.receiving.stored_apart import Apart
from matrixd.services.remote_joins.staging import MAX_DEPTH
from matrixd.storage import event_state, events, remote_join_pdus, remote_join_state, room_state, rooms
from matrixd.storage.database import Database
from matrixd.storage.remote_join_pdus import StagedPdu
from matrixd.storage.remote_join_state import Place
from matrixd.storage.room_state import StateKey
from matrixd.storage.stored_event import json_text
from matrixd.storage.transaction import Transaction

logger = logging.getLogger(__name__)

#: Events that are in memory at once.
_CHUNK = 200
#: Events kept because others may be authorised by them; what is not there is read again.
_MAX_KNOWN = 2_000
#: How often events are put behind all others because what they are authorised by has not come yet.
_MAX_ROUNDS = 10

_CREATE = ("m.room.create", "")


@dataclass(slots=True)
class _Known:
    """Events that others were authorised by, as they are stored: a cache."""

    events: dict[str, Event] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)

    def trim(self) -> None:
        """Drop the oldest; the creation is always needed."""
        surplus = len(self.events) - _MAX_KNOWN
        if surplus > 0:
            old = (event_id for event_id, event in self.events.items() if not event.is_state or event.key != _CREATE)
            for event_id in list(itertools.islice(old, surplus)):
                del self.events[event_id]
                self.rejected.discard(event_id)


@dataclass(slots=True)
class _Decided:
    """What has become of a chunk."""

    apart: list[Apart] = field(default_factory=list)
    #: IDs of the events that hold a place in the state.
    in_state: set[str] = field(default_factory=set)
    #: To be looked at again, as what they are authorised by has not come yet.
    later: list[StagedPdu] = field(default_factory=list)
    dropped: int = 0


class SnapshotChecks:
    """Checks what was staged of a room."""

    def __init__(self, database: Database, checks: PduChecks) -> None:
        self._database = database
        self._checks = checks

    async def run(self, destination: str, room_id: str, version: RoomVersion) -> None:
        """Check and store all that is staged of a room; it may have begun before.

        Events that are malformed, badly signed, of another room or whose auth events are not there are dropped;
        forbidden ones are stored as rejected. Raises UselessAnswer if the room is known to have another version.
        """
        if not await self._database.write(_make_room, room_id, version):
            raise UselessAnswer(destination, f"the room is not of version {version.identifier}")
        known, dropped, round_, usable = _Known(), 0, 0, 1
        while True:
            staged = await self._database.read(remote_join_pdus.first, room_id, _CHUNK)
            if not staged:
                break
            if staged[0].depth > MAX_DEPTH + round_:
                # All that can come before these has been looked at.
                round_ = staged[0].depth - MAX_DEPTH
                if round_ > _MAX_ROUNDS or (round_ > 1 and usable == 0):
                    dropped += await self._drop_rest(room_id)
                    break
                usable = 0
            staged = [pdu for pdu in staged if pdu.depth <= MAX_DEPTH + round_]
            decided = await self._decide(version, room_id, staged, known)
            usable += len(decided.apart)
            dropped += decided.dropped
            await self._database.write(_store, room_id, staged[-1], decided)
            known.trim()
        if dropped:
            logger.warning("%d events of the answer of %s about %s could not be used", dropped, destination, room_id)

    async def _drop_rest(self, room_id: str) -> int:
        dropped = 0
        while count := await self._database.write(remote_join_pdus.clear, room_id, 5 * _CHUNK):
            dropped += count
        return dropped

    async def _decide(
        self, version: RoomVersion, room_id: str, staged: Sequence[StagedPdu], known: _Known
    ) -> _Decided:
        state = await self._checks.check(version, room_id, [_pdu(p) for p in staged if p.in_state])
        rest = await self._checks.check(version, room_id, [_pdu(p) for p in staged if not p.in_state])
        decided = _Decided(in_state={event.event_id for event in state.events})
        decided.dropped = len(state.refused) + len(rest.refused)
        state.take(rest)
        chunk = by_auth_events({event.event_id: event for event in state.events}.values())
        await self._learn(version, room_id, chunk, known)
        later = []
        for event in chunk:
            verdict = _verdict(event, state.signed_by[event.event_id], known)
            if verdict is _Verdict.LATER:
                later.append(event)
            elif verdict is _Verdict.DROPPED:
                decided.dropped += 1
            else:
                known.events[event.event_id] = event
                decided.apart.append(Apart(event, "rejected" if verdict is _Verdict.REJECTED else None))
        depth = max(staged[-1].depth, MAX_DEPTH) + 1
        decided.later = [
            StagedPdu(depth, pdu.seq, event.event_id in decided.in_state, json_text(event))
            for pdu, event in zip(staged, later, strict=False)
        ]
        decided.in_state -= known.rejected
        return decided

    async def _learn(self, version: RoomVersion, room_id: str, chunk: Sequence[Event], known: _Known) -> None:
        wanted = {event.event_id for event in chunk} | {auth_id for event in chunk for auth_id in event.auth_events}
        if version.auth.create_implied_by_room_id:
            wanted.add(f"${room_id[1:]}")
        wanted -= known.events.keys()
        for event_id, stored in (await self._database.read(events.by_ids, wanted)).items():
            known.events[event_id] = stored.event
            if stored.verdict == "rejected":
                known.rejected.add(event_id)

    async def authorise(self, destination: str, join: Event, *, members_omitted: bool) -> None:
        """Whether the join is allowed by the state that was checked. Raises UselessAnswer.

        Where the answer leaves members out, the members whom the join names in auth_events count as the state's.
        """
        state, auth_events, create = await self._database.read(_state_for, join)
        if create is None or ("m.room.create", "") not in state:
            raise UselessAnswer(destination, "the state that it sent has no usable m.room.create")
        if len(auth_events) < len(set(join.auth_events)):
            raise UselessAnswer(destination, "it did not send all that its template is authorised by")
        if members_omitted:
            for event in auth_events:
                if event.type == "m.room.member":
                    state.setdefault(event.key, event)
        checked = await self._checks.check(join.version, join.room_id, [join.pdu])
        signed_by = checked.signed_by.get(join.event_id, frozenset())
        try:
            check_state_independent(join, auth_events, create=create, signed_by=signed_by)
            check_state_dependent(join, state)
        except EventForbidden as error:
            raise UselessAnswer(destination, f"the state that it sent forbids the join: {error}") from error

    async def has_creation(self, room_id: str) -> bool:
        """Whether the checked state has the room's creation: without it, it is no state."""
        return await self._database.read(_has_creation, room_id)


def _pdu(staged: StagedPdu) -> Any:
    try:
        return canonical_json.decode(staged.json)
    except ValueError:
        # Staged is what can be read in any way: what is wrong with it, the checks say.
        return json.loads(staged.json)


class _Verdict(enum.Enum):
    ALLOWED = "allowed"
    REJECTED = "rejected"
    LATER = "later"
    DROPPED = "dropped"


def _verdict(event: Event, signed_by: Container[str], known: _Known) -> _Verdict:
    stored = known.events.get(event.event_id)
    if stored is not None:
        # Event IDs of the first versions are chosen, so one may be that of another room's event.
        if stored.room_id != event.room_id:
            return _Verdict.DROPPED
        return _Verdict.REJECTED if event.event_id in known.rejected else _Verdict.ALLOWED
    if any(auth_id not in known.events for auth_id in event.auth_events):
        return _Verdict.LATER
    if event.is_state and event.key == _CREATE and room_version(event) != event.version.identifier:
        return _Verdict.DROPPED
    try:
        check_by_auth_events(event, known.events, signed_by, known.rejected)
    except EventForbidden as error:
        logger.info("%s is rejected: %s", event.event_id, error)
        known.rejected.add(event.event_id)
        return _Verdict.REJECTED
    return _Verdict.ALLOWED


def _make_room(tx: Transaction, room_id: str, version: RoomVersion) -> bool:
    """Make the room's row; False if the room is known to have another version.

    What an invite said of the version does not count against those who are in the room.
    """
    room = rooms.by_id(tx, room_id)
    if room is None:
        rooms.create(tx, room_id, version.identifier)
        return True
    if not room.extremities and room.version != version.identifier:
        rooms.set_version(tx, room.room_nid, version.identifier)
        return True
    return room.version == version.identifier


def _store(tx: Transaction, room_id: str, last: StagedPdu, decided: _Decided) -> None:
    room_nid = rooms.nid(tx, room_id)
    assert room_nid is not None, "the row was made before"
    nids = stored_apart.store(tx, room_nid, decided.apart)
    state = [a.event for a in decided.apart if a.event.event_id in decided.in_state and a.event.is_state]
    keys = room_state.key_nids(tx, (event.key for event in state))
    # In old room versions an event of another room may be called the same: then this one is not stored.
    places = [Place(keys[event.key], nids[event.event_id]) for event in state if event.event_id in nids]
    remote_join_state.insert(tx, room_nid, places)
    remote_join_pdus.remove_up_to(tx, room_id, last)
    remote_join_pdus.insert(tx, room_id, decided.later)


def _state_for(tx: Transaction, join: Event) -> tuple[dict[StateKey, Event], list[Event], Event | None]:
    """The state that decides about the join, as far as it was sent; its auth events; the creation."""
    room_nid = rooms.nid(tx, join.room_id)
    assert room_nid is not None, "the answer's events are stored"
    keys = {
        ("m.room.create", ""),
        *state_for_check(join.version, join.type, join.sender, join.state_key, join.content),
    }
    key_nids = event_state.find_key_nids(tx, keys)
    places = remote_join_state.of_keys(tx, room_nid, key_nids.values())
    state = {item.event.key: item.event for item in events.by_nids(tx, [p.event_nid for p in places]).values()}
    auth = events.by_ids(tx, join.auth_events)
    usable = [item.event for item in auth.values() if item.verdict != "rejected" and item.room_nid == room_nid]
    return state, usable, state.get(("m.room.create", ""))


def _has_creation(tx: Transaction, room_id: str) -> bool:
    room_nid = rooms.nid(tx, room_id)
    keys = event_state.find_key_nids(tx, [_CREATE])
    return room_nid is not None and bool(remote_join_state.of_keys(tx, room_nid, keys.values()))
