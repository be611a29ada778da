"""The users of this server as other servers get them: profiles and devices.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
"""

from collections.abc import Iterable
from typing import Any

import orjson

from matrixd.core.errors import MatrixError
from matrixd.storage import accounts, device_list_changes, devices, profiles
from matrixd.storage.accounts import Account
from matrixd.storage.database import Database
from matrixd.storage.devices import Device
from matrixd.storage.transaction import Transaction

#: Fields that every profile may have: one that is not set is left out, where another field does not exist.
_DEFINED = frozenset({"displayname", "avatar_url", "m.tz"})


class LocalUsers:
    """Reads them. With `shows_device_names` other servers see how users call their devices."""

    def __init__(self, database: Database, shows_device_names: bool) -> None:
        self._database = database
        self._shows_device_names = shows_device_names

    async def profile(self, user_id: str, field: str | None) -> dict[str, Any]:
        """The whole profile, or one field of it. Raises M_NOT_FOUND."""
        stored = await self._database.read(_profile, user_id)
        if field is None:
            return {name: orjson.loads(value) for name, value in stored.items()}
        if field not in stored and field not in _DEFINED:
            raise MatrixError(404, "M_NOT_FOUND", f"The profile of {user_id} has no field '{field}'.")
        return {field: orjson.loads(stored[field])} if field in stored else {}

    async def devices(self, user_id: str) -> dict[str, Any]:
        """The answer to `/user/devices`: devices have no keys here yet. Raises M_NOT_FOUND."""
        stream_id, found = await self._database.read(_devices, user_id)
        shown = [self._shown(user_id, device) for device in found]
        return {"user_id": user_id, "stream_id": stream_id, "devices": shown}

    async def existing(self, user_ids: Iterable[str]) -> list[str]:
        """Those of some users that have an account here that can be used."""
        return await self._database.read(_existing, list(user_ids))

    def _shown(self, user_id: str, device: Device) -> dict[str, Any]:
        keys = {"user_id": user_id, "device_id": device.device_id, "algorithms": [], "keys": {}, "signatures": {}}
        shown: dict[str, Any] = {"device_id": device.device_id, "keys": keys}
        if self._shows_device_names and device.display_name is not None:
            shown["device_display_name"] = device.display_name
        return shown


def _account(tx: Transaction, user_id: str) -> Account:
    account = accounts.by_user_id(tx, user_id)
    if account is None:
        raise MatrixError(404, "M_NOT_FOUND", f"{user_id} is no user of this server.")
    return account


def _profile(tx: Transaction, user_id: str) -> dict[str, str]:
    return profiles.get(tx, _account(tx, user_id).user_nid)


def _devices(tx: Transaction, user_id: str) -> tuple[int, list[Device]]:
    user_nid = _account(tx, user_id).user_nid
    return device_list_changes.position(tx, user_nid).pos, devices.by_user(tx, user_nid)


def _existing(tx: Transaction, user_ids: list[str]) -> list[str]:
    found = (accounts.by_user_id(tx, user_id) for user_id in user_ids)
    return [account.user_id for account in found if account is not None and not account.is_deactivated]
