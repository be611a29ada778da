"""Rooms and their newest end: forward extremities, depth, counts."""

import json
from collections.abc import Collection
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction

_COLUMNS = (
    "room_nid, room_id, version, extremities, depth, last_pos, bump_pos, unread, joined_count, invited_count,"
    " published, blocked, state_completeness, filled_pos"
)


@dataclass(frozen=True, slots=True)
class Room:
    """A room and its newest end, as committed."""

    room_nid: int
    room_id: str
    version: str
    #: Event IDs of the forward extremities, newest last.
    extremities: tuple[str, ...]
    depth: int
    last_pos: int
    bump_pos: int
    unread: int
    joined_count: int
    invited_count: int
    published: bool
    blocked: bool
    #: 'full', or 'partial' while a faster join is filling.
    state_completeness: str = "full"
    #: Position at which the last members became known, 0 where that was when the room was joined.
    filled_pos: int = 0


@dataclass(frozen=True, slots=True)
class RoomEnd:
    """What an event changes of its room's row."""

    extremities: tuple[str, ...]
    depth: int
    last_pos: int
    #: None: the event does not move the room in room lists.
    bump_pos: int | None
    unread: int
    joined_count: int
    invited_count: int


def _room(row: tuple[object, ...]) -> Room:
    (nid, room_id, version, extremities, depth, last, bump, unread, joined, invited, published, blocked, *state) = row
    return Room(
        nid, room_id, version, tuple(json.loads(extremities)), depth, last, bump, unread, joined, invited,  # type: ignore[arg-type]
        bool(published), bool(blocked), *state,  # type: ignore[arg-type]
    )


def by_id(tx: Transaction, room_id: str) -> Room | None:
    """The room, if this server knows it."""
    row = tx.one(f"SELECT {_COLUMNS} FROM rooms WHERE room_id = ?", (room_id,))
    return None if row is None else _room(row)


def by_nids(tx: Transaction, room_nids: Collection[int]) -> dict[int, Room]:
    """Those of the rooms that exist."""
    if not room_nids:
        return {}
    condition, parameter = tx.among("room_nid", list(room_nids))
    return {row[0]: _room(row) for row in tx.all(f"SELECT {_COLUMNS} FROM rooms WHERE {condition}", (parameter,))}


def by_ids(tx: Transaction, room_ids: Collection[str]) -> dict[str, Room]:
    """Those of the rooms that this server knows, by ID."""
    if not room_ids:
        return {}
    condition, parameter = tx.among("room_id", list(room_ids))
    return {row[1]: _room(row) for row in tx.all(f"SELECT {_COLUMNS} FROM rooms WHERE {condition}", (parameter,))}


def nid(tx: Transaction, room_id: str) -> int | None:
    """The room's number; None for a room that this server does not know."""
    known = tx.recall(("rooms", room_id))
    if known is not None:
        return int(known)
    row = tx.one("SELECT room_nid FROM rooms WHERE room_id = ?", (room_id,))
    if row is None:
        return None
    tx.learn(("rooms", room_id), row[0])
    return int(row[0])


def create(tx: Transaction, room_id: str, version: str) -> int:
    """Make the row of a new room; its number. The first event fills the rest."""
    room_nid = tx.next_id("rooms")
    tx.execute(
        "INSERT INTO rooms (room_nid, room_id, version, extremities, depth, last_pos, bump_pos, unread, joined_count,"
        " invited_count) VALUES (?, ?, ?, '[]', 0, 0, 0, 0, 0, 0)",
        (room_nid, room_id, version),
    )
    tx.learn(("rooms", room_id), room_nid)
    return room_nid


def move_end(tx: Transaction, room_nid: int, last_pos: int, end: RoomEnd) -> bool:
    """Move the room's newest end on from `last_pos`; False, and nothing done, if it does not stand there."""
    touched = tx.execute(
        "UPDATE rooms SET extremities = ?, depth = ?, last_pos = ?, bump_pos = coalesce(?, bump_pos), unread = ?,"
        " joined_count = ?, invited_count = ? WHERE room_nid = ? AND last_pos = ?",
        (
            json.dumps(end.extremities), end.depth, end.last_pos, end.bump_pos, end.unread, end.joined_count,
            end.invited_count, room_nid, last_pos,
        ),
    )
    return touched > 0


def set_extremities(tx: Transaction, room_nid: int, extremities: Collection[str]) -> None:
    """Replace the forward extremities, of which some turned out to be none; newest last."""
    tx.execute("UPDATE rooms SET extremities = ? WHERE room_nid = ?", (json.dumps(list(extremities)), room_nid))


def set_published(tx: Transaction, room_nid: int, published: bool) -> None:
    """Put the room into the published directory, or take it out."""
    tx.execute("UPDATE rooms SET published = ? WHERE room_nid = ?", (int(published), room_nid))


def set_version(tx: Transaction, room_nid: int, version: str) -> None:
    """Correct the version of a room that was known by an invite only, and that the invite said wrongly."""
    tx.execute("UPDATE rooms SET version = ? WHERE room_nid = ?", (version, room_nid))


def set_completeness(tx: Transaction, room_nid: int, completeness: str, filled_pos: int = 0) -> None:
    """Note whether all of the room's state is here: 'full', or 'partial' while a faster join is filling."""
    tx.execute(
        "UPDATE rooms SET state_completeness = ?, filled_pos = ? WHERE room_nid = ?",
        (completeness, filled_pos, room_nid),
    )


def set_counts(tx: Transaction, room_nid: int, joined_count: int, invited_count: int) -> None:
    """Correct how many members the room has."""
    tx.execute(
        "UPDATE rooms SET joined_count = ?, invited_count = ? WHERE room_nid = ?",
        (joined_count, invited_count, room_nid),
    )
