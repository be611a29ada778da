"""A user's devices: list, rename, delete (client-server API, "Device Management")."""

from collections.abc import Callable, Sequence

from matrixd.core.errors import MatrixError
from matrixd.services.last_seen import LastSeen
from matrixd.storage import access_tokens, accounts, devices, refresh_tokens, rows
from matrixd.storage.database import Database
from matrixd.storage.devices import Device
from matrixd.storage.transaction import Transaction

#: Bytes of a display name.
MAX_DISPLAY_NAME = 512

#: `f(tx, user_nid, device_nids)`: deletes what else belongs to devices (keys, pushers, to-device messages).
DeleteMore = Callable[[Transaction, int, Sequence[int]], None]


class Devices:
    """The devices of all local users. `delete_more` runs in the transaction that deletes devices."""

    def __init__(self, database: Database, last_seen: LastSeen, delete_more: Sequence[DeleteMore] = ()) -> None:
        self._database = database
        self._last_seen = last_seen
        self._delete_more = delete_more

    async def of_user(self, user_nid: int) -> list[Device]:
        """All devices of a user, oldest first."""
        found = await self._database.read(devices.by_user, user_nid)
        return [self._last_seen.updated(device) for device in found]

    async def one(self, user_nid: int, device_id: str) -> Device:
        """One device; raises M_NOT_FOUND."""
        device = await self._database.read(devices.by_id, user_nid, device_id)
        if device is None:
            raise _unknown(device_id)
        return self._last_seen.updated(device)

    async def rename(self, user_nid: int, device_id: str, display_name: str | None) -> None:
        """Give a device another name, or see that it exists; raises M_NOT_FOUND."""
        if display_name is None:
            await self.one(user_nid, device_id)
        elif not await self._database.write(
            devices.rename, user_nid, device_id, validate_display_name(display_name, "display_name")
        ):
            raise _unknown(device_id)

    async def delete(self, user_nid: int, user_id: str, device_ids: Sequence[str]) -> None:
        """Delete devices, with their tokens; those that do not exist are deleted already."""
        wanted = frozenset(device_ids)

        def delete(tx: Transaction) -> None:
            mine = devices.by_user(tx, user_nid)
            self.end_in(tx, user_nid, user_id, [device for device in mine if device.device_id in wanted])

        await self._database.write(delete)

    async def delete_all(self, user_nid: int, user_id: str) -> None:
        """Delete all devices of a user."""
        await self._database.write(self.end_all_in, user_nid, user_id)

    async def delete_stale(self, before_ts: int) -> None:
        """Log out the devices that were neither made nor used since `before_ts` (milliseconds)."""

        def delete(tx: Transaction) -> int:
            found = devices.stale(tx, before_ts, limit=100)
            for user_id, device in found:
                self.end_in(tx, device.user_nid, user_id, [device])
            return len(found)

        while await self._database.write(delete):
            pass

    def end_all_in(self, tx: Transaction, user_nid: int, user_id: str, keep_device_nid: int | None = None) -> None:
        """Delete all devices of a user but `keep_device_nid`, as part of a transaction."""
        ended = [device for device in devices.by_user(tx, user_nid) if device.device_nid != keep_device_nid]
        self.end_in(tx, user_nid, user_id, ended)

    def end_in(self, tx: Transaction, user_nid: int, user_id: str, ended: Sequence[Device]) -> None:
        """Delete devices of one user with all that belongs to them, as part of a transaction."""
        if not ended:
            return
        device_nids = [device.device_nid for device in ended]
        access_tokens.delete_of_devices(tx, device_nids)
        refresh_tokens.delete_of_devices(tx, device_nids)
        for delete in self._delete_more:
            delete(tx, user_nid, device_nids)
        devices.delete(tx, user_id, ended)
        tx.announce(rows.AccountChanged(user_nid, user_id))

    async def whois(self, user_id: str) -> list[Device] | None:
        """The devices of a local user; None if there is no such account."""

        def load(tx: Transaction) -> list[Device] | None:
            account = accounts.by_user_id(tx, user_id)
            return None if account is None else devices.by_user(tx, account.user_nid)

        found = await self._database.read(load)
        return None if found is None else [self._last_seen.updated(device) for device in found]


def validate_display_name(name: str, field: str) -> str:
    """The display name of a device, or M_INVALID_PARAM."""
    if len(name.encode("utf-8", "surrogatepass")) > MAX_DISPLAY_NAME or "\0" in name:
        sentence = f"'{field}' must have at most {MAX_DISPLAY_NAME} bytes, and no NUL."
        raise MatrixError(400, "M_INVALID_PARAM", sentence)
    return name


def _unknown(device_id: str) -> MatrixError:
    return MatrixError(404, "M_NOT_FOUND", f"You have no device with the ID '{device_id[:200]}'.")
