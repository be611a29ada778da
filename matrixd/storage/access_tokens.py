"""Access tokens, by the SHA-256 under which they are stored."""

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


def by_hash(tx: Transaction, token_hash: bytes) -> TokenOwner | None:
    """The owner of a token, unless the account is deactivated."""
    row = tx.one(
        "SELECT users.user_id, t.user_nid, d.device_id, t.device_nid, a.kind, a.is_admin, a.locked, a.suspended,"
        " t.valid_until_ts"
        " FROM access_tokens t JOIN accounts a ON a.user_nid = t.user_nid JOIN users ON users.user_nid = t.user_nid"
        " JOIN devices d ON d.device_nid = t.device_nid"
        " WHERE t.token_hash = ? AND a.deactivated_ts IS NULL",
        (token_hash,),
    )
    if row is None:
        return None
    user_id, user_nid, device_id, device_nid, kind, is_admin, locked, suspended, valid_until_ts = row
    return TokenOwner(
        token_hash, user_id, user_nid, device_id, device_nid, kind, bool(is_admin), bool(locked), bool(suspended),
        valid_until_ts,
    )
