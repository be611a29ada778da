"""Looking users up, locking and suspending them (client-server API, "Server Administration")."""

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.account_moderation import AccountModeration
from matrixd.services.devices import Devices
from matrixd.storage.devices import Device

_LOCK = "/_matrix/client/v1/admin/lock/{userId}"
_SUSPEND = "/_matrix/client/v1/admin/suspend/{userId}"


class LockBody(msgspec.Struct):
    """The body of `PUT /admin/lock/{userId}`."""

    locked: bool


class SuspendBody(msgspec.Struct):
    """The body of `PUT /admin/suspend/{userId}`."""

    suspended: bool


class ServerAdministration:
    """`/admin/whois`, `/admin/lock` and `/admin/suspend`."""

    def __init__(self, devices: Devices, moderation: AccountModeration) -> None:
        self._devices = devices
        self._moderation = moderation

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/client/v3/admin/whois/{userId}", self.whois,
                spec="get_matrixclientv3adminwhoisuserid", aliases=("/_synapse/admin/v1/whois/{userId}",),
            ),
            Route("GET", _LOCK, self.is_locked, spec="get_matrixclientv1adminlockuserid", auth=Auth.ADMIN),
            Route("PUT", _LOCK, self.lock, spec="put_matrixclientv1adminlockuserid", auth=Auth.ADMIN),
            Route("GET", _SUSPEND, self.is_suspended, spec="get_matrixclientv1adminsuspenduserid", auth=Auth.ADMIN),
            Route("PUT", _SUSPEND, self.suspend, spec="put_matrixclientv1adminsuspenduserid", auth=Auth.ADMIN),
        ]

    async def whois(self, call: Call) -> object:
        """From where a user's devices were used: for the user, and for administrators."""
        user_id = call.path("userId")
        if user_id != call.requester.user_id and not call.requester.is_admin:
            raise MatrixError(403, "M_FORBIDDEN", "You may only look up yourself.")
        found = await self._devices.whois(user_id)
        if found is None:
            raise MatrixError(404, "M_NOT_FOUND", "There is no such account on this server.")
        return {
            "user_id": user_id,
            "devices": {device.device_id: {"sessions": [{"connections": _connections(device)}]} for device in found},
        }

    async def is_locked(self, call: Call) -> object:
        """Whether an account is locked."""
        return {"locked": (await self._moderation.target(call.requester, call.path("userId"))).is_locked}

    async def lock(self, call: Call) -> object:
        """Lock or unlock an account."""
        body = call.body(LockBody)
        await self._moderation.lock(call.requester, call.path("userId"), body.locked)
        return {"locked": body.locked}

    async def is_suspended(self, call: Call) -> object:
        """Whether an account is suspended."""
        return {"suspended": (await self._moderation.target(call.requester, call.path("userId"))).is_suspended}

    async def suspend(self, call: Call) -> object:
        """Suspend an account, or end that."""
        body = call.body(SuspendBody)
        await self._moderation.suspend(call.requester, call.path("userId"), body.suspended)
        return {"suspended": body.suspended}


def _connections(device: Device) -> list[dict[str, object]]:
    if device.last_seen_ts is None:
        return []
    fields = {
        "ip": device.last_seen_ip,
        "last_seen": device.last_seen_ts,
        "user_agent": device.last_seen_user_agent,
    }
    return [{name: value for name, value in fields.items() if value is not None}]
