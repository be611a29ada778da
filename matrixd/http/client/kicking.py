"""`POST /rooms/{roomId}/kick`."""

from matrixd.http.client.removing_body import removal
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.removing import Removing


class Kicking:
    """Taking users out of rooms."""

    def __init__(self, removing: Removing) -> None:
        self._removing = removing

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "POST", "/_matrix/client/v3/rooms/{roomId}/kick", self.kick, spec="post_matrixclientv3roomsroomidkick"
            ),
        ]

    async def kick(self, call: Call) -> object:
        """Kick a user."""
        body = removal(call)
        await self._removing.kick(call.requester, call.path("roomId"), body.user_id, body.extra)
        return {}
