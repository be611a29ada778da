"""Local accounts."""

from dataclasses import dataclass, field

from matrixd.storage import rows
from matrixd.storage.transaction import Transaction

#: The kinds that `accounts.kind` knows.
USER, GUEST, APPSERVICE, BOT, SUPPORT = "user", "guest", "appservice", "bot", "support"

_SELECT = (
    "SELECT a.user_nid, u.user_id, a.password_hash, a.kind, a.is_admin, a.created_ts, a.deactivated_ts, a.erased_pos,"
    " a.locked, a.suspended FROM accounts a JOIN users u ON u.user_nid = a.user_nid"
)


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this server. Times are milliseconds since the epoch."""

    user_nid: int
    user_id: str
    password_hash: str | None = field(repr=False)
    kind: str
    is_admin: bool
    created_ts: int
    deactivated_ts: int | None
    is_erased: bool
    is_locked: bool
    is_suspended: bool

    @property
    def is_deactivated(self) -> bool:
        """Whether the account is gone for ever."""
        return self.deactivated_ts is not None


def _account(row: tuple[object, ...]) -> Account:
    nid, user_id, password_hash, kind, is_admin, created_ts, deactivated_ts, erased_pos, locked, suspended = row
    return Account(
        nid, user_id, password_hash, kind, bool(is_admin), created_ts, deactivated_ts,  # type: ignore[arg-type]
        erased_pos is not None, bool(locked), bool(suspended),
    )


def by_user_id(tx: Transaction, user_id: str) -> Account | None:
    """The account of a user ID, deactivated or not."""
    row = tx.one(f"{_SELECT} WHERE u.user_id = ?", (user_id,))
    return None if row is None else _account(row)


def by_nid(tx: Transaction, user_nid: int) -> Account | None:
    """The account of a user's number, deactivated or not."""
    row = tx.one(f"{_SELECT} WHERE a.user_nid = ?", (user_nid,))
    return None if row is None else _account(row)


def by_folded_id(tx: Transaction, user_id: str) -> list[Account]:
    """The accounts whose user ID is this one but for upper and lower case, at most two of them."""
    return [_account(row) for row in tx.all(f"{_SELECT} WHERE a.folded_id = ? LIMIT 2", (user_id.lower(),))]


def create(
    tx: Transaction, user_nid: int, user_id: str, kind: str, password_hash: str | None, is_admin: bool, created_ts: int
) -> None:
    """Make an account; the caller has seen that there is none."""
    tx.execute(
        "INSERT INTO accounts (user_nid, folded_id, password_hash, kind, is_admin, created_ts)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (user_nid, user_id.lower(), password_hash, kind, int(is_admin), created_ts),
    )


def set_password(tx: Transaction, user_nid: int, password_hash: str | None) -> None:
    """Replace the password's hash; None takes the password away."""
    tx.execute("UPDATE accounts SET password_hash = ? WHERE user_nid = ?", (password_hash, user_nid))


def upgrade_guest(tx: Transaction, account: Account, password_hash: str) -> None:
    """Make a guest an ordinary user."""
    tx.execute(
        "UPDATE accounts SET kind = ?, password_hash = ? WHERE user_nid = ?", (USER, password_hash, account.user_nid)
    )
    _changed(tx, account)


def set_admin(tx: Transaction, account: Account, is_admin: bool) -> None:
    """Make the user an administrator of the server, or no longer."""
    tx.execute("UPDATE accounts SET is_admin = ? WHERE user_nid = ?", (int(is_admin), account.user_nid))
    _changed(tx, account)


def set_locked(tx: Transaction, account: Account, locked: bool) -> None:
    """Lock or unlock the account."""
    tx.execute("UPDATE accounts SET locked = ? WHERE user_nid = ?", (int(locked), account.user_nid))
    _changed(tx, account)


def set_suspended(tx: Transaction, account: Account, suspended: bool) -> None:
    """Suspend the account, or end that."""
    tx.execute("UPDATE accounts SET suspended = ? WHERE user_nid = ?", (int(suspended), account.user_nid))
    _changed(tx, account)


def deactivate(tx: Transaction, account: Account, erase: bool, now_ms: int) -> None:
    """End the account for ever; it is marked as one that must still leave its rooms."""
    newest = tx.one("SELECT pos FROM events WHERE pos IS NOT NULL ORDER BY pos DESC LIMIT 1")
    erased_pos = (0 if newest is None else newest[0]) if erase else None
    tx.execute(
        "UPDATE accounts SET password_hash = NULL, deactivated_ts = ?, erased_pos = ?, is_admin = 0, leaving = 1"
        " WHERE user_nid = ?",
        (now_ms, erased_pos, account.user_nid),
    )
    _changed(tx, account)
    if erased_pos is not None:
        tx.announce(rows.UserErased(account.user_id, erased_pos))


def erased(tx: Transaction) -> dict[str, int]:
    """The erased users: user ID -> newest position of the events stream at the erasure."""
    found = tx.all(
        "SELECT u.user_id, a.erased_pos FROM accounts a JOIN users u ON u.user_nid = a.user_nid"
        " WHERE a.erased_pos IS NOT NULL"
    )
    return dict(found)


def still_leaving(tx: Transaction) -> list[str]:
    """The deactivated users who have not been taken out of their rooms."""
    found = tx.all("SELECT u.user_id FROM accounts a JOIN users u ON u.user_nid = a.user_nid WHERE a.leaving = 1")
    return [user_id for (user_id,) in found]


def has_left(tx: Transaction, user_id: str) -> None:
    """Note that a deactivated user is out of all rooms."""
    tx.execute(
        "UPDATE accounts SET leaving = 0 WHERE user_nid = (SELECT user_nid FROM users WHERE user_id = ?)", (user_id,)
    )


def _changed(tx: Transaction, account: Account) -> None:
    tx.announce(rows.AccountChanged(account.user_nid, account.user_id))
