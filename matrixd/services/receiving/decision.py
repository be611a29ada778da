"""What becomes of an event that another server sent: decided in one read of the database.

Steps 4 to 6 of https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu, and what the
event then changes of the room's current state.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from matrixd.core.auth import EventForbidden, check_state_dependent, redaction_applies
from matrixd.core.auth.plan import state_for_check
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels
from matrixd.queries.state_resolution import Remembered, resolve
from matrixd.services.persister import PendingRedaction
from matrixd.services.receiving.auth_events import check_by_auth_events, check_creation
from matrixd.storage import event_state, events, redactions, timeline_gaps
from matrixd.storage.event_state import EventState
from matrixd.storage.room_state import StateKey
from matrixd.storage.rooms import Room
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

#: Forward extremities that are kept: of more, those with the least depth are dropped.
MAX_EXTREMITIES = 50

_POWERS = (("m.room.create", ""), ("m.room.power_levels", ""))


class Known(Exception):
    """The event is stored, with its place, already. `verdict` as stored."""

    def __init__(self, verdict: str | None) -> None:
        super().__init__(verdict)
        self.verdict = verdict


class PrevEventsMissing(Exception):
    """Events before it, or the state after them, are not here."""

    def __init__(self, event_ids: Sequence[str]) -> None:
        super().__init__(event_ids)
        self.event_ids = event_ids


class IdTaken(Exception):
    """An event of another room has the ID, which servers choose in old room versions."""


class AuthEventsUnknown(Exception):
    """Events that it names as its auth events are not here."""


@dataclass(frozen=True, slots=True)
class Apartness:
    """The event is stored, but does not join the timeline's end."""

    #: 'rejected', 'soft_failed', 'waiting' (a redaction without effect), or None for history that was missing.
    verdict: str | None
    reason: str
    before: EventState
    room_nid: int
    pruned_by: int | None = None
    #: What a redaction that belongs to the history prunes.
    redaction: PendingRedaction | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A place in the current state that changes."""

    key: StateKey
    event: Event | None
    event_nid: int | None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The event joins the timeline's end."""

    #: The state before it, where that is not the timeline's.
    before: EventState | None
    extremities: tuple[Event, ...]
    is_current: bool
    #: What else changes of the current state.
    moves: tuple[Move, ...]
    stored_nid: int | None
    redaction: PendingRedaction | None
    #: The redaction that came before it.
    pruned_by: int | None
    #: An event directly before it is history that was fetched for it.
    follows_break: bool


def decide(
    tx: Transaction,
    room: Room,
    event: Event,
    signed_by: Container[str],
    remembered: Remembered,
    *,
    is_recommended: bool = True,
) -> Apartness | Acceptance:
    """What becomes of an event, in the room as it is stored. `is_recommended`: by the room's policy server.

    A state event must be stored by itself already, so that the state after it can be spoken of. Raises `Known`,
    `PrevEventsMissing`, `AuthEventsUnknown` and `IdTaken`.
    """
    return _Decision(tx, room, event, remembered).decide(signed_by, is_recommended)


class _Decision:
    def __init__(self, tx: Transaction, room: Room, event: Event, remembered: Remembered) -> None:
        self._tx = tx
        self._room = room
        self._event = event
        self._remembered = remembered
        wanted = {event.event_id, *event.prev_events, *event.auth_events}
        if event.version.auth.create_implied_by_room_id:
            wanted.add(f"${event.room_id[1:]}")
        found = events.by_ids(tx, wanted)
        self._stored = {event_id: item for event_id, item in found.items() if item.room_nid == room.room_nid}
        #: Auth events of other rooms, for which the event is rejected.
        self._foreign = {
            auth_id: found[auth_id] for auth_id in event.auth_events if auth_id in found and auth_id not in self._stored
        }
        if event.event_id in found and event.event_id not in self._stored:
            raise IdTaken(f"An event of another room is called {event.event_id}.")
        self._keys = state_for_check(event.version, event.type, event.sender, event.state_key, event.content)

    def decide(self, signed_by: Container[str], is_recommended: bool) -> Apartness | Acceptance:
        event, tx = self._event, self._tx
        itself = self._stored.get(event.event_id)
        if itself is not None and not itself.is_outlier:
            raise Known(itself.verdict)
        if any(auth_id not in self._stored and auth_id not in self._foreign for auth_id in event.auth_events):
            raise AuthEventsUnknown
        before = self._state_before()
        reason = self._reason_to_reject(signed_by, before)
        if reason is not None:
            return Apartness("rejected", reason, before, self._room.room_nid)
        pruned_by = self._pruned_by(before)
        # Nothing that comes is older than the room's creation: with that alone it may end nowhere.
        if event.type == "m.room.create" or timeline_gaps.missing(tx, self._room.room_nid, [event.event_id]):
            return Apartness(None, "", before, self._room.room_nid, pruned_by, self._redaction(before))
        now = event_state.timeline(self._room.room_nid, self._room.last_pos)
        reason = self._forbidden_by(now)
        if reason is None and not is_recommended:
            reason = "The room's policy server does not recommend it."
        if reason is not None:
            return Apartness("soft_failed", reason, before, self._room.room_nid)
        if self._waits(before):
            return Apartness(redactions.WAITING, f"It cannot redact {event.redacts} now.", before, self._room.room_nid)
        return self._accept(before, now, itself, pruned_by)

    def _state_before(self) -> EventState:
        prev_events = [self._stored[prev] for prev in self._event.prev_events if prev in self._stored]
        afters = event_state.afters(self._tx, prev_events)
        known = {item.event.event_id for item in prev_events if afters[item.event_nid] is not None}
        missing = [prev for prev in dict.fromkeys(self._event.prev_events) if prev not in known]
        if missing:
            raise PrevEventsMissing(missing)
        states = [state for state in afters.values() if state is not None]
        if not states:
            # Only a creation has nothing before it, and that no room gets a second time.
            return EventState(self._room.room_nid, 0)
        return resolve(self._tx, self._event.version, states, self._remembered)

    def _reason_to_reject(self, signed_by: Container[str], before: EventState) -> str | None:
        known = {event_id: item.event for event_id, item in (self._stored | self._foreign).items()}
        rejected = {event_id for event_id, item in self._stored.items() if item.verdict == "rejected"}
        try:
            check_creation(self._tx, self._room.room_nid, self._event)
            check_by_auth_events(self._event, known, signed_by, rejected)
        except EventForbidden as error:
            return f"{error}."
        return self._forbidden_by(before)

    def _forbidden_by(self, state: EventState) -> str | None:
        found = {key: item.event for key, item in state.of_keys(self._tx, self._keys).items()}
        if self._room.state_completeness != "full":
            self._complete(found)
        try:
            check_state_dependent(self._event, found)
        except EventForbidden as error:
            return f"{error}."
        return None

    def _complete(self, state: dict[StateKey, Event]) -> None:
        """While not all members are known here, what the event's auth events say of them has to do."""
        for auth_id in self._event.auth_events:
            auth_event = self._stored[auth_id].event
            if auth_event.type == "m.room.member" and auth_event.key in self._keys:
                state.setdefault(auth_event.key, auth_event)

    def _powers(self, state: EventState) -> PowerLevels | None:
        found = {key: item.event for key, item in state.of_keys(self._tx, _POWERS).items()}
        return PowerLevels.in_state(found) if _POWERS[0] in found else None

    def _pruned_by(self, before: EventState) -> int | None:
        """The redaction of the event that came before it and takes effect."""
        found = redactions.of(self._tx, self._event.event_id)
        powers = self._powers(before) if found else None
        if powers is None:
            return None
        applying = (item.event_nid for item in found if redaction_applies(item.event, self._event, powers))
        return next(applying, None)

    def _waits(self, before: EventState) -> bool:
        """Whether it is a redaction of an event that is not here, or that it may not redact: no client is told of it.

        "the server simply waits for a valid partner event": https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
        """
        event = self._event
        if event.redacts is None or event.version.auth.redaction_rule:
            return False
        return self._redaction(before) is None

    def _redaction(self, before: EventState) -> PendingRedaction | None:
        if self._event.redacts is None:
            return None
        target = events.by_id(self._tx, self._event.redacts)
        powers = self._powers(before)
        if target is None or powers is None or not redaction_applies(self._event, target.event, powers):
            return None
        return PendingRedaction(target.event_nid, target.event.redacted())

    def _accept(
        self, before: EventState, now: EventState, itself: StoredEvent | None, pruned_by: int | None
    ) -> Acceptance:
        tx, event = self._tx, self._event
        after = before
        if itself is not None and itself.key_nid is not None:
            after = before.with_event(itself.key_nid, itself.event_nid)
        others = [i for i in self._room.extremities if i not in event.prev_events]
        stored = events.by_ids(tx, others)
        ends = [stored[event_id] for event_id in others]
        states = [state for state in event_state.afters(tx, ends).values() if state is not None]
        current = resolve(tx, event.version, [*states, after], self._remembered)
        is_current, moves = self._moves(now, current, itself)
        is_timelines = not event_state.differing_keys(tx, [before, now])
        ends_as_events = sorted((item.event for item in ends), key=lambda end: end.depth)[1 - MAX_EXTREMITIES :]
        return Acceptance(
            None if is_timelines else before,
            (*ends_as_events, event if pruned_by is None else event.redacted()),
            is_current,
            moves,
            None if itself is None else itself.event_nid,
            self._redaction(before),
            pruned_by,
            any((self._stored[prev].pos or 0) < 0 for prev in event.prev_events),
        )

    def _moves(
        self, now: EventState, current: EventState, itself: StoredEvent | None
    ) -> tuple[bool, tuple[Move, ...]]:
        tx = self._tx
        own_key = None if itself is None else itself.key_nid
        changed = {key_nid: nids[1] for key_nid, nids in event_state.differing_keys(tx, [now, current]).items()}
        is_current = itself is not None and own_key is not None and changed.get(own_key) == itself.event_nid
        if is_current and own_key is not None:
            del changed[own_key]
        keys = event_state.keys_of(tx, changed) if changed else {}
        found = events.by_nids(tx, {nid for nid in changed.values() if nid is not None})
        return is_current, tuple(
            Move(keys[key_nid], None if nid is None else found[nid].event, nid) for key_nid, nid in changed.items()
        )

