"""Access tokens, by the SHA-256 under which they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Whom an access token belongs to."""

    token_hash: bytes
    user_id: str
    user_nid: int
    device_id: str
    device_nid: int
    kind: str
    is_admin: bool
    is_locked: bool
    is_suspended: bool
    valid_until_ts: int | None
    #: The refresh token that came with it, while the one before that is still valid: using the token ends that.
    unused_refresh_nid: int | None


def by_hash(tx: Transaction, token_hash: bytes) -> TokenOwner | None:
    """The owner of a token, unless the account is deactivated."""
    row = tx.one(
        "SELECT users.user_id, t.user_nid, d.device_id, t.device_nid, a.kind, a.is_admin, a.locked, a.suspended,"
        " t.valid_until_ts, r.refresh_nid"
        " FROM access_tokens t JOIN accounts a ON a.user_nid = t.user_nid JOIN users ON users.user_nid = t.user_nid"
        " JOIN devices d ON d.device_nid = t.device_nid"
        " LEFT JOIN refresh_tokens r ON r.refresh_nid = t.refresh_nid AND r.prev_nid IS NOT NULL"
        " WHERE t.token_hash = ? AND a.deactivated_ts IS NULL",
        (token_hash,),
    )
    if row is None:
        return None
    user_id, user_nid, device_id, device_nid, kind, is_admin, locked, suspended, valid_until_ts, unused_nid = row
    return TokenOwner(
        token_hash, user_id, user_nid, device_id, device_nid, kind, bool(is_admin), bool(locked), bool(suspended),
        valid_until_ts, unused_nid,
    )


def create(
    tx: Transaction,
    token_hash: bytes,
    user_nid: int,
    device_nid: int,
    created_ts: int,
    valid_until_ts: int | None = None,
    refresh_nid: int | None = None,
) -> None:
    """Keep a new token; `refresh_nid` is the refresh token that came with it."""
    tx.execute(
        "INSERT INTO access_tokens (token_hash, user_nid, device_nid, created_ts, valid_until_ts, refresh_nid)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (token_hash, user_nid, device_nid, created_ts, valid_until_ts, refresh_nid),
    )


def delete_of_devices(tx: Transaction, device_nids: Sequence[int]) -> int:
    """Delete all tokens of devices; how many there were. What is remembered of them is the caller's to announce."""
    if not device_nids:
        return 0
    condition, parameter = tx.among("device_nid", device_nids)
    return tx.execute(f"DELETE FROM access_tokens WHERE {condition}", (parameter,))


def expire(tx: Transaction, before_ts: int) -> int:
    """Delete what expired before `before_ts`; how many there were.

    The job lets some time go by after a token has expired: until then its owner is told to refresh, and not that the
    session is gone.
    """
    return tx.execute("DELETE FROM access_tokens WHERE valid_until_ts < ?", (before_ts,))
