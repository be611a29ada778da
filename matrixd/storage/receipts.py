"""Receipts: up to which event a user has read a room or one of its threads.

https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from collections.abc import Collection
from dataclasses import dataclass

from matrixd.storage.rows import ReceiptRow
from matrixd.storage.transaction import Transaction

READ = "m.read"
READ_PRIVATE = "m.read.private"

#: How many relations are followed to find an event's thread: "a maximum of 3 hops is recommended".
_MAX_HOPS = 3


@dataclass(frozen=True, slots=True)
class ReceiptTarget:
    """What a receipt needs to know of the event that it acknowledges."""

    pos: int
    #: `rooms.unread` at the event.
    unread: int
    #: The root of the thread that the event is in; None for the main timeline.
    thread_id: str | None
    is_redacted: bool


def target(tx: Transaction, room_nid: int, event_id: str) -> ReceiptTarget | None:
    """The event to acknowledge; None if the room's timeline does not have it."""
    row = tx.one(
        "SELECT pos, unread, redacted_by FROM events"
        " WHERE event_id = ? AND room_nid = ? AND pos IS NOT NULL AND verdict IS NULL",
        (event_id, room_nid),
    )
    if row is None:
        return None
    return ReceiptTarget(row[0], row[1], _thread_of(tx, event_id), row[2] is not None)


def _thread_of(tx: Transaction, event_id: str) -> str | None:
    for _ in range(_MAX_HOPS):
        row = tx.one(
            "SELECT r.parent_id, r.rel_type FROM event_relations r JOIN events e ON e.event_nid = r.event_nid"
            " WHERE e.event_id = ?",
            (event_id,),
        )
        if row is None:
            return None
        event_id, rel_type = row
        if rel_type == "m.thread":
            return event_id
    return None


def set_if_ahead(tx: Transaction, receipt: ReceiptRow) -> bool:
    """Move a receipt forward and announce it; whether it moved. The `pos` of `receipt` is taken here, not read."""
    known = tx.one(
        "SELECT event_pos FROM receipts WHERE room_nid = ? AND user_nid = ? AND type = ? AND thread_id = ?",
        (receipt.room_nid, receipt.user_nid, receipt.type, receipt.thread_id),
    )
    if known is not None and known[0] >= receipt.event_pos:
        return False
    pos = tx.next_id("receipts")
    tx.execute(
        "INSERT INTO receipts (room_nid, user_nid, type, thread_id, event_id, event_pos, ts, pos)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (room_nid, user_nid, type, thread_id) DO UPDATE SET"
        " event_id = excluded.event_id, event_pos = excluded.event_pos, ts = excluded.ts, pos = excluded.pos",
        (
            receipt.room_nid, receipt.user_nid, receipt.type, receipt.thread_id, receipt.event_id, receipt.event_pos,
            receipt.ts, pos,
        ),
    )
    tx.announce(
        ReceiptRow(
            pos, receipt.room_nid, receipt.user_nid, receipt.user_id, receipt.type, receipt.thread_id,
            receipt.event_id, receipt.event_pos, receipt.ts,
        )
    )
    return True


def in_rooms(tx: Transaction, room_nids: Collection[int], user_nid: int, after: int, up_to: int) -> list[ReceiptRow]:
    """The receipts of rooms that moved in `after` < position <= `up_to`, oldest first: all public ones, and the
    private ones of `user_nid`."""
    if not room_nids or after >= up_to:
        return []
    condition, rooms = tx.among("r.room_nid", list(room_nids))
    found = tx.all(
        "SELECT r.pos, r.room_nid, r.user_nid, u.user_id, r.type, r.thread_id, r.event_id, r.event_pos, r.ts"
        " FROM receipts r JOIN users u ON u.user_nid = r.user_nid"
        f" WHERE {condition} AND r.pos > ? AND r.pos <= ? AND (r.type = ? OR r.user_nid = ?) ORDER BY r.pos",
        (rooms, after, up_to, READ, user_nid),
    )
    return [ReceiptRow(*row) for row in found]
