"""Events: each stored once, as JSON in the federation's form."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matrixd.core.event import Event
from matrixd.storage.stored_event import StoredEvent, json_text, select
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A row to insert."""

    event_nid: int
    room_nid: int
    pos: int | None
    sender_nid: int
    key_nid: int | None
    unread: int
    verdict: str | None
    event: Event
    #: The state set before it, if that is not the timeline's own state.
    state_nid: int | None = None
    redacted_by: int | None = None


def insert(tx: Transaction, new: Sequence[NewEvent]) -> None:
    """Store new events."""
    tx.insert_many(
        "events",
        (
            "event_nid", "event_id", "room_nid", "pos", "depth", "type", "sender_nid", "key_nid", "origin_server_ts",
            "unread", "verdict", "state_nid", "redacted_by", "json",
        ),
        [
            (
                row.event_nid, row.event.event_id, row.room_nid, row.pos, row.event.depth, row.event.type,
                row.sender_nid, row.key_nid, row.event.origin_server_ts, row.unread, row.verdict,
                row.state_nid, row.redacted_by, json_text(row.event),
            )
            for row in new
        ],
    )


def place(tx: Transaction, row: NewEvent) -> None:
    """Give an event that was stored by itself its place in the room: what `row` says, but for its number and JSON."""
    tx.execute(
        "UPDATE events SET pos = ?, unread = ?, verdict = ?, state_nid = ? WHERE event_nid = ?",
        (row.pos, row.unread, row.verdict, row.state_nid, row.event_nid),
    )


def nids(tx: Transaction, event_ids: Collection[str]) -> dict[str, int]:
    """The numbers of those of some events that are stored."""
    if not event_ids:
        return {}
    condition, parameter = tx.among("event_id", list(event_ids))
    return dict(tx.all(f"SELECT event_id, event_nid FROM events WHERE {condition}", (parameter,)))


def nids_and_types(tx: Transaction, event_ids: Collection[str]) -> dict[str, tuple[int, str]]:
    """The numbers and types of those of some events that are stored."""
    if not event_ids:
        return {}
    condition, parameter = tx.among("event_id", list(event_ids))
    rows = tx.all(f"SELECT event_id, event_nid, type FROM events WHERE {condition}", (parameter,))
    return {row[0]: (row[1], row[2]) for row in rows}


def keys_of(tx: Transaction, room_nid: int, event_ids: Collection[str]) -> dict[int, int | None]:
    """The stored state events among some of a room: number of the key -> of the event, None for a rejected one."""
    condition, parameter = tx.among("event_id", list(event_ids))
    rows = tx.all(
        f"SELECT key_nid, event_nid, verdict FROM events WHERE {condition} AND room_nid = ? AND key_nid IS NOT NULL",
        (parameter, room_nid),
    )
    found: dict[int, int | None] = {}
    for key_nid, event_nid, verdict in rows:
        if verdict != "rejected":
            found[key_nid] = event_nid
        else:
            found.setdefault(key_nid, None)
    return found


def without_type(tx: Transaction, event_nids: Collection[int], event_type: str) -> list[int]:
    """The numbers of those of some events that are not of a type."""
    condition, parameter = tx.among("event_nid", list(event_nids))
    rows = tx.all(f"SELECT event_nid FROM events WHERE {condition} AND type <> ?", (parameter, event_type))
    return [row[0] for row in rows]


def by_id(tx: Transaction, event_id: str) -> StoredEvent | None:
    """One event."""
    found = select(tx, "e.event_id = ?", (event_id,))
    return found[0] if found else None


def by_ids(tx: Transaction, event_ids: Collection[str]) -> dict[str, StoredEvent]:
    """Those of the events that are stored."""
    if not event_ids:
        return {}
    condition, parameter = tx.among("e.event_id", list(event_ids))
    return {found.event.event_id: found for found in select(tx, condition, (parameter,))}


def by_nids(tx: Transaction, event_nids: Collection[int]) -> dict[int, StoredEvent]:
    """Those of the events that are stored, by number."""
    if not event_nids:
        return {}
    condition, parameter = tx.among("e.event_nid", list(event_nids))
    return {found.event_nid: found for found in select(tx, condition, (parameter,))}


def in_stream(tx: Transaction, room_nid: int, after: int, up_to: int, limit: int, newest: bool) -> list[StoredEvent]:
    """A room's accepted timeline events with `after` < position <= `up_to`, by position.

    At most `limit`, the newest or the oldest of them; they come in the order of their positions.
    """
    order = "DESC" if newest else "ASC"
    found = select(
        tx,
        f"e.room_nid = ? AND e.pos > ? AND e.pos <= ? AND e.verdict IS NULL ORDER BY e.pos {order} LIMIT ?",
        (room_nid, after, up_to, limit),
    )
    return found[::-1] if newest else found


def positions(tx: Transaction, room_nid: int, after: int, up_to: int, limit: int) -> list[int]:
    """The positions of a room's oldest timeline events with `after` < position <= `up_to`, of any verdict, in order."""
    rows = tx.all(
        "SELECT pos FROM events WHERE room_nid = ? AND pos > ? AND pos <= ? ORDER BY pos LIMIT ?",
        (room_nid, after, up_to, limit),
    )
    return [row[0] for row in rows]


#: Events of a timeline's end that are compared where branches may reach differently deep.
_NEWEST = 20
#: A place in a room's history: (depth, position).
Place = tuple[int, int]


def page(
    tx: Transaction, room_nid: int, start: Place | None, end: Place | None, backwards: bool, limit: int
) -> list[StoredEvent]:
    """Part of a room's history in its order, (depth, position); the newest first if `backwards`.

    Backwards from `start` (included) to `end` (excluded); forwards from `start` (excluded) to `end` (included). None
    is as far as there is something.
    """
    order = "DESC" if backwards else "ASC"
    conditions, params = ["e.room_nid = ?", "e.pos IS NOT NULL", "e.verdict IS NULL"], [room_nid]
    for place, comparison in ((start, "<=" if backwards else ">"), (end, ">" if backwards else "<=")):
        if place is not None:
            conditions.append(f"(e.depth, e.pos) {comparison} (?, ?)")
            params += place
    condition = " AND ".join(conditions)
    return select(tx, f"{condition} ORDER BY e.depth {order}, e.pos {order} LIMIT ?", (*params, limit))


def last_place(tx: Transaction, room_nid: int, up_to: int) -> Place | None:
    """The place of the newest event of a room's timeline at or before a position."""
    row = tx.one(
        "SELECT depth, pos FROM events WHERE room_nid = ? AND pos <= ? AND pos > 0 ORDER BY pos DESC LIMIT 1",
        (room_nid, up_to),
    )
    return None if row is None else (row[0], row[1])


def deepest_place(tx: Transaction, room_nid: int, up_to: int) -> Place | None:
    """As `last_place`, but of the newest events of a timeline that forks the one that stands last in its history."""
    row = tx.one(
        "SELECT depth, pos FROM (SELECT depth, pos FROM events WHERE room_nid = ? AND pos <= ? AND pos > 0"
        f" AND verdict IS NULL ORDER BY pos DESC LIMIT {_NEWEST}) n ORDER BY depth DESC, pos DESC LIMIT 1",
        (room_nid, up_to),
    )
    return None if row is None else (row[0], row[1])


def place_before_break(tx: Transaction, room_nid: int, pos: int) -> Place | None:
    """The place just before the event that comes after a position, if the room's timeline has a break there.

    What was fetched later of the hole at the break stands between the events beside it by depth, but not by position.
    """
    row = tx.one(
        "SELECT e.depth FROM events e JOIN timeline_breaks b ON b.room_nid = e.room_nid AND b.pos = e.pos"
        " WHERE e.room_nid = ? AND e.pos = (SELECT MIN(n.pos) FROM events n WHERE n.room_nid = ? AND n.pos > ?)",
        (room_nid, room_nid, pos),
    )
    return None if row is None else (row[0], pos)


def is_beside_event(tx: Transaction, room_nid: int, place: Place) -> bool:
    """Whether a room has an event directly before or after a place."""
    depth, pos = place
    row = tx.one(
        "SELECT 1 FROM events WHERE room_nid = ? AND depth = ? AND pos IN (?, ?) LIMIT 1",
        (room_nid, depth, pos, pos + 1),
    )
    return row is not None


def at_positions(tx: Transaction, positions: Collection[int]) -> dict[int, StoredEvent]:
    """The accepted events with these positions, and memberships in rooms that this server takes no part in."""
    if not positions:
        return {}
    condition, parameter = tx.among("e.pos", list(positions))
    shown = "(e.verdict IS NULL OR e.verdict = 'out_of_band')"
    found = select(tx, f"{condition} AND {shown}", (parameter,))
    return {item.pos: item for item in found if item.pos is not None}


def prune(tx: Transaction, event_nid: int, redacted: Event, redaction_nid: int) -> None:
    """Replace an event's JSON by what its redaction leaves."""
    tx.execute(
        "UPDATE events SET json = ?, redacted_by = ? WHERE event_nid = ?",
        (json_text(redacted), redaction_nid, event_nid),
    )
