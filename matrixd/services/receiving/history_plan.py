"""Where a piece of a room's history that was fetched later belongs: the state before each event, and its verdict.

Decided in one read of the database. The state before an event follows from the events before it, or, going back, from
an event after it: if that has no other event before it, and the one before it is no state, both have the same state
before them. Of the rest a server has to tell it.

Steps 4 and 5 of https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu; what the room's
current state says of history does not matter.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from matrixd.core.auth import EventForbidden, check_state_dependent, redaction_applies
from matrixd.core.auth.plan import state_for_check
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels
from matrixd.queries.state_resolution import Remembered, resolve
from matrixd.services.receiving.anchors import state_of
from matrixd.services.receiving.auth_events import check_by_auth_events, check_creation
from matrixd.services.receiving.stored_apart import Apart
from matrixd.storage import event_state, events, redactions, rooms, timeline_gaps
from matrixd.storage.event_state import EventState
from matrixd.storage.rooms import Room
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

logger = logging.getLogger(__name__)

_POWERS = (("m.room.create", ""), ("m.room.power_levels", ""))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Checked events of a room, each after those of them that it refers to."""

    room_id: str
    events: Sequence[Event]
    #: By event ID: the servers whose signatures were verified.
    signed_by: Mapping[str, frozenset[str]]


@dataclass(slots=True)
class Plan:
    """What is to be stored."""

    apart: list[Apart] = field(default_factory=list)
    #: The events, the oldest first, of which somebody has to tell the state before them: more can be stored then.
    untied: list[Event] = field(default_factory=list)


def make_plan(tx: Transaction, chunk: Chunk, told: Mapping[str, Collection[str]]) -> Plan:
    """What is to be stored of a chunk whose state events are stored by themselves already.

    `told`: by event ID, the IDs of the state before it, as a server says; all of these are stored.
    """
    room = rooms.by_id(tx, chunk.room_id)
    return Plan() if room is None else _Planning(tx, room, chunk, told).run()


class _Planning:
    def __init__(
        self, tx: Transaction, room: Room, chunk: Chunk, told: Mapping[str, Collection[str]]
    ) -> None:
        self._tx = tx
        self._room = room
        self._chunk = chunk
        self._told = told
        self._remembered = Remembered()
        self._found = {event.event_id: event for event in chunk.events}
        self._stored = self._load()
        self._rejected = {event_id for event_id, item in self._stored.items() if item.verdict == "rejected"}
        #: After each event that is stored or planned, as far as it is known.
        self._after = self._stored_afters()
        self._plan = Plan()

    def run(self) -> Plan:
        inherited = self._inherited()
        unknown: set[str] = set()
        for event in self._chunk.events:
            itself = self._stored.get(event.event_id)
            if itself is not None and not itself.is_outlier:
                continue
            before = inherited.get(event.event_id) or self._before(event)
            if before is None:
                if not unknown.intersection(event.prev_events):
                    self._plan.untied.append(event)
                unknown.add(event.event_id)
            elif not self._take(event, itself, before):
                unknown.add(event.event_id)
        return self._plan

    def _load(self) -> dict[str, StoredEvent]:
        wanted = set(self._found)
        for event in self._chunk.events:
            wanted.update(event.prev_events)
            wanted.update(event.auth_events)
            if event.redacts is not None:
                wanted.add(event.redacts)
        wanted.add(f"${self._room.room_id[1:]}")
        stored = events.by_ids(self._tx, wanted)
        return {event_id: item for event_id, item in stored.items() if item.room_nid == self._room.room_nid}

    def _stored_afters(self) -> dict[str, EventState]:
        prev_ids = {prev for event in self._chunk.events for prev in event.prev_events}
        items = [self._stored[prev] for prev in prev_ids if prev in self._stored]
        afters = event_state.afters(self._tx, items)
        return {
            item.event.event_id: state for item in items if (state := afters[item.event_nid]) is not None
        }

    def _inherited(self) -> dict[str, EventState]:
        """The states that follow from events after those of the chunk, going back."""
        found: dict[str, EventState] = {}
        for event_id, state in self._above().items():
            current: str | None = event_id
            while current is not None and current in self._found and current not in found:
                event = self._found[current]
                if event.is_state:
                    break
                found[current] = state
                current = event.prev_events[0] if len(event.prev_events) == 1 else None
        return found

    def _above(self) -> dict[str, EventState]:
        """By ID of an event of the chunk: the state after it, if it alone comes before an event that has its place."""
        gaps = timeline_gaps.of_missing(self._tx, self._room.room_nid, self._found)
        above = events.by_nids(self._tx, {gap.event_nid for gap in gaps})
        only = {nid: item for nid, item in above.items() if len(set(item.event.prev_events)) == 1}
        states = event_state.befores(self._tx, list(only.values()))
        return {
            item.event.prev_events[0]: state for nid, item in only.items() if (state := states[nid]) is not None
        }

    def _before(self, event: Event) -> EventState | None:
        if event.event_id in self._told:
            return state_of(self._tx, self._room.room_nid, self._room.last_pos, self._told[event.event_id])
        if not event.prev_events:
            return EventState(self._room.room_nid, 0)
        states = [self._after.get(prev) for prev in dict.fromkeys(event.prev_events)]
        known = [state for state in states if state is not None]
        if len(known) < len(states):
            return None
        return resolve(self._tx, event.version, known, self._remembered)

    def _take(self, event: Event, itself: StoredEvent | None, before: EventState) -> bool:
        """Plan an event; False if it cannot be decided about."""
        known = {event_id: item.event for event_id, item in self._stored.items()}
        if any(auth_id not in known and auth_id not in self._after for auth_id in event.auth_events):
            return False
        verdict = self._verdict(event, {**known, **self._found}, before)
        if verdict == "rejected":
            self._rejected.add(event.event_id)
        after = before
        if verdict != "rejected" and itself is not None and itself.key_nid is not None:
            after = before.with_event(itself.key_nid, itself.event_nid)
        self._after[event.event_id] = after
        self._plan.apart.append(Apart(event, verdict, before, is_history=True))
        return True

    def _verdict(self, event: Event, known: Mapping[str, Event], before: EventState) -> str | None:
        keys = state_for_check(event.version, event.type, event.sender, event.state_key, event.content)
        try:
            check_creation(self._tx, self._room.room_nid, event)
            check_by_auth_events(event, known, self._chunk.signed_by[event.event_id], self._rejected)
            check_state_dependent(event, {key: item.event for key, item in before.of_keys(self._tx, keys).items()})
        except EventForbidden as error:
            logger.info("%s of the history of %s is rejected: %s", event.event_id, event.room_id, error)
            return "rejected"
        return redactions.WAITING if self._is_in_vain(event, known, before) else None

    def _is_in_vain(self, event: Event, known: Mapping[str, Event], before: EventState) -> bool:
        """Whether it is a redaction that may not redact its target. Of one that is not here yet nothing can be said.

        https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
        """
        target = None if event.redacts is None else known.get(event.redacts)
        if target is None or event.version.auth.redaction_rule:
            return False
        state = {key: item.event for key, item in before.of_keys(self._tx, _POWERS).items()}
        return not redaction_applies(event, target, PowerLevels.in_state(state))
