"""How far local users have read, and what is unread after it.

A mark counts for one thread (`thread_id` is its root's event ID, or 'main' for what is in no thread) or, with '', for
the room with all its threads. It is moved by receipts of both kinds and by sending an event; it never goes back.

https://spec.matrix.org/v1.19/client-server-api/#marking-notifications-as-read
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction

#: The `thread_id` of what is in no thread.
MAIN = "main"
#: The `thread_id` of a mark or receipt for the whole room.
UNTHREADED = ""


@dataclass(frozen=True, slots=True)
class ReadMark:
    """A user has read up to and with a position."""

    user_nid: int
    room_nid: int
    thread_id: str
    pos: int
    #: `rooms.unread` at that position.
    unread: int


@dataclass(frozen=True, slots=True)
class Unread:
    """What a user has not read of a room."""

    #: Events of the room up to and with this position have been looked at.
    up_to: int
    #: 'main' or thread root -> (notifications, highlights); threads without any are left out.
    counts: Mapping[str, tuple[int, int]]
    #: Whether differences from the default push rules are in it.
    has_deltas: bool


def thread_read_by_sending(thread_id: str | None, membership: tuple[str, str] | None) -> str | None:
    """What the sender of an event has read with it: a mark's `thread_id`, or None.

    `membership` is (before, after) of an m.room.member event. Joining begins everything anew. A new display name says
    nothing: the server sends it to all rooms by itself.
    """
    if membership is None:
        return MAIN if thread_id is None else thread_id
    before, after = membership
    if before == after:
        return None
    return UNTHREADED if after == "join" else MAIN


def advance(tx: Transaction, marks: Sequence[ReadMark]) -> None:
    """Move marks on; those that are further already stay."""
    newest: dict[tuple[int, int, str], ReadMark] = {}
    for mark in marks:
        key = (mark.user_nid, mark.room_nid, mark.thread_id)
        if key not in newest or newest[key].pos < mark.pos:
            newest[key] = mark
    tx.insert_many(
        "read_marks",
        ("user_nid", "room_nid", "thread_id", "pos", "unread"),
        [(m.user_nid, m.room_nid, m.thread_id, m.pos, m.unread) for m in newest.values()],
        "ON CONFLICT (user_nid, room_nid, thread_id) DO UPDATE SET pos = excluded.pos, unread = excluded.unread"
        " WHERE excluded.pos > read_marks.pos",
    )


def remove_member(tx: Transaction, room_nid: int, user_nid: int) -> None:
    """Delete the marks of a member who has gone."""
    tx.execute("DELETE FROM read_marks WHERE user_nid = ? AND room_nid = ?", (user_nid, room_nid))


def unread(tx: Transaction, user_nid: int, room_nid: int) -> Unread:
    """Count what a user has not read of a room. Without any mark (the user is not joined) nothing is unread."""
    room = tx.one("SELECT last_pos, unread FROM rooms WHERE room_nid = ?", (room_nid,))
    marks = {
        row[0]: (int(row[1]), int(row[2]))
        for row in tx.all(
            "SELECT thread_id, pos, unread FROM read_marks WHERE user_nid = ? AND room_nid = ?", (user_nid, room_nid)
        )
    }
    if room is None or UNTHREADED not in marks:
        return Unread(0 if room is None else room[0], {}, False)
    floor = marks[UNTHREADED]
    main = max(floor, marks.get(MAIN, floor))
    counts = {MAIN: [room[1] - main[1], 0]}
    for root, notifications in _thread_counts(tx, user_nid, room_nid, floor[0]):
        counts[root] = [notifications, 0]
    deltas = _delta_counts(tx, user_nid, room_nid, floor[0])
    for thread_id, notify, highlight in deltas:
        count = counts.setdefault(thread_id, [0, 0])
        count[0] += notify
        count[1] += highlight
    found = {thread_id: (max(0, n), max(0, h)) for thread_id, (n, h) in counts.items()}
    return Unread(room[0], {key: pair for key, pair in found.items() if pair != (0, 0)}, bool(deltas))


def _thread_counts(tx: Transaction, user_nid: int, room_nid: int, floor: int) -> list[tuple[str, int]]:
    """Thread root and default notifications of each thread that has some after its mark."""
    rows = tx.all(
        "SELECT r.parent_id, COUNT(*) FROM event_relations r"
        " LEFT JOIN read_marks m ON m.user_nid = ? AND m.room_nid = r.room_nid AND m.thread_id = r.parent_id"
        " WHERE r.room_nid = ? AND r.rel_type = 'm.thread' AND r.notifies = 1 AND r.pos > ?"
        " AND (m.pos IS NULL OR r.pos > m.pos) GROUP BY r.parent_id",
        (user_nid, room_nid, floor),
    )
    return [(row[0], int(row[1])) for row in rows]


def _delta_counts(tx: Transaction, user_nid: int, room_nid: int, floor: int) -> list[tuple[str, int, int]]:
    """'main' or thread root, and the sums of the user's differences after its mark."""
    rows = tx.all(
        "SELECT d.thread_id, SUM(d.notify), SUM(d.highlight) FROM push_deltas d"
        " LEFT JOIN read_marks m ON m.user_nid = d.user_nid AND m.room_nid = d.room_nid"
        " AND m.thread_id = CASE d.thread_id WHEN '' THEN 'main' ELSE d.thread_id END"
        " WHERE d.user_nid = ? AND d.room_nid = ? AND d.pos > ? AND (m.pos IS NULL OR d.pos > m.pos)"
        " GROUP BY d.thread_id",
        (user_nid, room_nid, floor),
    )
    return [(row[0] or MAIN, int(row[1]), int(row[2])) for row in rows]
