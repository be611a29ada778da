"""The state before a join event, as far as it is checked and not yet part of the room's state."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Place:
    """A type and state key, and the event that holds it."""

    key_nid: int
    event_nid: int


def insert(tx: Transaction, room_nid: int, places: Sequence[Place]) -> None:
    """Keep some; of two that claim the same place the first counts."""
    tx.insert_many(
        "remote_join_state",
        ("room_nid", "key_nid", "event_nid"),
        [(room_nid, place.key_nid, place.event_nid) for place in places],
        "ON CONFLICT (room_nid, key_nid) DO NOTHING",
    )


def without_members(tx: Transaction, room_nid: int) -> list[Place]:
    """All but m.room.member."""
    return _select(tx, room_nid, "AND k.type <> 'm.room.member'", ())


def of_keys(tx: Transaction, room_nid: int, key_nids: Collection[int]) -> list[Place]:
    """Those of some keys that are there."""
    condition, parameter = tx.among("s.key_nid", list(key_nids))
    return _select(tx, room_nid, f"AND {condition}", (parameter,))


def first(tx: Transaction, room_nid: int, limit: int) -> list[Place]:
    """Some of those that are left."""
    return _select(tx, room_nid, "ORDER BY s.key_nid LIMIT ?", (limit,))


def _select(tx: Transaction, room_nid: int, condition: str, params: Sequence[object]) -> list[Place]:
    rows = tx.all(
        "SELECT s.key_nid, s.event_nid FROM remote_join_state s JOIN state_keys k ON k.key_nid = s.key_nid"
        f" WHERE s.room_nid = ? {condition}",
        (room_nid, *params),
    )
    return [Place(*row) for row in rows]


def count(tx: Transaction, room_nid: int) -> int:
    """How many are left."""
    row = tx.one("SELECT count(*) FROM remote_join_state WHERE room_nid = ?", (room_nid,))
    return 0 if row is None else int(row[0])


def remove(tx: Transaction, room_nid: int, key_nids: Collection[int]) -> None:
    """Drop some."""
    condition, parameter = tx.among("key_nid", list(key_nids))
    tx.execute(f"DELETE FROM remote_join_state WHERE room_nid = ? AND {condition}", (room_nid, parameter))


def clear(tx: Transaction, room_nid: int) -> None:
    """Drop all of a room."""
    tx.execute("DELETE FROM remote_join_state WHERE room_nid = ?", (room_nid,))
