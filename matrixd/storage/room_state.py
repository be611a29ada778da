"""Room state as intervals along the room's timeline."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from matrixd.core.event import Event
from matrixd.storage.stored_event import StoredEvent, select, select_with
from matrixd.storage.transaction import Transaction

StateKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class StateChange:
    """An event that takes the place of its type and state key at `pos`; None: nothing takes that place any more."""

    room_nid: int
    key_nid: int
    pos: int
    event_nid: int | None
    #: False: the room has had no event of the key so far.
    replaces: bool


def key_nids(tx: Transaction, keys: Iterable[StateKey]) -> dict[StateKey, int]:
    """The number of each pair of type and state key; new pairs get one. For write transactions."""
    wanted = dict.fromkeys(keys)
    found = {}
    for key in wanted:
        number = tx.recall(("state_keys", key))
        if number is not None:
            found[key] = int(number)
    missing = [key for key in wanted if key not in found]
    if missing:
        stored = _find_keys(tx, missing)
        stored.update(_create_keys(tx, [key for key in missing if key not in stored]))
        for key, number in stored.items():
            tx.learn(("state_keys", key), number)
        found.update(stored)
    return found


def _find_keys(tx: Transaction, keys: Collection[StateKey]) -> dict[StateKey, int]:
    condition, params = _among_keys(tx, keys)
    rows = tx.all(f"SELECT type, state_key, key_nid FROM state_keys WHERE {condition}", params)
    return {(row[0], row[1]): row[2] for row in rows}


def _create_keys(tx: Transaction, keys: Sequence[StateKey]) -> dict[StateKey, int]:
    if not keys:
        return {}
    first = tx.next_id("state_keys", len(keys))
    made = {key: first + index for index, key in enumerate(keys)}
    tx.insert_many("state_keys", ("key_nid", "type", "state_key"), [(number, *key) for key, number in made.items()])
    return made


def _among_keys(tx: Transaction, keys: Iterable[StateKey]) -> tuple[str, list[object]]:
    """A condition on `state_keys` that it is one of some keys, of which there is one at least, and its parameters."""
    by_type: dict[str, list[str]] = {}
    for event_type, state_key in keys:
        by_type.setdefault(event_type, []).append(state_key)
    conditions: list[str] = []
    params: list[object] = []
    for event_type, state_keys in by_type.items():
        condition, parameter = tx.among("state_key", state_keys)
        conditions.append(f"(type = ? AND {condition})")
        params += [event_type, parameter]
    return " OR ".join(conditions), params


def apply(tx: Transaction, changes: Iterable[StateChange]) -> None:
    """End the interval of what each change replaces, and begin its own."""
    opened: dict[tuple[int, int], StateChange] = {}
    rows: list[tuple[int, int, int, int | None, int]] = []
    for change in changes:
        place = (change.room_nid, change.key_nid)
        before = opened.pop(place, None)
        if before is not None and before.event_nid is not None:
            rows.append((before.room_nid, before.key_nid, before.pos, change.pos, before.event_nid))
        elif change.replaces:
            tx.execute(
                "UPDATE room_state SET valid_to = ? WHERE room_nid = ? AND key_nid = ? AND valid_to IS NULL",
                (change.pos, change.room_nid, change.key_nid),
            )
        opened[place] = change
    rows += [(c.room_nid, c.key_nid, c.pos, None, c.event_nid) for c in opened.values() if c.event_nid is not None]
    tx.insert_many("room_state", ("room_nid", "key_nid", "valid_from", "valid_to", "event_nid"), rows)


_JOINED = (
    "e.event_nid IN (SELECT s.event_nid FROM room_state s JOIN state_keys k ON k.key_nid = s.key_nid"
    " WHERE s.room_nid = ? AND "
)
_CURRENT = "s.valid_to IS NULL"
_AT = "s.valid_from <= ? AND (s.valid_to IS NULL OR s.valid_to > ?)"


def _moment(pos: int | None) -> tuple[str, tuple[int, ...]]:
    return (_CURRENT, ()) if pos is None else (_AT, (pos, pos))


def _mapped(found: Iterable[StoredEvent]) -> dict[StateKey, StoredEvent]:
    return {item.event.key: item for item in found}


def everything(tx: Transaction, room_nid: int, at: int | None = None) -> dict[StateKey, StoredEvent]:
    """The whole state: the current one, or that after the event at position `at`."""
    moment, params = _moment(at)
    return _mapped(select(tx, f"{_JOINED}{moment})", (room_nid, *params)))


def without_members(tx: Transaction, room_nid: int, at: int | None = None) -> dict[StateKey, StoredEvent]:
    """The state but for m.room.member: the current one, or that after position `at`."""
    moment, params = _moment(at)
    return _mapped(select(tx, f"{_JOINED}{moment} AND k.type <> 'm.room.member')", (room_nid, *params)))


def of_type(tx: Transaction, room_nid: int, event_type: str, at: int | None = None) -> dict[StateKey, StoredEvent]:
    """The state of one event type: the current one, or that after position `at`."""
    moment, params = _moment(at)
    return _mapped(select(tx, f"{_JOINED}{moment} AND k.type = ?)", (room_nid, *params, event_type)))


def with_membership(tx: Transaction, room_nid: int, membership: str) -> list[StoredEvent]:
    """The member events of those who have a membership of the room now."""
    query = "e.event_nid IN (SELECT event_nid FROM room_members WHERE room_nid = ? AND membership = ?)"
    return select(tx, query, (room_nid, membership))


def of_keys(
    tx: Transaction, room_nid: int, keys: Collection[StateKey], at: int | None = None
) -> dict[StateKey, StoredEvent]:
    """The state of some keys, as far as the room has them: current, or after position `at`."""
    if not keys:
        return {}
    moment, params = _moment(at)
    condition, values = _among_keys(tx, keys)
    query = (
        "e.event_nid IN (SELECT s.event_nid FROM room_state s WHERE s.room_nid = ? AND s.key_nid IN"
        f" (SELECT key_nid FROM state_keys WHERE {condition}) AND {moment})"
    )
    return _mapped(select(tx, query, (room_nid, *values, *params)))


def in_rooms(
    tx: Transaction, room_nids: Collection[int], keys: Collection[StateKey], at: int | None = None
) -> dict[int, dict[StateKey, StoredEvent]]:
    """The state of some keys, one at least, in each of some rooms, by room: current, or after position `at`."""
    rooms, parameter = tx.among("s.room_nid", list(room_nids))
    condition, values = _among_keys(tx, keys)
    moment, params = _moment(at)
    query = (
        f"e.event_nid IN (SELECT s.event_nid FROM room_state s WHERE {rooms} AND s.key_nid IN"
        f" (SELECT key_nid FROM state_keys WHERE {condition}) AND {moment})"
    )
    found: dict[int, dict[StateKey, StoredEvent]] = {}
    for item in select(tx, query, (parameter, *values, *params)):
        found.setdefault(item.room_nid, {})[item.event.key] = item
    return found


def changed_between(tx: Transaction, room_nid: int, after: int, up_to: int) -> dict[StateKey, StoredEvent]:
    """The state after position `up_to` for those keys that changed after position `after`."""
    query = (
        "e.event_nid IN (SELECT s.event_nid FROM room_state s WHERE s.room_nid = ? AND s.valid_from > ?"
        " AND s.valid_from <= ? AND (s.valid_to IS NULL OR s.valid_to > ?))"
    )
    return _mapped(select(tx, query, (room_nid, after, up_to, up_to)))


def holding(tx: Transaction, event_nids: Collection[int], at: int) -> set[int]:
    """The numbers of those of some events that are state after position `at`."""
    condition, parameter = tx.among("e.event_nid", list(event_nids))
    rows = tx.all(
        "SELECT e.event_nid FROM events e JOIN room_state s ON s.room_nid = e.room_nid AND s.key_nid = e.key_nid"
        f" AND s.event_nid = e.event_nid WHERE {condition} AND {_AT}",
        (parameter, at, at),
    )
    return {row[0] for row in rows}


def key_intervals(tx: Transaction, room_nid: int, key: StateKey) -> list[tuple[int, int | None, Event]]:
    """Every event that held a key of a room's state: (valid from, valid to, event), oldest first."""
    found = intervals(tx, [room_nid], [key])
    return [(item.valid_from, item.valid_to, item.event) for item in found.get(room_nid, ())]


@dataclass(frozen=True, slots=True)
class Interval:
    """An event that held its type and state key after the positions `valid_from` to `valid_to` - 1."""

    valid_from: int
    #: None: it still does.
    valid_to: int | None
    event: Event


def intervals(
    tx: Transaction, room_nids: Collection[int], keys: Sequence[StateKey], since: int = 0
) -> dict[int, list[Interval]]:
    """The intervals of a few keys by room, oldest first, but for those that ended before position `since`.

    The state before the event at position `since` is among them.
    """
    either = " OR ".join(["(type = ? AND state_key = ?)"] * len(keys))
    rooms, parameter = tx.among("s.room_nid", list(room_nids))
    found = select_with(
        tx,
        "s.valid_from, s.valid_to",
        "JOIN room_state s ON s.event_nid = e.event_nid",
        f"{rooms} AND s.key_nid IN (SELECT key_nid FROM state_keys WHERE {either})"
        " AND (s.valid_to IS NULL OR s.valid_to >= ?) ORDER BY s.valid_from",
        (parameter, *(part for key in keys for part in key), since),
    )
    by_room: dict[int, list[Interval]] = {}
    for (valid_from, valid_to), stored in found:
        by_room.setdefault(stored.room_nid, []).append(Interval(valid_from, valid_to, stored.event))
    return by_room


def replaced(tx: Transaction, event_nids: Collection[int]) -> dict[int, StoredEvent]:
    """The state event that each of some state events took the place of, by the number of the new one."""
    if not event_nids:
        return {}
    condition, parameter = tx.among("n.event_nid", list(event_nids))
    found = select_with(
        tx,
        "n.event_nid",
        "JOIN events n ON e.event_nid = (SELECT p.event_nid FROM room_state p WHERE p.room_nid = n.room_nid"
        " AND p.key_nid = n.key_nid AND p.valid_from < n.pos ORDER BY p.valid_from DESC LIMIT 1)",
        condition,
        (parameter,),
    )
    return {nid: stored for (nid,), stored in found}


def key_events(tx: Transaction, room_nid: int, at: int) -> dict[int, int | None]:
    """The whole state after position `at` as numbers: of the event by that of the key."""
    return dict(
        tx.all(f"SELECT s.key_nid, s.event_nid FROM room_state s WHERE s.room_nid = ? AND {_AT}", (room_nid, at, at))
    )


@dataclass(frozen=True, slots=True)
class Span:
    """A row: an event that held a place from one position up to another, which is excluded."""

    key_nid: int
    valid_from: int
    #: None: it still does.
    valid_to: int | None
    event_nid: int


def current_nids(tx: Transaction, room_nid: int) -> dict[int, int]:
    """The current state by numbers: of keys -> of events."""
    query = "SELECT key_nid, event_nid FROM room_state WHERE room_nid = ? AND valid_to IS NULL"
    return dict(tx.all(query, (room_nid,)))


def current_local_members(tx: Transaction, room_nid: int) -> set[int]:
    """The numbers of the keys of this server's users in the current state."""
    rows = tx.all(
        "SELECT s.key_nid FROM room_members m JOIN events e ON e.event_nid = m.event_nid"
        " JOIN room_state s ON s.room_nid = m.room_nid AND s.key_nid = e.key_nid AND s.valid_to IS NULL"
        " WHERE m.room_nid = ? AND m.is_local = 1",
        (room_nid,),
    )
    return {row[0] for row in rows}


def spans(tx: Transaction, room_nid: int, key_nids: Collection[int], since: int) -> list[Span]:
    """The rows of some keys, but for those that ended at or before position `since`, the oldest first."""
    condition, parameter = tx.among("key_nid", list(key_nids))
    rows = tx.all(
        f"SELECT key_nid, valid_from, valid_to, event_nid FROM room_state WHERE room_nid = ? AND {condition}"
        " AND (valid_to IS NULL OR valid_to > ?) ORDER BY valid_from",
        (room_nid, parameter, since),
    )
    return [Span(*row) for row in rows]


def insert(tx: Transaction, room_nid: int, found: Collection[Span]) -> None:
    """Add rows."""
    tx.insert_many(
        "room_state",
        ("room_nid", "key_nid", "valid_from", "valid_to", "event_nid"),
        [(room_nid, span.key_nid, span.valid_from, span.valid_to, span.event_nid) for span in found],
    )


def end(tx: Transaction, room_nid: int, pos: int, key_nids: Collection[int]) -> None:
    """End what holds some keys now at a position."""
    condition, parameter = tx.among("key_nid", list(key_nids))
    tx.execute(
        f"UPDATE room_state SET valid_to = ? WHERE room_nid = ? AND {condition} AND valid_to IS NULL",
        (pos, room_nid, parameter),
    )


def end_at(tx: Transaction, room_nid: int, pos: int, key_nids: Collection[int]) -> None:
    """End at a position what held some keys from before it on, even if that was beyond the position."""
    condition, parameter = tx.among("key_nid", list(key_nids))
    tx.execute(
        f"UPDATE room_state SET valid_to = ? WHERE room_nid = ? AND {condition} AND valid_from < ?"
        " AND (valid_to IS NULL OR valid_to > ?)",
        (pos, room_nid, parameter, pos, pos),
    )


def has_before(tx: Transaction, room_nid: int, pos: int) -> bool:
    """Whether anything held a place of a room's state before a position."""
    row = tx.one("SELECT 1 FROM room_state WHERE room_nid = ? AND valid_from < ? LIMIT 1", (room_nid, pos))
    return row is not None
