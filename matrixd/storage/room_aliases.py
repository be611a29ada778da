"""The room aliases of this server."""

from collections.abc import Collection
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias and the room that it points to."""

    alias: str
    room_nid: int
    room_id: str
    creator_nid: int


_SELECT = (
    "SELECT a.alias, a.room_nid, r.room_id, a.creator_nid FROM room_aliases a JOIN rooms r ON r.room_nid = a.room_nid"
)


def get(tx: Transaction, alias: str) -> Alias | None:
    """One alias, if there is one of this name."""
    row = tx.one(f"{_SELECT} WHERE a.alias = ?", (alias,))
    return None if row is None else Alias(*row)


def get_many(tx: Transaction, aliases: Collection[str]) -> dict[str, Alias]:
    """Those of the aliases that exist."""
    if not aliases:
        return {}
    condition, parameter = tx.among("a.alias", list(aliases))
    return {row[0]: Alias(*row) for row in tx.all(f"{_SELECT} WHERE {condition}", (parameter,))}


def of_room(tx: Transaction, room_id: str) -> list[str]:
    """The aliases of a room, in the order of their text."""
    rows = tx.all(f"{_SELECT} WHERE r.room_id = ? ORDER BY a.alias", (room_id,))
    return [row[0] for row in rows]


def create(tx: Transaction, alias: str, room_nid: int, creator_nid: int, created_ts: int) -> bool:
    """Make an alias; whether its name was free. `created_ts`: milliseconds since the epoch."""
    return (
        tx.execute(
            "INSERT INTO room_aliases (alias, room_nid, creator_nid, created_ts) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (alias) DO NOTHING",
            (alias, room_nid, creator_nid, created_ts),
        )
        > 0
    )


def delete(tx: Transaction, alias: str) -> bool:
    """Remove an alias; whether it was there."""
    return tx.execute("DELETE FROM room_aliases WHERE alias = ?", (alias,)) > 0


def move(tx: Transaction, from_room_nid: int, to_room_nid: int) -> None:
    """Let all aliases of a room point to another one."""
    tx.execute("UPDATE room_aliases SET room_nid = ? WHERE room_nid = ?", (to_room_nid, from_room_nid))
