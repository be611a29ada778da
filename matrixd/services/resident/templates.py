"""Templates of membership events for users of other servers: ``make_join``, ``make_leave``, ``make_knock``.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from collections.abc import Collection
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.services.resident.rooms_of_others import RoomsOfOthers, check_user
from matrixd.services.restricted_joins import JOIN_RULES, Condition, RestrictedJoins
from matrixd.services.room_head import RoomHead
from matrixd.services.room_lanes import Draft, RoomLanes

#: What the user's own server makes.
_OF_THE_SENDER = ("hashes", "signatures", "event_id")


class MembershipTemplates:
    """Makes templates on the room's newest end, of events that would be allowed now."""

    def __init__(self, server_name: str, rooms: RoomsOfOthers, lanes: RoomLanes, restricted: RestrictedJoins) -> None:
        self._server_name = server_name
        self._rooms = rooms
        self._lanes = lanes
        self._restricted = restricted

    async def join(self, origin: str, room_id: str, user_id: str, versions: Collection[str]) -> dict[str, Any]:
        """The answer to ``make_join``; `versions` are the room versions that the other server knows.

        Raises M_FORBIDDEN, M_NOT_FOUND, M_INCOMPATIBLE_ROOM_VERSION, M_UNABLE_TO_AUTHORISE_JOIN,
        M_UNABLE_TO_GRANT_JOIN.
        """
        check_user(origin, user_id)
        head = await self._rooms.room_with_members(origin, room_id, [("m.room.member", user_id), JOIN_RULES])
        _check_version(head, versions)
        content = {"membership": "join"}
        if self._restricted.applies(head, user_id):
            content["join_authorised_via_users_server"] = await self._authoriser(head, user_id)
        return await self._made(head, user_id, content)

    async def leave(self, origin: str, room_id: str, user_id: str) -> dict[str, Any]:
        """The answer to ``make_leave``. Raises M_FORBIDDEN, M_NOT_FOUND."""
        check_user(origin, user_id)
        head = await self._rooms.room(origin, room_id)
        return await self._made(head, user_id, {"membership": "leave"})

    async def knock(self, origin: str, room_id: str, user_id: str, versions: Collection[str]) -> dict[str, Any]:
        """The answer to ``make_knock``. Raises as `join`."""
        check_user(origin, user_id)
        head = await self._rooms.room_with_members(origin, room_id, [JOIN_RULES])
        _check_version(head, versions)
        if not head.version.auth.knock:
            raise MatrixError(403, "M_FORBIDDEN", f"Rooms of version {head.version.identifier} know no knocking.")
        return await self._made(head, user_id, {"membership": "knock"})

    async def _authoriser(self, head: RoomHead, user_id: str) -> str:
        match await self._restricted.condition(head, user_id):
            case Condition.UNKNOWN:
                sentence = "This server knows none of the rooms whose members may join this room."
                raise MatrixError(400, "M_UNABLE_TO_AUTHORISE_JOIN", sentence)
            case Condition.FAILED:
                sentence = f"{user_id} is in none of the rooms whose members may join this room."
                raise MatrixError(403, "M_FORBIDDEN", sentence)
        authoriser = await self._restricted.authoriser(head)
        if authoriser is None:
            sentence = "No user of this server may invite to this room."
            raise MatrixError(400, "M_UNABLE_TO_GRANT_JOIN", sentence)
        return authoriser

    async def _made(self, head: RoomHead, user_id: str, content: dict[str, str]) -> dict[str, Any]:
        event = await self._lanes.build(head.room_id, Draft(user_id, "m.room.member", content, state_key=user_id))
        template = {name: value for name, value in event.pdu.items() if name not in _OF_THE_SENDER}
        template["origin"] = self._server_name
        return {"room_version": head.version.identifier, "event": template}


def _check_version(head: RoomHead, versions: Collection[str]) -> None:
    if head.version.identifier not in versions:
        raise MatrixError(
            400,
            "M_INCOMPATIBLE_ROOM_VERSION",
            f"The room has version {head.version.identifier}, which your server does not say that it knows.",
            room_version=head.version.identifier,
        )
