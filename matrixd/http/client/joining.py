"""`POST /rooms/{roomId}/join` and `POST /join/{roomIdOrAlias}`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import validate_room_id
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.aliases import Aliases, Located
from matrixd.services.joining import Joining, ThirdPartySigned
from matrixd.services.membership import checked_extra


class JoiningEndpoints:
    """Joining rooms, by ID and by alias."""

    def __init__(self, joining: Joining, aliases: Aliases) -> None:
        self._joining = joining
        self._aliases = aliases

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "POST", "/_matrix/client/v3/rooms/{roomId}/join", self.join_by_id,
                spec="post_matrixclientv3roomsroomidjoin", auth=Auth.GUEST,
            ),
            Route(
                "POST", "/_matrix/client/v3/join/{roomIdOrAlias}", self.join,
                spec="post_matrixclientv3joinroomidoralias", auth=Auth.GUEST,
            ),
        ]

    async def join_by_id(self, call: Call) -> object:
        """Join a room."""
        return await self._join(call, Located(validate_room_id(call.path("roomId"), "roomId")))

    async def join(self, call: Call) -> object:
        """Join a room that may be named by an alias."""
        return await self._join(call, await self._aliases.locate(call.path("roomIdOrAlias")))

    async def _join(self, call: Call, room: Located) -> object:
        body = call.json_object()
        servers = [*servers_named(call), *room.servers]
        await self._joining.join(call.requester, room.room_id, checked_extra(body), _third_party(body), servers)
        return {"room_id": room.room_id}


def servers_named(call: Call) -> list[str]:
    """The servers that a client says are in the room: `via`, and `server_name`, its older name."""
    return [*call.query_all("via"), *call.query_all("server_name")]


def _third_party(body: Mapping[str, Any]) -> ThirdPartySigned | None:
    signed = body.get("third_party_signed")
    if signed is None:
        return None
    try:
        return msgspec.convert(signed, ThirdPartySigned)
    except msgspec.ValidationError as error:
        raise MatrixError(400, "M_BAD_JSON", f"Field 'third_party_signed' of the body: {error}.") from None
