"""Tokens that prove a user's identity to others, by their SHA-256 (client-server API, "OpenID")."""

from matrixd.storage.transaction import Transaction


def create(tx: Transaction, token_hash: bytes, user_nid: int, valid_until_ts: int) -> None:
    """Keep a new token; `valid_until_ts` in milliseconds since the epoch."""
    tx.execute(
        "INSERT INTO openid_tokens (token_hash, user_nid, valid_until_ts) VALUES (?, ?, ?)",
        (token_hash, user_nid, valid_until_ts),
    )


def owner(tx: Transaction, token_hash: bytes, now_ms: int) -> str | None:
    """The ID of the user who made the token; None if it is unknown or has expired, or the account is deactivated."""
    row = tx.one(
        "SELECT u.user_id FROM openid_tokens o JOIN users u ON u.user_nid = o.user_nid"
        " JOIN accounts a ON a.user_nid = o.user_nid"
        " WHERE o.token_hash = ? AND o.valid_until_ts > ? AND a.deactivated_ts IS NULL",
        (token_hash, now_ms),
    )
    return None if row is None else str(row[0])


def expire(tx: Transaction, now_ms: int) -> int:
    """Delete what has expired; how many there were."""
    return tx.execute("DELETE FROM openid_tokens WHERE valid_until_ts < ?", (now_ms,))
