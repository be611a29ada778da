"""Ending an account for ever (client-server API, "Account deactivation")."""

from collections.abc import Awaitable, Callable, Sequence

from matrixd.core.errors import MatrixError
from matrixd.services.devices import Devices
from matrixd.storage import accounts, login_tokens, uia_sessions
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background
from matrixd.util.clock import Clock


class Deactivation:
    """Deactivates accounts.

    `leave_all_rooms(user_id)` takes the user out of all rooms, and rejects the invitations; it may be called again
    after it failed halfway. In the transaction each `f(tx, user_nid)` of `delete_data` is run, and with `erase` each of
    `erase_data` too.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        devices: Devices,
        leave_all_rooms: Callable[[str], Awaitable[None]],
        delete_data: Sequence[Callable[[Transaction, int], None]] = (),
        erase_data: Sequence[Callable[[Transaction, int], None]] = (),
    ) -> None:
        self._database = database
        self._clock = clock
        self._devices = devices
        self._leave_all_rooms = leave_all_rooms
        self._delete_data = tuple(delete_data)
        self._erase_data = tuple(erase_data)

    async def deactivate(self, user_nid: int, erase: bool) -> None:
        """End an account. The rooms are left in the background: that may take long, and a restart goes on with it."""
        now_ms = self._clock.now_ms()

        def deactivate(tx: Transaction) -> str:
            account = accounts.by_nid(tx, user_nid)
            if account is None or account.is_deactivated:
                raise MatrixError(404, "M_NOT_FOUND", "There is no such account.")
            accounts.deactivate(tx, account, erase, now_ms)
            self._devices.end_all_in(tx, user_nid, account.user_id)
            login_tokens.delete_of_user(tx, user_nid)
            uia_sessions.delete_of_user(tx, user_nid)
            for delete in (*self._delete_data, *(self._erase_data if erase else ())):
                delete(tx, user_nid)
            return account.user_id

        user_id = await self._database.write(deactivate)
        in_background(f"taking {user_id} out of all rooms", self._leave(user_id))

    async def resume(self) -> None:
        """Go on, in the background, with what was under way when the server stopped; to be called once at start."""
        user_ids = await self._database.read(accounts.still_leaving)
        in_background("taking deactivated users out of all rooms", self._leave_each(user_ids))

    async def _leave_each(self, user_ids: Sequence[str]) -> None:
        for user_id in user_ids:
            # One that fails must not keep the others.
            await in_background(f"taking {user_id} out of all rooms", self._leave(user_id))

    async def _leave(self, user_id: str) -> None:
        await self._leave_all_rooms(user_id)
        await self._database.write(accounts.has_left, user_id)
