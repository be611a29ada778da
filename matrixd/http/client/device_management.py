"""Devices (client-server API, "Device Management")."""

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.http.client.interactive import MAX_BODY, interactive, operation_of
from matrixd.http.client.interactive import Auth as AuthField
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.devices import Devices
from matrixd.services.user_confirmation import UserConfirmation
from matrixd.storage.devices import Device

_DEVICE = "/_matrix/client/v3/devices/{deviceId}"


class RenameBody(msgspec.Struct):
    """The body of `PUT /devices/{deviceId}`."""

    display_name: str | None = None


class DeleteBody(msgspec.Struct):
    """The body of `DELETE /devices/{deviceId}`."""

    auth: AuthField = None


class DeleteManyBody(msgspec.Struct):
    """The body of `POST /delete_devices`. A later request of a session may leave out the devices."""

    auth: AuthField = None
    devices: list[str] | None = None


class DeviceManagement:
    """`/devices` and `/delete_devices`."""

    def __init__(self, devices: Devices, confirmation: UserConfirmation) -> None:
        self._devices = devices
        self._confirmation = confirmation

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/client/v3/devices", self.all,
                spec="get_matrixclientv3devices", auth=Auth.GUEST,
            ),
            Route("GET", _DEVICE, self.one, spec="get_matrixclientv3devicesdeviceid", auth=Auth.GUEST),
            Route("PUT", _DEVICE, self.rename, spec="put_matrixclientv3devicesdeviceid", auth=Auth.GUEST),
            Route("DELETE", _DEVICE, self.delete, spec="delete_matrixclientv3devicesdeviceid", max_body=MAX_BODY),
            Route(
                "POST", "/_matrix/client/v3/delete_devices", self.delete_many,
                spec="post_matrixclientv3delete_devices", max_body=MAX_BODY,
            ),
        ]

    async def all(self, call: Call) -> object:
        """The user's devices."""
        return {"devices": [_answer(device) for device in await self._devices.of_user(call.requester.user_nid)]}

    async def one(self, call: Call) -> object:
        """One device."""
        return _answer(await self._devices.one(call.requester.user_nid, call.path("deviceId")))

    async def rename(self, call: Call) -> object:
        """Give a device another display name."""
        body = call.body(RenameBody)
        await self._devices.rename(call.requester.user_nid, call.path("deviceId"), body.display_name)
        return {}

    @interactive
    async def delete(self, call: Call) -> object:
        """Log a device out."""
        body = call.body(DeleteBody)
        await self._confirmation.confirm(call.requester, operation_of(call), body.auth, {})
        await self._devices.delete(call.requester.user_nid, call.requester.user_id, [call.path("deviceId")])
        return {}

    @interactive
    async def delete_many(self, call: Call) -> object:
        """Log several devices out."""
        body = call.body(DeleteManyBody)
        if body.devices is None and not (body.auth or {}).get("session"):
            raise MatrixError(400, "M_BAD_JSON", "Field 'devices' is missing.")
        stored = {"devices": body.devices}
        proof = await self._confirmation.confirm(call.requester, operation_of(call), body.auth, stored)
        device_ids = proof.request.get("devices") if body.devices is None else body.devices
        await self._devices.delete(call.requester.user_nid, call.requester.user_id, device_ids or [])
        return {}


def _answer(device: Device) -> dict[str, object]:
    fields = {
        "device_id": device.device_id,
        "display_name": device.display_name,
        "last_seen_ip": device.last_seen_ip,
        "last_seen_ts": device.last_seen_ts,
    }
    return {name: value for name, value in fields.items() if value is not None}
