"""Holes in the history of rooms: prev_events that this server does not have."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Gap:
    """An event that is missing, and the one that refers to it."""

    room_nid: int
    missing_id: str
    event_nid: int
    tries: int
    #: Milliseconds since the epoch.
    next_try_ts: int
    last_error: str | None


#: When a hole is due that is filled only if somebody pages back to it.
ON_PAGING = 2**62

#: Whether the event of a row has its place in the room.
_PLACED = (
    "SELECT p.event_nid FROM events p WHERE p.event_nid = timeline_gaps.event_nid"
    " AND (p.pos IS NOT NULL OR p.state_nid IS NOT NULL)"
)
_COLUMNS = "room_nid, missing_id, event_nid, tries, next_try_ts, last_error"


def open_all(
    tx: Transaction, gaps: Iterable[tuple[int, str, int]], next_try_ts: int, error: str | None = None
) -> None:
    """Note holes: (room, ID of the missing event, number of the event that refers to it)."""
    tx.insert_many(
        "timeline_gaps",
        ("room_nid", "missing_id", "event_nid", "tries", "next_try_ts", "last_error"),
        [(*gap, 0, next_try_ts, error) for gap in gaps],
        "ON CONFLICT (room_nid, missing_id, event_nid) DO NOTHING",
    )


def close(tx: Transaction, event_ids: Collection[str]) -> None:
    """The events have their places now. What could not be placed for want of them can be tried again."""
    condition, parameter = tx.among("missing_id", list(event_ids))
    tx.execute(f"DELETE FROM timeline_gaps WHERE {condition} AND event_nid IN ({_PLACED})", (parameter,))
    tx.execute(f"UPDATE timeline_gaps SET next_try_ts = 0 WHERE {condition}", (parameter,))


def close_filled(tx: Transaction, room_nid: int) -> None:
    """Close a room's holes of which the events on both sides have their places by now."""
    tx.execute(
        "DELETE FROM timeline_gaps WHERE room_nid = ? AND missing_id IN (SELECT g.missing_id FROM timeline_gaps g"
        " JOIN events e ON e.event_id = g.missing_id WHERE g.room_nid = ? AND e.room_nid = ?"
        " AND (e.pos IS NOT NULL OR e.state_nid IS NOT NULL) AND coalesce(e.verdict, '') <> 'out_of_band')"
        f" AND event_nid IN ({_PLACED})",
        (room_nid, room_nid, room_nid),
    )


@dataclass(frozen=True, slots=True)
class PlacedGap:
    """A hole before an event that has its place in the room's history: (depth, position); of one that was not accepted
    the position is 0.
    """

    gap: Gap
    place: tuple[int, int]


def before_placed(tx: Transaction, room_nid: int, limit: int) -> list[PlacedGap]:
    """The holes of a room before events that have their place in it, those before the newest events first."""
    columns = ", ".join(f"g.{column}" for column in _COLUMNS.split(", "))
    rows = tx.all(
        f"SELECT {columns}, e.depth, coalesce(e.pos, 0) FROM timeline_gaps g JOIN events e ON e.event_nid = g.event_nid"
        " WHERE g.room_nid = ? AND (e.pos IS NOT NULL OR e.state_nid IS NOT NULL)"
        " ORDER BY e.depth DESC, e.pos DESC LIMIT ?",
        (room_nid, limit),
    )
    return [PlacedGap(Gap(*row[:-2]), (row[-2], row[-1])) for row in rows]


def settle(tx: Transaction, event_nids: Collection[int]) -> None:
    """Events that were kept without a place have one: what they waited for is here, or is asked for by new rows."""
    if event_nids:
        condition, parameter = tx.among("event_nid", list(event_nids))
        tx.execute(f"DELETE FROM timeline_gaps WHERE {condition}", (parameter,))


def missing(tx: Transaction, room_nid: int, event_ids: Collection[str]) -> set[str]:
    """Those of some events that an event which has its place in the room refers to across a hole."""
    condition, parameter = tx.among("g.missing_id", list(event_ids))
    rows = tx.all(
        "SELECT DISTINCT g.missing_id FROM timeline_gaps g JOIN events e ON e.event_nid = g.event_nid"
        f" WHERE g.room_nid = ? AND {condition} AND (e.pos IS NOT NULL OR e.state_nid IS NOT NULL)",
        (room_nid, parameter),
    )
    return {row[0] for row in rows}


def of_room(tx: Transaction, room_nid: int) -> list[Gap]:
    """The holes of a room."""
    return [Gap(*row) for row in tx.all(f"SELECT {_COLUMNS} FROM timeline_gaps WHERE room_nid = ?", (room_nid,))]


def of_missing(tx: Transaction, room_nid: int, event_ids: Collection[str]) -> list[Gap]:
    """The holes of a room in which some events are missing."""
    condition, parameter = tx.among("missing_id", list(event_ids))
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM timeline_gaps WHERE room_nid = ? AND {condition}", (room_nid, parameter)
    )
    return [Gap(*row) for row in rows]


def before_events(tx: Transaction, event_nids: Collection[int]) -> dict[int, list[str]]:
    """What is missing before each of some events, by the events' numbers."""
    condition, parameter = tx.among("event_nid", list(event_nids))
    found: dict[int, list[str]] = {}
    rows = tx.all(f"SELECT event_nid, missing_id FROM timeline_gaps WHERE {condition}", (parameter,))
    for event_nid, missing_id in rows:
        found.setdefault(event_nid, []).append(missing_id)
    return found


def due(tx: Transaction, now_ms: int, limit: int) -> list[Gap]:
    """Holes whose next try is due, the longest waiting first."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM timeline_gaps WHERE next_try_ts <= ? ORDER BY next_try_ts LIMIT ?", (now_ms, limit)
    )
    return [Gap(*row) for row in rows]


def due_of_room(tx: Transaction, room_nid: int, now_ms: int, limit: int) -> list[Gap]:
    """The holes of a room whose next try is due."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM timeline_gaps WHERE room_nid = ? AND next_try_ts <= ? ORDER BY next_try_ts LIMIT ?",
        (room_nid, now_ms, limit),
    )
    return [Gap(*row) for row in rows]


def of_event(tx: Transaction, room_nid: int, event_nid: int) -> list[Gap]:
    """The holes before an event."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM timeline_gaps WHERE room_nid = ? AND event_nid = ?", (room_nid, event_nid))
    return [Gap(*row) for row in rows]


def postpone(tx: Transaction, gap: Gap, next_try_ts: int) -> None:
    """Say when a hole is due."""
    tx.execute(
        "UPDATE timeline_gaps SET next_try_ts = ? WHERE room_nid = ? AND missing_id = ? AND event_nid = ?",
        (next_try_ts, gap.room_nid, gap.missing_id, gap.event_nid),
    )


def close_before(tx: Transaction, event_id: str) -> None:
    """The event has its place, and nothing is missing before it."""
    tx.execute(
        "DELETE FROM timeline_gaps WHERE event_nid IN (SELECT event_nid FROM events WHERE event_id = ?)", (event_id,)
    )


def failed(tx: Transaction, gap: Gap, next_try_ts: int, error: str) -> None:
    """Note a try that did not fill a hole."""
    tx.execute(
        "UPDATE timeline_gaps SET tries = tries + 1, next_try_ts = ?, last_error = ?"
        " WHERE room_nid = ? AND missing_id = ? AND event_nid = ?",
        (next_try_ts, error, gap.room_nid, gap.missing_id, gap.event_nid),
    )
