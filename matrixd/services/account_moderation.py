"""Locking and suspending accounts (client-server API, "Account moderation", "Server Administration")."""

from collections.abc import Callable

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import domain_of, validate_user_id
from matrixd.queries.authentication import Requester
from matrixd.storage import accounts
from matrixd.storage.accounts import Account
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

_SetFlag = Callable[[Transaction, Account, bool], None]


class AccountModeration:
    """What administrators of the server do to accounts. The caller has seen that the requester is one."""

    def __init__(self, database: Database, server_name: str) -> None:
        self._database = database
        self._server_name = server_name

    async def target(self, requester: Requester, user_id: str) -> Account:
        """The account to look at; raises M_INVALID_PARAM, M_FORBIDDEN for another administrator, M_NOT_FOUND."""
        return await self._database.read(self._target_in, requester, user_id)

    async def lock(self, requester: Requester, user_id: str, locked: bool) -> None:
        """Lock or unlock an account; raises as `target`, and M_FORBIDDEN for the requester's own."""
        await self._set(requester, user_id, accounts.set_locked, locked)

    async def suspend(self, requester: Requester, user_id: str, suspended: bool) -> None:
        """Suspend an account, or end that; raises as `target`, and M_FORBIDDEN for the requester's own."""
        await self._set(requester, user_id, accounts.set_suspended, suspended)

    async def _set(self, requester: Requester, user_id: str, set_flag: _SetFlag, value: bool) -> None:
        if user_id == requester.user_id:
            raise MatrixError(403, "M_FORBIDDEN", "You cannot do this to your own account.")

        def change(tx: Transaction) -> None:
            set_flag(tx, self._target_in(tx, requester, user_id), value)

        await self._database.write(change)

    def _target_in(self, tx: Transaction, requester: Requester, user_id: str) -> Account:
        if domain_of(validate_user_id(user_id, "'userId'")) != self._server_name:
            raise MatrixError(400, "M_INVALID_PARAM", "'userId' is not a user of this server.")
        account = accounts.by_user_id(tx, user_id)
        if account is not None and account.is_admin and user_id != requester.user_id:
            raise MatrixError(403, "M_FORBIDDEN", "You cannot do this to another administrator.")
        if account is None or account.is_deactivated:
            raise MatrixError(404, "M_NOT_FOUND", f"There is no account {user_id}.")
        return account
