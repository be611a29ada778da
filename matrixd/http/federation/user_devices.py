"""Users' devices for other servers: `data/api/server-server/user_devices.yaml` of the specification."""

from matrixd.core.identifiers import validate_user_id
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.federation.local_users import LocalUsers


class UserDevices:
    """`/user/devices`."""

    def __init__(self, users: LocalUsers) -> None:
        self._users = users

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/user/devices/{userId}", self.devices,
                spec="get_matrixfederationv1userdevicesuserid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            )
        ]  # fmt: skip

    async def devices(self, call: Call) -> object:
        """The devices of a user."""
        return await self._users.devices(validate_user_id(call.path("userId"), "userId"))
