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
    """The events are here now."""
    condition, parameter = tx.among("missing_id", list(event_ids))
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


def failed(tx: Transaction, gap: Gap, next_try_ts: int, error: str) -> None:
    """Note a try that did not fill a hole."""
    tx.execute(
        "UPDATE timeline_gaps SET tries = tries + 1, next_try_ts = ?, last_error = ?"
        " WHERE room_nid = ? AND missing_id = ? AND event_nid = ?",
        (next_try_ts, error, gap.room_nid, gap.missing_id, gap.event_nid),
    )
