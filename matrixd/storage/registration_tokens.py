"""Tokens that allow a registration (client-server API, "Token-authenticated registration")."""

from dataclasses import dataclass

from matrixd.storage.transaction import Transaction

_VALID = "token = ? AND (uses_allowed IS NULL OR completed < uses_allowed)" \
    " AND (valid_until_ts IS NULL OR valid_until_ts > ?)"


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """A token. `uses_allowed` None: without limit; `valid_until_ts` in milliseconds, None: for ever."""

    token: str
    uses_allowed: int | None
    completed: int
    valid_until_ts: int | None


def all_tokens(tx: Transaction) -> list[RegistrationToken]:
    """Every token."""
    return [
        RegistrationToken(*row)
        for row in tx.all(
            "SELECT token, uses_allowed, completed, valid_until_ts FROM registration_tokens ORDER BY token"
        )
    ]


def create(tx: Transaction, token: str, uses_allowed: int | None, valid_until_ts: int | None) -> bool:
    """Keep a new token; False if there is one of this name already."""
    touched = tx.execute(
        "INSERT INTO registration_tokens (token, uses_allowed, valid_until_ts) VALUES (?, ?, ?)"
        " ON CONFLICT (token) DO NOTHING",
        (token, uses_allowed, valid_until_ts),
    )
    return touched > 0


def is_valid(tx: Transaction, token: str, now_ms: int) -> bool:
    """Whether an account can be made with the token."""
    return tx.one(f"SELECT 1 FROM registration_tokens WHERE {_VALID}", (token, now_ms)) is not None


def use(tx: Transaction, token: str, now_ms: int) -> bool:
    """Count an account that is made with the token; False if it is not valid (any more)."""
    return tx.execute(f"UPDATE registration_tokens SET completed = completed + 1 WHERE {_VALID}", (token, now_ms)) > 0


def delete(tx: Transaction, token: str) -> bool:
    """Remove a token; whether it was there."""
    return tx.execute("DELETE FROM registration_tokens WHERE token = ?", (token,)) > 0
