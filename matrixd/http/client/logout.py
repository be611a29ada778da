"""Logging out, and who one is (client-server API, "Login", "Current account information")."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.services.devices import Devices


class LogoutEndpoints:
    """`/logout`, `/logout/all` and `/account/whoami`."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "POST", "/_matrix/client/v3/logout", self.log_out,
                spec="post_matrixclientv3logout", auth=Auth.GUEST,
            ),
            Route(
                "POST", "/_matrix/client/v3/logout/all", self.log_out_everywhere,
                spec="post_matrixclientv3logoutall", auth=Auth.GUEST,
            ),
            Route(
                "GET", "/_matrix/client/v3/account/whoami", self.whoami,
                spec="get_matrixclientv3accountwhoami", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
        ]

    async def log_out(self, call: Call) -> object:
        """End the session, and with it its device."""
        requester = call.requester
        await self._devices.delete(requester.user_nid, requester.user_id, [requester.device_id])
        return {}

    async def log_out_everywhere(self, call: Call) -> object:
        """End all sessions of the user."""
        await self._devices.delete_all(call.requester.user_nid, call.requester.user_id)
        return {}

    async def whoami(self, call: Call) -> object:
        """Whom the access token belongs to."""
        requester = call.requester
        return {"user_id": requester.user_id, "device_id": requester.device_id, "is_guest": requester.is_guest}
