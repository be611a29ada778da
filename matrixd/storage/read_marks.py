"""How far local users have read, and what is unread after it.

A mark counts for one thread (`thread_id` is its root's event ID, or 'main' for what is in no thread) or, with '', for
the room with all its threads. It is moved by receipts of both kinds and by sending an event; it never goes back.

https://spec.matrix.org/v1.19/client-server-api/#marking-notifications-as-read
"""

from collections.abc import Collection, Mapping, Sequence
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
    """Count what a user has not read of a room."""
    return unread_in(tx, user_nid, [room_nid])[room_nid]


def unread_in(tx: Transaction, user_nid: int, room_nids: Collection[int]) -> dict[int, Unread]:
    """Count what a user has not read of some rooms. Without any mark (the user is not joined) nothing is unread."""
    among, parameter = tx.among("room_nid", list(room_nids))
    rows = tx.all(f"SELECT room_nid, last_pos, unread FROM rooms WHERE {among}", (parameter,))
    ends = {row[0]: (row[1], row[2]) for row in rows}
    marks: dict[int, dict[str, tuple[int, int]]] = {}
    query = f"SELECT room_nid, thread_id, pos, unread FROM read_marks WHERE user_nid = ? AND {among}"
    for room_nid, thread_id, pos, count in tx.all(query, (user_nid, parameter)):
        marks.setdefault(room_nid, {})[thread_id] = (pos, count)
    joined = [room_nid for room_nid in room_nids if room_nid in ends and UNTHREADED in marks.get(room_nid, {})]
    threads = _thread_counts(tx, user_nid, joined) if joined else {}
    deltas = _delta_counts(tx, user_nid, joined) if joined else {}
    found = {room_nid: Unread(ends.get(room_nid, (0, 0))[0], {}, False) for room_nid in room_nids}
    for room_nid in joined:
        floor = marks[room_nid][UNTHREADED]
        main = max(floor, marks[room_nid].get(MAIN, floor))
        counts = {MAIN: [ends[room_nid][1] - main[1], 0]}
        for root, notifications in threads.get(room_nid, ()):
            counts[root] = [notifications, 0]
        for thread_id, notify, highlight in deltas.get(room_nid, ()):
            count = counts.setdefault(thread_id, [0, 0])
            count[0] += notify
            count[1] += highlight
        pairs = {thread_id: (max(0, n), max(0, h)) for thread_id, (n, h) in counts.items()}
        nonzero = {key: pair for key, pair in pairs.items() if pair != (0, 0)}
        found[room_nid] = Unread(ends[room_nid][0], nonzero, room_nid in deltas)
    return found


def _thread_counts(tx: Transaction, user_nid: int, room_nids: Sequence[int]) -> dict[int, list[tuple[str, int]]]:
    """By room: thread root and default notifications of each thread that has some after its mark and the room's."""
    among, parameter = tx.among("f.room_nid", room_nids)
    rows = tx.all(
        "SELECT f.room_nid, r.parent_id, COUNT(*) FROM read_marks f"
        " JOIN event_relations r ON r.room_nid = f.room_nid AND r.rel_type = 'm.thread' AND r.pos > f.pos"
        " LEFT JOIN read_marks m ON m.user_nid = f.user_nid AND m.room_nid = r.room_nid AND m.thread_id = r.parent_id"
        f" WHERE f.user_nid = ? AND f.thread_id = '' AND {among} AND r.notifies = 1"
        " AND (m.pos IS NULL OR r.pos > m.pos) GROUP BY f.room_nid, r.parent_id",
        (user_nid, parameter),
    )
    found: dict[int, list[tuple[str, int]]] = {}
    for room_nid, root, count in rows:
        found.setdefault(room_nid, []).append((root, int(count)))
    return found


def _delta_counts(tx: Transaction, user_nid: int, room_nids: Sequence[int]) -> dict[int, list[tuple[str, int, int]]]:
    """By room: 'main' or thread root, and the sums of the user's differences after its mark and the room's."""
    among, parameter = tx.among("d.room_nid", room_nids)
    rows = tx.all(
        "SELECT d.room_nid, d.thread_id, SUM(d.notify), SUM(d.highlight) FROM push_deltas d"
        " JOIN read_marks f ON f.user_nid = d.user_nid AND f.room_nid = d.room_nid AND f.thread_id = ''"
        " LEFT JOIN read_marks m ON m.user_nid = d.user_nid AND m.room_nid = d.room_nid"
        " AND m.thread_id = CASE d.thread_id WHEN '' THEN 'main' ELSE d.thread_id END"
        f" WHERE d.user_nid = ? AND {among} AND d.pos > f.pos AND (m.pos IS NULL OR d.pos > m.pos)"
        " GROUP BY d.room_nid, d.thread_id",
        (user_nid, parameter),
    )
    found: dict[int, list[tuple[str, int, int]]] = {}
    for room_nid, thread_id, notify, highlight in rows:
        found.setdefault(room_nid, []).append((thread_id or MAIN, int(notify), int(highlight)))
    return found
