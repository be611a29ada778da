"""What a room looks like from outside: `data/api/client-server/room_summary.yaml` of the specification."""

from matrixd.core.identifiers import is_server_name
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.queries.space_hierarchy import SpaceHierarchy
from matrixd.services.aliases import Aliases


class RoomSummary:
    """`GET /room_summary/{roomIdOrAlias}`, for users and guests."""

    def __init__(self, spaces: SpaceHierarchy, aliases: Aliases) -> None:
        self._spaces = spaces
        self._aliases = aliases

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/client/v1/room_summary/{roomIdOrAlias}", self.summary,
                spec="get_matrixclientv1room_summaryroomidoralias", auth=Auth.GUEST,
            )
        ]  # fmt: skip

    async def summary(self, call: Call) -> object:
        """The summary."""
        servers = [server for server in call.query_all("via") if is_server_name(server)]
        room = await self._aliases.locate(call.path("roomIdOrAlias"))
        return await self._spaces.summary(call.requester.user_nid, room.room_id, [*servers, *room.servers])
