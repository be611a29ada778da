"""`/directory/room/{roomAlias}` and `GET /rooms/{roomId}/aliases`."""

import msgspec

from matrixd.core.identifiers import validate_room_id
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.aliases import Aliases


class _Body(msgspec.Struct):
    room_id: str


class Directory:
    """Room aliases."""

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/client/v3/directory/room/{roomAlias}", self.look_up,
                spec="get_matrixclientv3directoryroomroomalias", auth=Auth.NONE,
            ),
            Route(
                "PUT", "/_matrix/client/v3/directory/room/{roomAlias}", self.create,
                spec="put_matrixclientv3directoryroomroomalias",
            ),
            Route(
                "DELETE", "/_matrix/client/v3/directory/room/{roomAlias}", self.delete,
                spec="delete_matrixclientv3directoryroomroomalias",
            ),
            Route(
                "GET", "/_matrix/client/v3/rooms/{roomId}/aliases", self.of_room,
                spec="get_matrixclientv3roomsroomidaliases",
            ),
        ]

    async def look_up(self, call: Call) -> object:
        """The room of an alias."""
        found = await self._aliases.locate_alias(call.path("roomAlias"))
        return {"room_id": found.room_id, "servers": list(found.servers)}

    async def create(self, call: Call) -> object:
        """Make an alias."""
        room_id = validate_room_id(call.body(_Body).room_id, "room_id")
        await self._aliases.create(call.requester, call.path("roomAlias"), room_id)
        return {}

    async def delete(self, call: Call) -> object:
        """Remove an alias."""
        await self._aliases.delete(call.requester, call.path("roomAlias"))
        return {}

    async def of_room(self, call: Call) -> object:
        """The aliases of a room."""
        return {"aliases": await self._aliases.of_room(call.requester, call.path("roomId"))}
