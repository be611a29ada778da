"""`POST /rooms/{roomId}/leave` and `POST /rooms/{roomId}/forget`."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.leaving import Leaving
from matrixd.services.membership import checked_extra

#: https://spec.matrix.org/v1.19/client-server-api/#mforget_forced_upon_leave-capability
CAPABILITIES: dict[str, dict[str, object]] = {"m.forget_forced_upon_leave": {"enabled": False}}


class LeavingEndpoints:
    """Leaving and forgetting rooms."""

    def __init__(self, leaving: Leaving) -> None:
        self._leaving = leaving

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "POST", "/_matrix/client/v3/rooms/{roomId}/leave", self.leave,
                spec="post_matrixclientv3roomsroomidleave", auth=Auth.GUEST,
            ),
            Route(
                "POST", "/_matrix/client/v3/rooms/{roomId}/forget", self.forget,
                spec="post_matrixclientv3roomsroomidforget",
            ),
        ]

    async def leave(self, call: Call) -> object:
        """Leave a room, decline an invite, or take a knock back."""
        extra = {name: value for name, value in checked_extra(call.json_object()).items() if name == "reason"}
        await self._leaving.leave(call.requester.user_id, call.path("roomId"), extra)
        return {}

    async def forget(self, call: Call) -> object:
        """Forget a room that the user has left."""
        await self._leaving.forget(call.requester.user_nid, call.path("roomId"))
        return {}
