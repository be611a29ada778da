"""Which event refers to which."""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Relation:
    """An event's m.relates_to."""

    event_nid: int
    room_nid: int
    parent_id: str
    rel_type: str
    type: str
    sender_nid: int
    #: Whether it counts as unread for a member who has the default push rules.
    notifies: bool
    pos: int


def insert(tx: Transaction, relations: Sequence[Relation]) -> None:
    """Store new relations."""
    tx.insert_many(
        "event_relations",
        ("event_nid", "room_nid", "parent_id", "rel_type", "type", "sender_nid", "notifies", "pos"),
        [
            (r.event_nid, r.room_nid, r.parent_id, r.rel_type, r.type, r.sender_nid, int(r.notifies), r.pos)
            for r in relations
        ],
    )


def remove(tx: Transaction, event_nid: int) -> None:
    """Delete the relation of an event that was redacted."""
    tx.execute("DELETE FROM event_relations WHERE event_nid = ?", (event_nid,))


def thread_root(tx: Transaction, event_nid: int) -> str | None:
    """The root of the thread that an event is in."""
    row = tx.one("SELECT parent_id FROM event_relations WHERE event_nid = ? AND rel_type = 'm.thread'", (event_nid,))
    return None if row is None else str(row[0])
