"""Knocking on rooms. https://spec.matrix.org/v1.19/client-server-api/#knocking-on-rooms"""

from collections.abc import Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.queries.authentication import Requester
from matrixd.services.limits import Limit
from matrixd.services.member_profiles import MemberProfiles
from matrixd.services.membership import member_draft, send_member
from matrixd.services.room_head import RoomHeads, UnknownRoom
from matrixd.services.room_lanes import RoomLanes
from matrixd.services.suspension import refuse_suspended


class Knocking:
    """Asks for users to be let in."""

    def __init__(self, heads: RoomHeads, lanes: RoomLanes, profiles: MemberProfiles, per_user: Limit) -> None:
        self._heads = heads
        self._lanes = lanes
        self._profiles = profiles
        self._per_user = per_user

    async def knock(self, requester: Requester, room_id: str, extra: Mapping[str, Any]) -> str:
        """Knock; the ID of the event. Who knocks already, does not knock twice.

        Raises M_NOT_FOUND for an unknown room, M_FORBIDDEN where the room or the user's membership rules knocking out.
        """
        refuse_suspended(requester)
        user_id = requester.user_id
        key = ("m.room.member", user_id)
        try:
            head = await self._heads.get(room_id, [key])
        except UnknownRoom:
            raise MatrixError(404, "M_NOT_FOUND", f"This server knows no room {room_id}.") from None
        event = head.state(key)
        if event is not None and event.membership == "knock":
            return event.event_id
        if head.blocked:
            raise MatrixError(403, "M_FORBIDDEN", "This room is blocked on this server.")
        if not head.version.auth.knock:
            raise MatrixError(403, "M_FORBIDDEN", f"Rooms of version {head.version.identifier} know no knocking.")
        self._per_user.check(user_id)
        content = {**await self._profiles.of(user_id), **extra, "membership": "knock"}
        return await send_member(self._lanes, room_id, member_draft(user_id, user_id, content))
