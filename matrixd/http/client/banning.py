"""`POST /rooms/{roomId}/ban` and `POST /rooms/{roomId}/unban`."""

from matrixd.http.client.removing_body import removal
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.removing import Removing


class Banning:
    """Banning users from rooms."""

    def __init__(self, removing: Removing) -> None:
        self._removing = removing

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("POST", "/_matrix/client/v3/rooms/{roomId}/ban", self.ban, spec="post_matrixclientv3roomsroomidban"),
            Route(
                "POST", "/_matrix/client/v3/rooms/{roomId}/unban", self.unban,
                spec="post_matrixclientv3roomsroomidunban",
            ),
        ]

    async def ban(self, call: Call) -> object:
        """Ban a user."""
        body = removal(call)
        await self._removing.ban(call.requester, call.path("roomId"), body.user_id, body.extra)
        return {}

    async def unban(self, call: Call) -> object:
        """Let a banned user come back."""
        body = removal(call)
        await self._removing.unban(call.requester, call.path("roomId"), body.user_id, body.extra)
        return {}
