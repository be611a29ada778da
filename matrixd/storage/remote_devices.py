"""What is known of the devices and signing keys of users of other servers.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.storage.transaction import Transaction

_STALE = (
    "INSERT INTO remote_device_lists (user_nid, stream_id, is_stale, verified_ts, tries, next_try_ts)"
    " VALUES (?, ?, 1, NULL, 0, ?) ON CONFLICT (user_nid) DO UPDATE SET stream_id = excluded.stream_id"
)


@dataclass(frozen=True, slots=True)
class RemoteList:
    """How well the list of a user's devices is known. Times are milliseconds since the epoch."""

    user_nid: int
    #: Of the newest update that was applied.
    stream_id: int
    #: An update was missed, or the list was never read as a whole.
    is_stale: bool
    #: When the whole list was last read; None: never.
    verified_ts: int | None
    #: Attempts to read it since it became stale.
    tries: int


@dataclass(frozen=True, slots=True)
class RemoteDevice:
    """A device as `GET /user/devices` gives it: `device_id`, `keys`, `device_display_name`."""

    device_id: str
    stream_id: int
    content: Mapping[str, Any]


def find(tx: Transaction, user_nid: int) -> RemoteList | None:
    """What is known of a user's list; None: nothing."""
    row = tx.one(
        "SELECT user_nid, stream_id, is_stale, verified_ts, tries FROM remote_device_lists WHERE user_nid = ?",
        (user_nid,),
    )
    return None if row is None else RemoteList(row[0], row[1], bool(row[2]), row[3], row[4])


def set_position(tx: Transaction, user_nid: int, stream_id: int, now_ms: int) -> None:
    """Note the newest update of a list; one that was not known before is stale."""
    tx.execute(_STALE, (user_nid, stream_id, now_ms))


def mark_stale(tx: Transaction, user_nid: int, now_ms: int) -> None:
    """Note that a list is to be read anew from its user's server."""
    tx.execute(
        "UPDATE remote_device_lists SET is_stale = 1, tries = 0, next_try_ts = ? WHERE user_nid = ? AND is_stale = 0",
        (now_ms, user_nid),
    )


def mark_stale_in_room(tx: Transaction, room_nid: int, user_nid: int | None, now_ms: int) -> int:
    """The same for the members of a room, or one of them, who share no other room with a local user; how many.

    What happened to their lists while they shared none, nobody has told us.
    """
    only = "" if user_nid is None else " AND n.user_nid = ?"
    return tx.execute(
        "UPDATE remote_device_lists SET is_stale = 1, tries = 0, next_try_ts = ? WHERE is_stale = 0 AND user_nid IN"
        " (SELECT n.user_nid FROM room_members n WHERE n.room_nid = ? AND n.is_local = 0 AND n.membership = 'join'"
        f"{only})"
        " AND NOT EXISTS (SELECT 1 FROM room_members m WHERE m.user_nid = remote_device_lists.user_nid"
        " AND m.is_local = 0 AND m.membership = 'join' AND m.room_nid <> ? AND EXISTS"
        " (SELECT 1 FROM room_members o WHERE o.room_nid = m.room_nid AND o.is_local = 1 AND o.membership = 'join'))",
        (now_ms, room_nid, *(() if user_nid is None else (user_nid,)), room_nid),
    )


def due(tx: Transaction, now_ms: int, limit: int) -> list[tuple[RemoteList, str]]:
    """Stale lists that are to be read now, with their users' IDs; those first that have waited longest."""
    rows = tx.all(
        "SELECT l.user_nid, l.stream_id, l.is_stale, l.verified_ts, l.tries, u.user_id FROM remote_device_lists l"
        " JOIN users u ON u.user_nid = l.user_nid WHERE l.is_stale = 1 AND l.next_try_ts <= ?"
        " ORDER BY l.next_try_ts LIMIT ?",
        (now_ms, limit),
    )
    return [(RemoteList(nid, stream, bool(stale), ts, tries), user) for nid, stream, stale, ts, tries, user in rows]


def next_due(tx: Transaction) -> int | None:
    """When the next stale list is to be read, in milliseconds; None: there is none."""
    row = tx.one("SELECT min(next_try_ts) FROM remote_device_lists WHERE is_stale = 1")
    return None if row is None or row[0] is None else int(row[0])


def failed(tx: Transaction, user_nid: int, next_try_ts: int, error: str) -> None:
    """Note that a list could not be read, and when to try again."""
    tx.execute(
        "UPDATE remote_device_lists SET tries = tries + 1, next_try_ts = ?, last_error = ? WHERE user_nid = ?",
        (next_try_ts, error, user_nid),
    )


def replace(
    tx: Transaction, user_nid: int, stream_id: int, devices: Sequence[RemoteDevice], verified_ts: int
) -> None:
    """Keep a whole list as its user's server has it."""
    tx.execute(
        "INSERT INTO remote_device_lists (user_nid, stream_id, is_stale, verified_ts, tries, next_try_ts)"
        " VALUES (?, ?, 0, ?, 0, 0) ON CONFLICT (user_nid) DO UPDATE SET stream_id = excluded.stream_id, is_stale = 0,"
        " verified_ts = excluded.verified_ts, tries = 0, next_try_ts = 0, last_error = NULL",
        (user_nid, stream_id, verified_ts),
    )
    tx.execute("DELETE FROM remote_devices WHERE user_nid = ?", (user_nid,))
    put(tx, user_nid, devices)


def put(tx: Transaction, user_nid: int, devices: Sequence[RemoteDevice]) -> None:
    """Keep devices as they are now."""
    tx.insert_many(
        "remote_devices",
        ("user_nid", "device_id", "stream_id", "json"),
        [(user_nid, device.device_id, device.stream_id, json.dumps(device.content)) for device in devices],
        "ON CONFLICT (user_nid, device_id) DO UPDATE SET stream_id = excluded.stream_id, json = excluded.json",
    )


def remove(tx: Transaction, user_nid: int, device_id: str) -> None:
    """Delete a device."""
    tx.execute("DELETE FROM remote_devices WHERE user_nid = ? AND device_id = ?", (user_nid, device_id))


def count(tx: Transaction, user_nid: int) -> int:
    """How many devices of a user are known."""
    row = tx.one("SELECT count(*) FROM remote_devices WHERE user_nid = ?", (user_nid,))
    return 0 if row is None else int(row[0])


def of_user(tx: Transaction, user_nid: int) -> dict[str, RemoteDevice]:
    """The devices of a user, as far as they are known."""
    rows = tx.all("SELECT device_id, stream_id, json FROM remote_devices WHERE user_nid = ?", (user_nid,))
    return {device_id: RemoteDevice(device_id, stream_id, json.loads(text)) for device_id, stream_id, text in rows}


def signing_keys(tx: Transaction, user_nid: int) -> dict[str, Any]:
    """`master_key` and `self_signing_key` of a user, as far as they are known."""
    row = tx.one("SELECT json FROM remote_signing_keys WHERE user_nid = ?", (user_nid,))
    return {} if row is None else dict(json.loads(row[0]))


def put_signing_keys(tx: Transaction, user_nid: int, keys: Mapping[str, Any]) -> None:
    """Keep the signing keys of a user."""
    tx.execute(
        "INSERT INTO remote_signing_keys (user_nid, json) VALUES (?, ?)"
        " ON CONFLICT (user_nid) DO UPDATE SET json = excluded.json",
        (user_nid, json.dumps(keys)),
    )


def known_users(tx: Transaction, after: int, limit: int) -> list[int]:
    """The users of other servers of whom something is kept here, in the order of their numbers, after a number."""
    rows = tx.all(
        "SELECT user_nid FROM remote_device_lists WHERE user_nid > ?"
        " UNION SELECT user_nid FROM remote_signing_keys WHERE user_nid > ? ORDER BY user_nid LIMIT ?",
        (after, after, limit),
    )
    return [row[0] for row in rows]


def forget(tx: Transaction, user_nids: Sequence[int]) -> None:
    """Forget all that is kept here of some users."""
    for table in ("remote_devices", "remote_device_lists", "remote_signing_keys"):
        condition, parameter = tx.among("user_nid", list(user_nids))
        tx.execute(f"DELETE FROM {table} WHERE {condition}", (parameter,))
