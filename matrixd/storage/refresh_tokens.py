"""Refresh tokens (client-server API, "Refreshing access tokens").

A refresh token stays valid until one that replaced it, or the access token that came with that, is used: a client that
lost the answer can ask again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction

#: How many replacements of one token may wait for their first use; an older one goes when there are more.
_MAX_UNUSED = 3


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token and whom it belongs to. Times are milliseconds since the epoch."""

    refresh_nid: int
    user_nid: int
    user_id: str
    device_nid: int
    device_id: str
    is_locked: bool
    valid_until_ts: int | None
    session_until_ts: int | None


def by_hash(tx: Transaction, token_hash: bytes) -> RefreshToken | None:
    """The token, unless the account is deactivated."""
    row = tx.one(
        "SELECT r.refresh_nid, r.user_nid, u.user_id, r.device_nid, d.device_id, a.locked, r.valid_until_ts,"
        " r.session_until_ts"
        " FROM refresh_tokens r JOIN users u ON u.user_nid = r.user_nid JOIN accounts a ON a.user_nid = r.user_nid"
        " JOIN devices d ON d.device_nid = r.device_nid WHERE r.token_hash = ? AND a.deactivated_ts IS NULL",
        (token_hash,),
    )
    if row is None:
        return None
    nid, user_nid, user_id, device_nid, device_id, locked, valid_until, session_until = row
    return RefreshToken(nid, user_nid, user_id, device_nid, device_id, bool(locked), valid_until, session_until)


def create(
    tx: Transaction,
    token_hash: bytes,
    user_nid: int,
    device_nid: int,
    valid_until_ts: int | None,
    session_until_ts: int | None,
    replaces: int | None = None,
) -> int:
    """Keep a new token, that replaces the token with the number `replaces`; its own number."""
    if replaces is not None:
        _bound_unused(tx, replaces)
    refresh_nid = tx.next_id("refresh_tokens")
    tx.execute(
        "INSERT INTO refresh_tokens"
        " (refresh_nid, token_hash, user_nid, device_nid, prev_nid, valid_until_ts, session_until_ts)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (refresh_nid, token_hash, user_nid, device_nid, replaces, valid_until_ts, session_until_ts),
    )
    return refresh_nid


def _bound_unused(tx: Transaction, prev_nid: int) -> None:
    unused = tx.all(
        "SELECT refresh_nid FROM refresh_tokens WHERE prev_nid = ? ORDER BY refresh_nid DESC", (prev_nid,)
    )
    for (refresh_nid,) in unused[_MAX_UNUSED - 1 :]:
        tx.execute("DELETE FROM refresh_tokens WHERE refresh_nid = ?", (refresh_nid,))


def used(tx: Transaction, refresh_nid: int) -> None:
    """A token, or the access token that came with it, was used: the one that it replaced is revoked."""
    row = tx.one("SELECT prev_nid FROM refresh_tokens WHERE refresh_nid = ? AND prev_nid IS NOT NULL", (refresh_nid,))
    if row is not None:
        tx.execute("DELETE FROM refresh_tokens WHERE refresh_nid = ?", row)
        tx.execute("UPDATE refresh_tokens SET prev_nid = NULL WHERE prev_nid = ?", row)


def delete_of_devices(tx: Transaction, device_nids: Sequence[int]) -> None:
    """Delete all tokens of devices."""
    if device_nids:
        condition, parameter = tx.among("device_nid", device_nids)
        tx.execute(f"DELETE FROM refresh_tokens WHERE {condition}", (parameter,))


def expire(tx: Transaction, now_ms: int) -> int:
    """Delete what has expired; how many there were."""
    return tx.execute("DELETE FROM refresh_tokens WHERE valid_until_ts < ?", (now_ms,))
