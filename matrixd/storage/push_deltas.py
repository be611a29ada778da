"""Where the outcome of the push rules for one member differs from the room's default outcome."""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class PushDelta:
    """How one event counts for one member, as a difference to the default outcome."""

    user_nid: int
    room_nid: int
    pos: int
    #: Thread root's event ID; '' for the main timeline.
    thread_id: str
    #: -1, 0 or 1
    notify: int
    #: 0 or 1
    highlight: int


def insert(tx: Transaction, deltas: Sequence[PushDelta]) -> None:
    """Store new differences."""
    tx.insert_many(
        "push_deltas",
        ("user_nid", "room_nid", "pos", "thread_id", "notify", "highlight"),
        [(d.user_nid, d.room_nid, d.pos, d.thread_id, d.notify, d.highlight) for d in deltas],
    )


def remove_member(tx: Transaction, room_nid: int, user_nid: int) -> None:
    """Delete what is left of a member who has gone."""
    tx.execute("DELETE FROM push_deltas WHERE user_nid = ? AND room_nid = ?", (user_nid, room_nid))


def remove_read(tx: Transaction, user_nid: int, room_nid: int, thread_id: str, up_to: int) -> None:
    """Delete what a user has read up to and with a position: of one thread, of 'main', or with '' of all."""
    condition = ""
    params: tuple[object, ...] = (user_nid, room_nid, up_to)
    if thread_id:
        condition = " AND thread_id = ?"
        params = (*params, "" if thread_id == "main" else thread_id)
    tx.execute(f"DELETE FROM push_deltas WHERE user_nid = ? AND room_nid = ? AND pos <= ?{condition}", params)


def users_after(tx: Transaction, user_nid: int, limit: int) -> list[int]:
    """The next users, by number, of whom there is anything."""
    rows = tx.all(
        "SELECT DISTINCT user_nid FROM push_deltas WHERE user_nid > ? ORDER BY user_nid LIMIT ?", (user_nid, limit)
    )
    return [row[0] for row in rows]


def remove_all_read(tx: Transaction, user_nids: Sequence[int]) -> int:
    """Delete everything that lies behind the users' read marks; how many there were."""
    condition, parameter = tx.among("user_nid", list(user_nids))
    return tx.execute(
        f"DELETE FROM push_deltas WHERE {condition} AND EXISTS (SELECT 1 FROM read_marks m"
        " WHERE m.user_nid = push_deltas.user_nid AND m.room_nid = push_deltas.room_nid AND m.pos >= push_deltas.pos"
        " AND m.thread_id IN ('', CASE push_deltas.thread_id WHEN '' THEN 'main' ELSE push_deltas.thread_id END))",
        (parameter,),
    )
