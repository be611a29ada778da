"""Why a place of a room's state holds what it holds, in plain sentences, from what the database has.

https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from matrixd.core.auth import EventForbidden, check_state_dependent, check_state_independent, state_for_check
from matrixd.core.event import Event
from matrixd.core.stateres import KeyExplanation
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion
from matrixd.ops.asking import Refused
from matrixd.queries import state_resolution
from matrixd.storage import event_state, events, rooms, state_candidates, state_history
from matrixd.storage.event_state import EventState
from matrixd.storage.room_state import StateKey
from matrixd.storage.rooms import Room
from matrixd.storage.state_history import Held
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

#: Other events of the key that are told of.
_MAX_OTHERS = 50


def explain(tx: Transaction, room_id: str, key: StateKey) -> list[str]:
    """What there is to say about a place of a room's current state, a sentence or two a line.

    Raises Refused if there is no such room.
    """
    room = rooms.by_id(tx, room_id)
    if room is None:
        raise Refused(f"This server knows no room {room_id}.")
    key_nid = event_state.find_key_nids(tx, [key]).get(key)
    name = f"{key[0]} {key[1]}".strip()
    if key_nid is None:
        return [f"{room_id} has no {name}, and this server knows of no such event."]
    return list(_Explainer(tx, room, key, key_nid).lines())


@dataclass(frozen=True, slots=True)
class _Ends:
    """The room's forward extremities: their IDs and the states after them, as far as these are known."""

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    states: tuple[EventState, ...]


class _Explainer:
    def __init__(self, tx: Transaction, room: Room, key: StateKey, key_nid: int) -> None:
        self._tx = tx
        self._room = room
        self._version: RoomVersion = ROOM_VERSIONS[room.version]
        self._key = key
        self._key_nid = key_nid
        self._held = state_history.of_keys(tx, room.room_nid, [key_nid]).get(key_nid, [])

    def lines(self) -> Iterator[str]:
        current = self._held[-1] if self._held and self._held[-1].valid_to is None else None
        yield f"Room {self._room.room_id}, version {self._room.version}: {self._key[0]} {self._key[1]}".rstrip()
        if self._room.state_completeness != "full":
            yield "The room's members are still being fetched: its state may be incomplete."
        yield ""
        yield from self._about_current(current)
        yield ""
        yield from self._about_ends(current)
        found = state_candidates.of_key(self._tx, self._room.room_nid, self._key_nid, _MAX_OTHERS + 2)
        others = [item for item in found if current is None or item.event_nid != current.stored.event_nid]
        if others:
            yield ""
            yield "The other events of this type and key, the deepest first:"
            for item in others[:_MAX_OTHERS]:
                yield f"- {_named(item.event)} {self._fate(item)}"
            if len(others) > _MAX_OTHERS:
                yield "- and more."

    def _about_current(self, current: Held | None) -> Iterator[str]:
        if current is None:
            yield "Nothing holds this place now."
            return
        stored, event = current.stored, current.stored.event
        yield f"It is {_named(event)}."
        if current.valid_from == stored.pos:
            yield f"It became current when it came, at position {stored.pos}{self._replacing(current)}."
        elif stored.is_outlier:
            yield (
                f"It was in the state that another server told when this one joined the room, at position"
                f" {current.valid_from}{self._replacing(current)}."
            )
        else:
            yield (
                f"State resolution made it current at position {current.valid_from}{self._replacing(current)}, when"
                " an event came that joined branches of the room."
            )
        if stored.redacted_by is not None:
            yield "It was redacted: only what the room version protects is left of it."
        yield self._authority(event)

    def _replacing(self, current: Held) -> str:
        before = self._held[-2] if len(self._held) > 1 else None
        if before is None or before.valid_to != current.valid_from:
            return ", where there was none before"
        return f", in place of {before.stored.event.event_id}"

    def _authority(self, event: Event) -> str:
        found = events.by_ids(self._tx, event.auth_events)
        named = [
            f"{found[auth_id].event.type} {found[auth_id].event.state_key or ''}".strip() + f" ({auth_id})"
            if auth_id in found
            else f"{auth_id}, which is not here"
            for auth_id in event.auth_events
        ]
        if event.version.auth.create_implied_by_room_id and event.type != "m.room.create":
            named.append(f"m.room.create (${event.room_id[1:]}), by the room ID")
        return f"Its sender had the right to it by {', '.join(named)}." if named else "It began the room."

    def _about_ends(self, current: Held | None) -> Iterator[str]:
        ends = self._ends()
        count = len(ends.known) + len(ends.unknown)
        if count == 0:
            yield "This server takes no part in the room: it knows no newest event of it."
            return
        if count == 1:
            yield f"The room has one newest event, {(*ends.known, *ends.unknown)[0]}: no branches are open."
            return
        yield f"The room has {count} newest events, each the end of a branch:"
        for number, event_id in enumerate(ends.known, 1):
            yield f"- state {number} is that after {event_id}"
        for event_id in ends.unknown:
            yield f"- the state after {event_id} is not known"
        about = self._resolved(ends.states)
        if about is None:
            yield "All of these states agree in this place."
            return
        yield f"They differ in this place. State resolution {self._version.state_resolution.value} decides:"
        yield from (f"- {sentence}" for sentence in about.sentences())
        if about.winner != (None if current is None else current.stored.event) and not ends.unknown:
            yield "BUT that is not what the current state holds: the stored state of this room is damaged."

    def _ends(self) -> _Ends:
        found = events.by_ids(self._tx, self._room.extremities)
        afters = event_state.afters(self._tx, found.values())
        states = {event_id: afters[item.event_nid] for event_id, item in found.items()}
        known = {event_id: state for event_id in self._room.extremities if (state := states.get(event_id)) is not None}
        unknown = tuple(event_id for event_id in self._room.extremities if event_id not in known)
        return _Ends(tuple(known), unknown, tuple(known.values()))

    def _resolved(self, states: Collection[EventState]) -> KeyExplanation | None:
        """What resolution says of the key; None if the states do not differ in it."""
        inputs = list(states)
        differing = event_state.differing_keys(self._tx, inputs) if len(inputs) > 1 else {}
        if self._key_nid not in differing:
            return None
        resolution = state_resolution.run(self._tx, self._version, inputs, differing, explain=True)[0]
        return None if resolution.explanation is None else resolution.explanation.keys[self._key]

    def _fate(self, item: StoredEvent) -> str:
        """What became of an event that is not current."""
        if item.verdict == "rejected":
            return f"was rejected: {self._why_rejected(item)}"
        if item.verdict == "out_of_band":
            return "came to a user of ours while this server was not in the room: it is no part of its state."
        held = [one for one in self._held if one.stored.event_nid == item.event_nid]
        if held:
            return f"was current {', then '.join(self._until(one) for one in held)}."
        if item.verdict == "soft_failed":
            return f"was soft-failed: {self._why_soft_failed(item)}"
        if item.is_outlier:
            return "is only known as the authority for other events: where it stands in the room is not known."
        if item.pos is not None and item.pos > 0:
            return f"came at position {item.pos}, and lost in state resolution.{self._how_it_lost(item)}"
        return "belongs to history that was fetched later: it was current before what this server knew."

    def _until(self, one: Held) -> str:
        successor = next((other for other in self._held if other.valid_from == one.valid_to), None)
        end = "until state resolution took it away" if successor is None else f"until {_id(successor)} took its place"
        return f"from position {one.valid_from} {end} at {one.valid_to}"

    def _how_it_lost(self, item: StoredEvent) -> str:
        """A resolution of the state when it came and the state after it. What the branches were then is not stored."""
        after = event_state.after(self._tx, item)
        if after is None or item.pos is None:
            return ""
        about = self._resolved([event_state.timeline(self._room.room_nid, item.pos - 1), after])
        own = None if about is None else next((c for c in about.candidates if c.event == item.event), None)
        if about is None or own is None or about.winner == item.event:
            return ""
        if own.trial is not None and own.trial.failure is not None:
            return f" It was not allowed ({own.trial.failure.rule.value}): {own.trial.failure}."
        return "" if about.winner is None else f" {about.winner.event_id} was applied after it."

    def _why_rejected(self, item: StoredEvent) -> str:
        event = item.event
        wanted = {*event.auth_events, f"${event.room_id[1:]}"}
        stored = events.by_ids(self._tx, wanted)
        rejected = {event_id for event_id, one in stored.items() if one.verdict == "rejected"}
        create = stored.get(f"${event.room_id[1:]}")
        named = [stored[auth_id].event for auth_id in event.auth_events if auth_id in stored]
        by_auth_events = {one.key: one for one in [*named, *([] if create is None else [create.event])] if one.is_state}
        before = event_state.before(self._tx, item)
        try:
            # Its signatures were verified when it came.
            check_state_independent(
                event,
                named,
                create=None if create is None else create.event,
                signed_by=event.pdu["signatures"].keys(),
                rejected=rejected,
            )
            check_state_dependent(event, by_auth_events)
            if before is not None:
                check_state_dependent(event, self._deciding(event, before))
        except EventForbidden as failure:
            return _rule(failure)
        return "which rule it broke cannot be told any more."

    def _why_soft_failed(self, item: StoredEvent) -> str:
        now = event_state.timeline(self._room.room_nid, self._room.last_pos)
        try:
            check_state_dependent(item.event, self._deciding(item.event, now))
        except EventForbidden as failure:
            return f"the state before it allows it, the current state does not. {_rule(failure)}"
        return "the state before it allows it, the state when it came did not. The current one would."

    def _deciding(self, event: Event, state: EventState) -> dict[StateKey, Event]:
        keys = state_for_check(event.version, event.type, event.sender, event.state_key, event.content)
        return {key: item.event for key, item in state.of_keys(self._tx, keys).items()}


def _named(event: Event) -> str:
    try:
        at = datetime.fromtimestamp(event.origin_server_ts / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        at = str(event.origin_server_ts)
    return f"{event.event_id}, sent by {event.sender} (at {at}, says its server)"


def _id(held: Held) -> str:
    return held.stored.event.event_id


def _rule(failure: EventForbidden) -> str:
    return f"{failure} (rule {failure.rule.value})."
