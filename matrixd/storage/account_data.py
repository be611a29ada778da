"""Account data: what clients keep for a user, for all rooms or for one.

https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from matrixd.storage.rows import AccountDataRow
from matrixd.storage.transaction import Transaction

#: The `room_nid` of global account data.
GLOBAL = 0


def get(tx: Transaction, user_nid: int, room_nid: int, data_type: str) -> dict[str, Any] | None:
    """The content of one type; None if it was never set."""
    row = tx.one(
        "SELECT content FROM account_data WHERE user_nid = ? AND room_nid = ? AND type = ?",
        (user_nid, room_nid, data_type),
    )
    return None if row is None else dict(orjson.loads(row[0]))


def put(tx: Transaction, user_nid: int, room_nid: int, data_type: str, content: Mapping[str, Any]) -> None:
    """Set the content of one type, and announce it."""
    pos = tx.next_id("account_data")
    tx.execute(
        "INSERT INTO account_data (user_nid, room_nid, type, content, pos) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (user_nid, room_nid, type) DO UPDATE SET content = excluded.content, pos = excluded.pos",
        (user_nid, room_nid, data_type, orjson.dumps(content).decode(), pos),
    )
    tx.announce(AccountDataRow(pos, user_nid, room_nid, data_type, content))


def changed(tx: Transaction, user_nid: int, after: int, up_to: int) -> list[AccountDataRow]:
    """What changed for a user in `after` < position <= `up_to`, oldest first; with `after` 0 everything there is."""
    rows = tx.all(
        "SELECT pos, room_nid, type, content FROM account_data WHERE user_nid = ? AND pos > ? AND pos <= ?"
        " ORDER BY pos",
        (user_nid, after, up_to),
    )
    return [AccountDataRow(row[0], user_nid, row[1], row[2], orjson.loads(row[3])) for row in rows]


def of_room(tx: Transaction, user_nid: int, room_nid: int) -> list[AccountDataRow]:
    """All that a user keeps for one room, or with `GLOBAL` for none."""
    rows = tx.all(
        "SELECT pos, type, content FROM account_data WHERE user_nid = ? AND room_nid = ? ORDER BY pos",
        (user_nid, room_nid),
    )
    return [AccountDataRow(row[0], user_nid, room_nid, row[1], orjson.loads(row[2])) for row in rows]


def ignored_user_lists(tx: Transaction, user_nids: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
    """The content of `m.ignored_user_list` of those users, or of all, who have it."""
    # The type is a literal so that the engines see that the index fits.
    sql = "SELECT user_nid, content FROM account_data WHERE room_nid = 0 AND type = 'm.ignored_user_list'"
    if user_nids is None:
        rows = tx.all(sql)
    else:
        condition, parameter = tx.among("user_nid", list(user_nids))
        rows = tx.all(f"{sql} AND {condition}", (parameter,))
    return {row[0]: orjson.loads(row[1]) for row in rows}


def copy_room(tx: Transaction, from_room_nid: int, to_room_nid: int, user_nid: int, types: tuple[str, ...]) -> None:
    """Give a user's data of a room to the room that replaces it, for those types that it does not have yet."""
    for row in of_room(tx, user_nid, from_room_nid):
        if row.type in types and get(tx, user_nid, to_room_nid, row.type) is None:
            put(tx, user_nid, to_room_nid, row.type, row.content)


def remove_user(tx: Transaction, user_nid: int) -> None:
    """Delete everything of a user who is deactivated."""
    tx.execute("DELETE FROM account_data WHERE user_nid = ?", (user_nid,))
