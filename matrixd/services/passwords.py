"""Passwords: what a new one must have, whether one is right, and changing it."""

from matrixd.config.accounts import PasswordPolicy
from matrixd.core.errors import MatrixError
from matrixd.services.devices import Devices
from matrixd.services.limits import Limit
from matrixd.services.password_hashing import PasswordHasher
from matrixd.storage import accounts, login_tokens, uia_sessions
from matrixd.storage.accounts import Account
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock
from matrixd.util.ratelimit import RateLimiter

#: Bytes of a password, so that nobody has us normalise and hash a novel.
MAX_PASSWORD = 512


class Passwords:
    """The passwords of local users. `failures` limits wrong guesses for each account."""

    def __init__(
        self,
        database: Database,
        hasher: PasswordHasher,
        policy: PasswordPolicy,
        failures: RateLimiter,
        devices: Devices,
        clock: Clock,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._policy = policy
        self._failures = Limit(failures, clock, "Too many wrong passwords")
        self._devices = devices

    def validate_new(self, password: str) -> None:
        """Raises M_INVALID_PARAM, or M_WEAK_PASSWORD if the policy does not allow the password."""
        validate_new_password(password, self._policy)

    async def hash_new(self, password: str) -> str:
        """The hash of a new password; raises as `validate_new`."""
        self.validate_new(password)
        return await self._hasher.hash(password)

    async def owner(self, user_id: str, password: str) -> Account | None:
        """The account, if the password is right; None for a wrong one, an unknown or deactivated user.

        Takes as long in each case. A user ID may be written in another case than the account's, unless two accounts
        differ only in that. Raises M_LIMIT_EXCEEDED after too many wrong passwords.
        """
        key = user_id.lower()
        self._failures.check(key, count=False)
        account = await self._database.read(find_account, user_id)
        stored = None if account is None else account.password_hash
        acceptable = len(password.encode("utf-8", "surrogatepass")) <= MAX_PASSWORD
        if acceptable and await self._hasher.is_password(password, stored):
            return account
        self._failures.count(key)
        return None

    async def has_password(self, user_nid: int) -> bool:
        """Whether the user can authenticate with a password."""
        account = await self._database.read(accounts.by_nid, user_nid)
        return account is not None and account.password_hash is not None

    async def change(
        self, user_nid: int, password_hash: str, logout_devices: bool, keep_device_nid: int | None = None
    ) -> None:
        """Store a new password; with `logout_devices`, all devices but `keep_device_nid` are logged out.

        Raises M_USER_DEACTIVATED or M_USER_LOCKED.
        """

        def change(tx: Transaction) -> None:
            account = open_account(tx, user_nid)
            set_password_in(tx, user_nid, password_hash)
            if logout_devices:
                self._devices.end_all_in(tx, user_nid, account.user_id, keep_device_nid)

        await self._database.write(change)


def set_password_in(tx: Transaction, user_nid: int, password_hash: str) -> None:
    """Store a new password; what was begun with the old one ends."""
    accounts.set_password(tx, user_nid, password_hash)
    login_tokens.delete_of_user(tx, user_nid)
    uia_sessions.delete_of_user(tx, user_nid)


def open_account(tx: Transaction, user_nid: int) -> Account:
    """An account that may be used, for who proved that it is theirs; raises M_USER_DEACTIVATED or M_USER_LOCKED."""
    account = accounts.by_nid(tx, user_nid)
    if account is None or account.is_deactivated:
        raise MatrixError(403, "M_USER_DEACTIVATED", "This account has been deactivated.")
    if account.is_locked:
        raise MatrixError(401, "M_USER_LOCKED", "This account has been locked.", soft_logout=True)
    return account


def find_account(tx: Transaction, user_id: str) -> Account | None:
    """The account of a user ID, that may be written in another case where that is not ambiguous."""
    account = accounts.by_user_id(tx, user_id)
    if account is None:
        similar = accounts.by_folded_id(tx, user_id)
        account = similar[0] if len(similar) == 1 else None
    return account


def validate_new_password(password: str, policy: PasswordPolicy) -> None:
    """Raises M_INVALID_PARAM for what can be no password, and M_WEAK_PASSWORD for what the policy does not allow."""
    if not password or "\0" in password or len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD:
        sentence = f"The password must have 1 to {MAX_PASSWORD} bytes, and no NUL."
        raise MatrixError(400, "M_INVALID_PARAM", sentence)
    missing = _missing(password, policy) if policy.enabled else []
    if missing:
        raise MatrixError(400, "M_WEAK_PASSWORD", f"The password must have {', '.join(missing)}.")


def _missing(password: str, policy: PasswordPolicy) -> list[str]:
    wanted = (
        (len(password) >= policy.minimum_length, f"at least {policy.minimum_length} characters"),
        (not policy.require_digit or any(c.isdigit() for c in password), "a digit"),
        (not policy.require_symbol or any(not c.isalnum() for c in password), "a symbol"),
        (not policy.require_lowercase or any(c.islower() for c in password), "a lower-case letter"),
        (not policy.require_uppercase or any(c.isupper() for c in password), "an upper-case letter"),
    )
    return [what for fulfilled, what in wanted if not fulfilled]
