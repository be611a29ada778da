"""The published room directory: the rooms that are marked as published, largest first."""

from collections.abc import Collection
from dataclasses import dataclass

from matrixd.core.event import Event
from matrixd.storage.stored_event import select
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class PublishedRoom:
    """A room of the directory, without its state."""

    room_nid: int
    room_id: str
    joined_count: int


#: A place in the directory's order: (joined members, number of the room).
Place = tuple[int, int]


def page(tx: Transaction, limit: int, after: Place | None = None, before: Place | None = None) -> list[PublishedRoom]:
    """At most `limit` rooms that come after a place, or those directly before one; in the directory's order."""
    query = "SELECT room_nid, room_id, joined_count FROM rooms WHERE published = 1 AND blocked = 0 AND joined_count > 0"
    params: tuple[int, ...] = ()
    order = "joined_count DESC, room_nid DESC"
    place = after or before
    if place is not None:
        than = "<" if after is not None else ">"
        query += f" AND (joined_count {than} ? OR (joined_count = ? AND room_nid {than} ?))"
        params = (place[0], place[0], place[1])
        if after is None:
            order = "joined_count, room_nid"
    found = [PublishedRoom(*row) for row in tx.all(f"{query} ORDER BY {order} LIMIT ?", (*params, limit))]
    return found if after is not None or before is None else found[::-1]


def count(tx: Transaction) -> int:
    """How many rooms the directory has."""
    row = tx.one("SELECT count(*) FROM rooms WHERE published = 1 AND blocked = 0 AND joined_count > 0")
    assert row is not None
    return int(row[0])


def state(tx: Transaction, room_nids: Collection[int], types: Collection[str]) -> dict[int, dict[str, Event]]:
    """The current state events of some types, with an empty state key, of several rooms: room -> type -> event."""
    found: dict[int, dict[str, Event]] = {}
    if not room_nids:
        return found
    in_rooms, room_value = tx.among("s.room_nid", list(room_nids))
    of_types, type_value = tx.among("type", list(types))
    query = (
        f"e.event_nid IN (SELECT s.event_nid FROM room_state s WHERE {in_rooms} AND s.valid_to IS NULL"
        f" AND s.key_nid IN (SELECT key_nid FROM state_keys WHERE state_key = '' AND {of_types}))"
    )
    for item in select(tx, query, (room_value, type_value)):
        found.setdefault(item.room_nid, {})[item.event.type] = item.event
    return found
