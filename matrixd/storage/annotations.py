"""Annotations (reactions) of one user, so that the same is not sent twice."""

from matrixd.core.event import Event
from matrixd.storage.stored_event import select
from matrixd.storage.transaction import Transaction


def by_sender(tx: Transaction, room_id: str, parent_id: str, sender_nid: int, event_type: str) -> list[Event]:
    """The annotations of one type that a user has sent about an event; those that were redacted are not among them."""
    found = select(
        tx,
        "e.event_nid IN (SELECT a.event_nid FROM event_relations a JOIN rooms x ON x.room_nid = a.room_nid"
        " WHERE x.room_id = ? AND a.parent_id = ? AND a.rel_type = 'm.annotation' AND a.sender_nid = ? AND a.type = ?)",
        (room_id, parent_id, sender_nid, event_type),
    )
    return [item.event for item in found]
