"""Who shares rooms with whom across servers."""

from collections.abc import Collection

from matrixd.storage.transaction import Transaction

_HAS_LOCAL = (
    "EXISTS (SELECT 1 FROM room_members o WHERE o.room_nid = m.room_nid AND o.is_local = 1 AND o.membership = 'join')"
)
_REMOTE = "m.is_local = 0 AND m.membership = 'join'"


def servers_of(tx: Transaction, user_nid: int, except_room: int | None = None) -> set[str]:
    """The other servers in the rooms that a local user is joined to; `except_room` is left out."""
    rows = tx.all(
        "SELECT DISTINCT s.server_name FROM room_members m JOIN room_servers s ON s.room_nid = m.room_nid"
        " WHERE m.user_nid = ? AND m.is_local = 1 AND m.membership = 'join' AND m.room_nid <> ?",
        (user_nid, except_room or 0),
    )
    return {row[0] for row in rows}


def with_remote(tx: Transaction, user_nids: Collection[int], max_members: int) -> dict[int, tuple[int, ...]]:
    """The rooms with at most `max_members` that users of other servers are in together with a local user, by user."""
    if not user_nids:
        return {}
    condition, parameter = tx.among("m.user_nid", list(user_nids))
    rows = tx.all(
        "SELECT m.user_nid, m.room_nid FROM room_members m JOIN rooms r ON r.room_nid = m.room_nid"
        f" WHERE {condition} AND {_REMOTE} AND r.joined_count <= ? AND {_HAS_LOCAL}",
        (parameter, max_members),
    )
    found: dict[int, list[int]] = {}
    for user_nid, room_nid in rows:
        found.setdefault(user_nid, []).append(room_nid)
    return {user_nid: tuple(room_nids) for user_nid, room_nids in found.items()}


def remote_users(tx: Transaction, user_nids: Collection[int]) -> set[int]:
    """Those of some users of other servers who are in a room together with a local user."""
    if not user_nids:
        return set()
    condition, parameter = tx.among("m.user_nid", list(user_nids))
    rows = tx.all(
        f"SELECT DISTINCT m.user_nid FROM room_members m WHERE {condition} AND {_REMOTE} AND {_HAS_LOCAL}",
        (parameter,),
    )
    return {row[0] for row in rows}


def joined_among(tx: Transaction, room_nid: int, user_ids: Collection[str]) -> dict[str, int]:
    """Those of some users who are in a room: user ID -> number."""
    if not user_ids:
        return {}
    condition, parameter = tx.among("u.user_id", sorted(user_ids))
    return dict(
        tx.all(
            "SELECT u.user_id, u.user_nid FROM users u JOIN room_members m ON m.user_nid = u.user_nid"
            f" WHERE {condition} AND m.room_nid = ? AND m.membership = 'join'",
            (parameter, room_nid),
        )
    )
