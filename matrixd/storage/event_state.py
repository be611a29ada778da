"""The room state before and after any event, on forks too.

https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution

Nearly every event has the timeline's own state before it, and stores nothing. For the others a state set is stored: the
timeline's state at a position, but for some entries. States are compared by those entries and by what the timeline has
changed between their bases, so nothing here reads the whole state of a room unless it is asked for.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from matrixd.storage.stored_event import StoredEvent, select
from matrixd.storage.transaction import Transaction

StateKey = tuple[str, str]

_AT = "valid_from <= ? AND (valid_to IS NULL OR valid_to > ?)"


@dataclass(frozen=True, slots=True)
class EventState:
    """A room state: that of the timeline after `base_pos`, but for `entries`.

    Entries are the number of an event, None for nothing, by the number of its key.
    """

    room_nid: int
    base_pos: int
    entries: Mapping[int, int | None] = field(default_factory=dict)
    #: The state set that says exactly this, if one is stored.
    state_nid: int | None = None

    def with_event(self, key_nid: int, event_nid: int | None) -> "EventState":
        """This state with another event in one place."""
        return EventState(self.room_nid, self.base_pos, {**self.entries, key_nid: event_nid})

    def with_entries(self, entries: Mapping[int, int | None]) -> "EventState":
        """This state with other events in some places."""
        return EventState(self.room_nid, self.base_pos, {**self.entries, **entries}) if entries else self

    def nids(self, tx: Transaction, key_nids: Collection[int]) -> dict[int, int]:
        """The numbers of the events that hold some keys, by the keys' numbers."""
        found: dict[int, int] = {}
        rest = []
        for key_nid in key_nids:
            if key_nid in self.entries:
                event_nid = self.entries[key_nid]
                if event_nid is not None:
                    found[key_nid] = event_nid
            else:
                rest.append(key_nid)
        if rest:
            condition, parameter = tx.among("key_nid", rest)
            found.update(
                tx.all(
                    f"SELECT key_nid, event_nid FROM room_state WHERE room_nid = ? AND {condition} AND {_AT}",
                    (self.room_nid, parameter, self.base_pos, self.base_pos),
                )
            )
        return found

    def of_keys(self, tx: Transaction, keys: Iterable[StateKey]) -> dict[StateKey, StoredEvent]:
        """The events that hold some keys, as far as the state has them."""
        key_nids = find_key_nids(tx, keys)
        return _by_key(tx, self.nids(tx, key_nids.values()).values())

    def everything(self, tx: Transaction) -> dict[StateKey, StoredEvent]:
        """The whole state."""
        return _by_key(tx, self.all_nids(tx))

    def all_nids(self, tx: Transaction) -> list[int]:
        """The numbers of all its events."""
        held: dict[int, int | None] = dict(
            tx.all(
                f"SELECT key_nid, event_nid FROM room_state WHERE room_nid = ? AND {_AT}",
                (self.room_nid, self.base_pos, self.base_pos),
            )
        )
        held.update(self.entries)
        return [event_nid for event_nid in held.values() if event_nid is not None]

    def event_ids(self, tx: Transaction) -> list[str]:
        """The IDs of all its events."""
        condition, parameter = tx.among("event_nid", self.all_nids(tx))
        return [row[0] for row in tx.all(f"SELECT event_id FROM events WHERE {condition}", (parameter,))]


def timeline(room_nid: int, pos: int) -> EventState:
    """The timeline's state after a position."""
    return EventState(room_nid, pos)


def before(tx: Transaction, stored: StoredEvent) -> EventState | None:
    """The state before an event; None if it is not known, as for an outlier."""
    return befores(tx, [stored])[stored.event_nid]


def befores(tx: Transaction, stored: Collection[StoredEvent]) -> dict[int, EventState | None]:
    """The state before each of some events, by the events' numbers."""
    sets = load_sets(tx, [item.state_nid for item in stored if item.state_nid is not None])
    found: dict[int, EventState | None] = {}
    for item in stored:
        if item.state_nid is not None:
            found[item.event_nid] = sets[item.state_nid]
        else:
            # Positions of history that was fetched later have state sets of their own.
            is_known = item.pos is not None and item.pos > 0 and not item.is_outlier
            found[item.event_nid] = timeline(item.room_nid, item.pos - 1) if is_known and item.pos else None
    return found


def after(tx: Transaction, stored: StoredEvent) -> EventState | None:
    """The state after an event; None if it is not known. What was rejected changes nothing; what was soft-failed does.

    https://spec.matrix.org/v1.19/server-server-api/#soft-failure
    """
    return afters(tx, [stored])[stored.event_nid]


def afters(tx: Transaction, stored: Collection[StoredEvent]) -> dict[int, EventState | None]:
    """The state after each of some events, by the events' numbers."""
    states = befores(tx, stored)
    for item in stored:
        state = states[item.event_nid]
        if state is not None and item.key_nid is not None and item.verdict != "rejected":
            states[item.event_nid] = state.with_event(item.key_nid, item.event_nid)
    return states


def differing_keys(tx: Transaction, states: Sequence[EventState]) -> dict[int, list[int | None]]:
    """The numbers of the keys in which some states of a room differ, each with the event's number in each state."""
    keys = {key_nid for state in states for key_nid in state.entries}
    bases = [state.base_pos for state in states]
    keys |= changed_keys(tx, states[0].room_nid, min(bases), max(bases))
    held = [state.nids(tx, keys) for state in states]
    found = {}
    for key_nid in keys:
        values = [nids.get(key_nid) for nids in held]
        if any(value != values[0] for value in values):
            found[key_nid] = values
    return found


def changed_keys(tx: Transaction, room_nid: int, from_pos: int, to_pos: int) -> set[int]:
    """The numbers of the keys that the timeline may have changed after one position and up to another."""
    if from_pos == to_pos:
        return set()
    rows = tx.all(
        "SELECT key_nid FROM events WHERE room_nid = ? AND pos > ? AND pos <= ? AND key_nid IS NOT NULL"
        " UNION SELECT key_nid FROM state_moves WHERE room_nid = ? AND pos > ? AND pos <= ?",
        (room_nid, from_pos, to_pos, room_nid, from_pos, to_pos),
    )
    return {row[0] for row in rows}


def load_sets(tx: Transaction, state_nids: Collection[int]) -> dict[int, EventState]:
    """Stored state sets by number."""
    if not state_nids:
        return {}
    condition, parameter = tx.among("state_nid", sorted(set(state_nids)))
    entries: dict[int, dict[int, int | None]] = {}
    rows = tx.all(f"SELECT state_nid, key_nid, event_nid FROM state_set_entries WHERE {condition}", (parameter,))
    for state_nid, key_nid, event_nid in rows:
        entries.setdefault(state_nid, {})[key_nid] = event_nid
    rows = tx.all(f"SELECT state_nid, room_nid, base_pos FROM state_sets WHERE {condition}", (parameter,))
    return {nid: EventState(room_nid, base_pos, entries.get(nid, {}), nid) for nid, room_nid, base_pos in rows}


def held_in_sets(
    tx: Transaction, state_nids: Collection[int], key_nids: Collection[int]
) -> dict[int, dict[int, int]]:
    """The numbers of the events that hold some keys in stored state sets: state set -> key -> event.

    Reads no more of the sets than those keys; a query more for each position that the sets begin from.
    """
    condition, parameter = tx.among("state_nid", sorted(set(state_nids)))
    sets = tx.all(f"SELECT state_nid, room_nid, base_pos FROM state_sets WHERE {condition}", (parameter,))
    among, keys = tx.among("key_nid", sorted(set(key_nids)))
    rows = tx.all(
        f"SELECT state_nid, key_nid, event_nid FROM state_set_entries WHERE {condition} AND {among}", (parameter, keys)
    )
    entries: dict[int, dict[int, int | None]] = {}
    for state_nid, key_nid, event_nid in rows:
        entries.setdefault(state_nid, {})[key_nid] = event_nid
    bases = {(room_nid, pos) for _, room_nid, pos in sets}
    held = {base: timeline(*base).nids(tx, key_nids) for base in bases}
    found = {}
    for state_nid, room_nid, pos in sets:
        nids = {**held[room_nid, pos], **entries.get(state_nid, {})}
        found[state_nid] = {key_nid: nid for key_nid, nid in nids.items() if nid is not None}
    return found


def store(tx: Transaction, state: EventState) -> int:
    """The number of a stored state set that says what `state` does; a new one unless it has one already."""
    if state.state_nid is not None:
        return state.state_nid
    state_nid = tx.next_id("state_sets")
    tx.execute(
        "INSERT INTO state_sets (state_nid, room_nid, base_pos) VALUES (?, ?, ?)",
        (state_nid, state.room_nid, state.base_pos),
    )
    tx.insert_many(
        "state_set_entries",
        ("state_nid", "key_nid", "event_nid"),
        [(state_nid, key_nid, event_nid) for key_nid, event_nid in state.entries.items()],
    )
    return state_nid


def set_entry(tx: Transaction, state_nid: int, key_nid: int, event_nid: int) -> None:
    """Correct one place of a stored state set, of which not all was known when it was stored."""
    tx.execute(
        "UPDATE state_set_entries SET event_nid = ? WHERE state_nid = ? AND key_nid = ?",
        (event_nid, state_nid, key_nid),
    )


def note_moves(tx: Transaction, moves: Sequence[tuple[int, int, int]]) -> None:
    """Note (room, position, key): what changed at the position other than by its event."""
    tx.insert_many(
        "state_moves", ("room_nid", "pos", "key_nid"), moves, "ON CONFLICT (room_nid, pos, key_nid) DO NOTHING"
    )


def has_moves(tx: Transaction, room_nid: int, from_pos: int, to_pos: int) -> bool:
    """Whether the timeline's state changed other than by its events after one position and up to another."""
    row = tx.one(
        "SELECT 1 FROM state_moves WHERE room_nid = ? AND pos > ? AND pos <= ? LIMIT 1", (room_nid, from_pos, to_pos)
    )
    return row is not None


def find_key_nids(tx: Transaction, keys: Iterable[StateKey]) -> dict[StateKey, int]:
    """The numbers of those keys that were ever seen."""
    by_type: dict[str, list[str]] = {}
    for event_type, state_key in keys:
        by_type.setdefault(event_type, []).append(state_key)
    found = {}
    for event_type, state_keys in by_type.items():
        condition, parameter = tx.among("state_key", state_keys)
        rows = tx.all(
            f"SELECT state_key, key_nid FROM state_keys WHERE type = ? AND {condition}", (event_type, parameter)
        )
        for state_key, key_nid in rows:
            found[event_type, state_key] = key_nid
    return found


def keys_of(tx: Transaction, key_nids: Collection[int]) -> dict[int, StateKey]:
    """The keys of some numbers."""
    condition, parameter = tx.among("key_nid", list(key_nids))
    rows = tx.all(f"SELECT key_nid, type, state_key FROM state_keys WHERE {condition}", (parameter,))
    return {row[0]: (row[1], row[2]) for row in rows}


def _by_key(tx: Transaction, event_nids: Iterable[int]) -> dict[StateKey, StoredEvent]:
    condition, parameter = tx.among("e.event_nid", list(event_nids))
    return {item.event.key: item for item in select(tx, condition, (parameter,))}
