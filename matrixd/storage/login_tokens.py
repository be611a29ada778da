"""Single-use tokens of `m.login.token`, by their SHA-256."""

from matrixd.storage.transaction import Transaction


def create(tx: Transaction, token_hash: bytes, user_nid: int, valid_until_ts: int) -> None:
    """Keep a new token; `valid_until_ts` in milliseconds since the epoch."""
    tx.execute(
        "INSERT INTO login_tokens (token_hash, user_nid, valid_until_ts) VALUES (?, ?, ?)",
        (token_hash, user_nid, valid_until_ts),
    )


def take(tx: Transaction, token_hash: bytes, now_ms: int) -> int | None:
    """Use a token up; the number of the user whom it logs in, None if it is unknown or has expired."""
    row = tx.one("SELECT user_nid, valid_until_ts FROM login_tokens WHERE token_hash = ?", (token_hash,))
    if row is None:
        return None
    tx.execute("DELETE FROM login_tokens WHERE token_hash = ?", (token_hash,))
    user_nid, valid_until_ts = row
    return int(user_nid) if valid_until_ts > now_ms else None


def delete_of_user(tx: Transaction, user_nid: int) -> None:
    """Delete all tokens of a user."""
    tx.execute("DELETE FROM login_tokens WHERE user_nid = ?", (user_nid,))


def expire(tx: Transaction, now_ms: int) -> int:
    """Delete what has expired; how many there were."""
    return tx.execute("DELETE FROM login_tokens WHERE valid_until_ts < ?", (now_ms,))
