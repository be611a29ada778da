"""`POST /knock/{roomIdOrAlias}`."""

from matrixd.http.client.joining import servers_named
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.aliases import Aliases
from matrixd.services.knocking import Knocking
from matrixd.services.membership import checked_extra


class KnockingEndpoints:
    """Knocking on rooms."""

    def __init__(self, knocking: Knocking, aliases: Aliases) -> None:
        self._knocking = knocking
        self._aliases = aliases

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "POST", "/_matrix/client/v3/knock/{roomIdOrAlias}", self.knock,
                spec="post_matrixclientv3knockroomidoralias",
            ),
        ]

    async def knock(self, call: Call) -> object:
        """Knock on a room."""
        extra = {name: value for name, value in checked_extra(call.json_object()).items() if name == "reason"}
        room = await self._aliases.locate(call.path("roomIdOrAlias"))
        servers = [*servers_named(call), *room.servers]
        await self._knocking.knock(call.requester, room.room_id, extra, servers)
        return {"room_id": room.room_id}
