"""What each server has stored of a room, and how the copies differ."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.storage.engines.base import Mode
from matrixd.storage.transaction import Transaction
from tests.support.database import DatabasePlace
from tests.support.federation.servers import FederatedServer

StateKey = tuple[str, str]
#: Differences that are named.
_TOLD = 20
_EVENTS = """
    SELECT e.event_id, e.type, u.user_id, k.state_key, e.pos, e.verdict, e.depth, e.redacted_by, e.json FROM events e
    JOIN rooms r ON r.room_nid = e.room_nid JOIN users u ON u.user_nid = e.sender_nid
    LEFT JOIN state_keys k ON k.key_nid = e.key_nid WHERE r.room_id = ?"""
_STATE = """
    SELECT k.type, k.state_key, e.event_id FROM room_state s JOIN rooms r ON r.room_nid = s.room_nid
    JOIN state_keys k ON k.key_nid = s.key_nid JOIN events e ON e.event_nid = s.event_nid
    WHERE r.room_id = ? AND s.valid_to IS NULL"""


@dataclass(frozen=True)
class StoredMark:
    """One event as a server has it."""

    type: str
    sender: str
    state_key: str | None
    pos: int | None
    verdict: str | None
    depth: int
    membership: str | None = None
    #: What it redacts.
    redacts: str | None = None
    is_redacted: bool = False

    @property
    def is_accepted(self) -> bool:
        """In the room's timeline."""
        return self.verdict is None and self.pos is not None


@dataclass(frozen=True)
class Copy:
    """A server's copy of a room: all its events, and the IDs of the events that are its current state."""

    server_name: str
    events: Mapping[str, StoredMark]
    state: Mapping[StateKey, str]
    extremities: frozenset[str]
    #: IDs of events that others follow on, and that are not here.
    gaps: frozenset[str]

    def membership(self, user_id: str) -> str:
        """A user's membership in the current state; 'leave' when there is none."""
        event_id = self.state.get(("m.room.member", user_id))
        return (self.events[event_id].membership or "leave") if event_id else "leave"

    def has_settled(self, mark: StoredMark) -> bool:
        """Whether the event is in the timeline, or is left out of it for good."""
        if mark.verdict == "waiting":
            target = self.events.get(mark.redacts or "")
            return target is not None and (target.is_redacted or not target.is_accepted)
        return mark.is_accepted or mark.verdict == "soft_failed"

    def accepted(self) -> frozenset[str]:
        """The IDs of the timeline's events."""
        return frozenset(event_id for event_id, mark in self.events.items() if mark.is_accepted)


def read_copy(server: FederatedServer, room_id: str) -> Copy:
    """Reads a copy from the server's database, whether the server runs or not."""
    return _read(server.database, lambda tx: _copy(tx, server.server_name, room_id))


def read_copies(servers: Iterable[FederatedServer], room_id: str) -> list[Copy]:
    """The copies of several servers."""
    return [read_copy(server, room_id) for server in servers]


def missing(copies: Sequence[Copy], wanted: frozenset[str], known_before: frozenset[str] = frozenset()) -> list[str]:
    """Which of the ``wanted`` events, and of those that some server accepted, another one has not stored for good.

    An event that one server accepted must be stored by all, accepted or soft-failed there: a soft failure is one
    server's view of when it heard of an event, so others may rightly differ. A redaction that has nothing to do,
    or has done it to an event that came later, waits. ``known_before`` are events that not all need to have: what
    was said before they joined.
    """
    found = []
    accepted = frozenset().union(*(copy.accepted() for copy in copies))
    for event_id in sorted((accepted | wanted) - known_before):
        for copy in copies:
            mark = copy.events.get(event_id)
            if mark is None or not copy.has_settled(mark):
                found.append(f"{copy.server_name} has {_described(event_id, copies)} as {mark}")
    return found


def differences(copies: Sequence[Copy], known_before: frozenset[str] = frozenset()) -> list[str]:
    """Why the copies are not the same room; empty when they are."""
    found = [*different_state(copies), *missing(copies, frozenset(), known_before)]
    for copy in copies:
        if copy.gaps - known_before:
            found.append(f"{copy.server_name} waits for {sorted(copy.gaps - known_before)}")
    return found


def different_state(copies: Sequence[Copy]) -> list[str]:
    """How the current state and the ends of the copies differ."""
    found = []
    for key in sorted(frozenset().union(*(copy.state for copy in copies))):
        ids = [copy.state.get(key) for copy in copies]
        if len(set(ids)) > 1:
            said = ", ".join(f"{copy.server_name} {event_id}" for copy, event_id in zip(copies, ids, strict=True))
            found.append(f"state {key}: {said}")
    if len({copy.extremities for copy in copies}) > 1:
        found += [f"{copy.server_name} ends in {sorted(copy.extremities)}" for copy in copies]
    return found


def wait_until_same(
    servers: Sequence[FederatedServer],
    room_id: str,
    *,
    within_s: float = 30.0,
    known_before: frozenset[str] = frozenset(),
) -> list[Copy]:
    """Returns the copies when they are the same. Raises AssertionError with the differences when the time is over."""
    return wait_until(servers, room_id, lambda copies: differences(copies, known_before), within_s)


def wait_until(
    servers: Sequence[FederatedServer], room_id: str, faults: Callable[[list[Copy]], list[str]], within_s: float
) -> list[Copy]:
    """Returns the copies when there are no faults. Raises AssertionError with the faults when the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        copies = read_copies(servers, room_id)
        found = faults(copies)
        if not found:
            return copies
        if time.monotonic() > deadline:
            more = [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
            told = "\n".join([*found[:_TOLD], *more])
            raise AssertionError(f"after {within_s} s the servers differ about {room_id}:\n{told}")
        time.sleep(0.1)


def _described(event_id: str, copies: Sequence[Copy]) -> str:
    mark = next((copy.events[event_id] for copy in copies if event_id in copy.events), None)
    if mark is None:
        return event_id
    return f"{event_id} ({mark.type} {mark.state_key or ''} of {mark.sender}, depth {mark.depth})"


def _copy(tx: Transaction, server_name: str, room_id: str) -> Copy:
    events = dict(map(_mark, tx.all(_EVENTS, (room_id,))))
    state = {(row[0], row[1]): row[2] for row in tx.all(_STATE, (room_id,))}
    room = tx.one("SELECT extremities, room_nid FROM rooms WHERE room_id = ?", (room_id,))
    if room is None:
        return Copy(server_name, {}, {}, frozenset(), frozenset())
    gaps = tx.all("SELECT missing_id FROM timeline_gaps WHERE room_nid = ?", (room[1],))
    return Copy(server_name, events, state, frozenset(json.loads(room[0])), frozenset(row[0] for row in gaps))


def _mark(row: tuple[Any, ...]) -> tuple[str, StoredMark]:
    event_id, event_type, sender, state_key, pos, verdict, depth, redacted_by, text = row
    pdu = json.loads(text)
    membership, redacts = pdu["content"].get("membership"), pdu["content"].get("redacts", pdu.get("redacts"))
    mark = StoredMark(
        event_type, sender, state_key, pos, verdict, depth, membership, redacts, is_redacted=redacted_by is not None
    )
    return event_id, mark


def _read(place: DatabasePlace, function: Callable[[Transaction], Copy]) -> Copy:
    connection = place.engine().connect(Mode.READ)
    try:
        connection.begin(write=False)
        copy = function(Transaction(connection))
        connection.rollback()
        return copy
    finally:
        connection.close()
