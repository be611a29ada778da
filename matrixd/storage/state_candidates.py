"""All events that are of one place of a room's state, whatever became of them."""

from matrixd.storage.stored_event import StoredEvent, select
from matrixd.storage.transaction import Transaction


def of_key(tx: Transaction, room_nid: int, key_nid: int, limit: int) -> list[StoredEvent]:
    """The deepest ones of a type and state key, rejected, soft-failed and unplaced ones too; the deepest first.

    No index leads to those that have no place in the timeline: this reads the table of events, and is for tools.
    """
    return select(
        tx,
        "e.room_nid = ? AND e.key_nid = ? ORDER BY e.depth DESC, e.event_nid DESC LIMIT ?",
        (room_nid, key_nid, limit),
    )
