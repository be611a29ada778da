"""The stripped state that came with an invite to, or a knock on, a room that this server takes no part in."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from matrixd.storage.transaction import Transaction

#: What `events.verdict` says of a membership in such a room.
OUT_OF_BAND = "out_of_band"


def put(tx: Transaction, room_nid: int, user_nid: int, state: Sequence[Mapping[str, Any]]) -> None:
    """Keep what a user was told of a room, in place of what is kept."""
    tx.insert_many(
        "stripped_state",
        ("room_nid", "user_nid", "json"),
        [(room_nid, user_nid, orjson.dumps(list(state)).decode())],
        "ON CONFLICT (room_nid, user_nid) DO UPDATE SET json = excluded.json",
    )


def of_users(tx: Transaction, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """What is kept for some pairs of room and user (numbers), by pair."""
    condition, parameter = tx.among("room_nid", list({room_nid for room_nid, _ in pairs}))
    users, users_parameter = tx.among("user_nid", list({user_nid for _, user_nid in pairs}))
    rows = tx.all(
        f"SELECT room_nid, user_nid, json FROM stripped_state WHERE {condition} AND {users}",
        (parameter, users_parameter),
    )
    return {(row[0], row[1]): orjson.loads(row[2]) for row in rows if (row[0], row[1]) in pairs}


def remove(tx: Transaction, room_nid: int, user_nids: Collection[int]) -> None:
    """Drop what is kept for some users of a room."""
    condition, parameter = tx.among("user_nid", list(user_nids))
    tx.execute(f"DELETE FROM stripped_state WHERE room_nid = ? AND {condition}", (room_nid, parameter))
