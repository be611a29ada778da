"""Kicking, banning and unbanning.

https://spec.matrix.org/v1.19/client-server-api/#banning-users-in-a-room
"""

from collections.abc import Collection, Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import validate_user_id
from matrixd.queries.authentication import Requester
from matrixd.services.membership import member_draft, send_member
from matrixd.services.room_head import RoomHead
from matrixd.services.room_lanes import RoomLanes
from matrixd.services.suspension import refuse_suspended

_PRESENT = ("join", "invite", "knock")


class Removing:
    """Takes users out of rooms at the wish of others. Each method answers the ID of the event that does it."""

    def __init__(self, lanes: RoomLanes) -> None:
        self._lanes = lanes

    async def kick(self, requester: Requester, room_id: str, user_id: str, extra: Mapping[str, Any]) -> str:
        """Take a user out who is in the room, invited or knocking. Raises M_FORBIDDEN for other users."""
        return await self._send_leave(requester, room_id, user_id, extra, _PRESENT, "is not in the room")

    async def unban(self, requester: Requester, room_id: str, user_id: str, extra: Mapping[str, Any]) -> str:
        """Let a banned user come back. Raises M_FORBIDDEN for a user who is not banned."""
        return await self._send_leave(requester, room_id, user_id, extra, ("ban",), "is not banned")

    async def remove(self, requester: Requester, room_id: str, user_id: str, extra: Mapping[str, Any]) -> str:
        """Kick or unban, whatever brings the user's membership to `leave`."""
        return await self._send_leave(
            requester, room_id, user_id, extra, (*_PRESENT, "ban"), "is neither in the room nor banned"
        )

    async def ban(self, requester: Requester, room_id: str, user_id: str, extra: Mapping[str, Any]) -> str:
        """Ban a user, in the room or not."""
        refuse_suspended(requester)
        validate_user_id(user_id, "user_id")
        draft = member_draft(requester.user_id, user_id, {**extra, "membership": "ban"})
        return await send_member(self._lanes, room_id, draft)

    async def _send_leave(
        self,
        requester: Requester,
        room_id: str,
        user_id: str,
        extra: Mapping[str, Any],
        memberships: Collection[str],
        otherwise: str,
    ) -> str:
        refuse_suspended(requester)
        validate_user_id(user_id, "user_id")

        def check(head: RoomHead) -> None:
            if head.membership(requester.user_id) != "join":
                raise MatrixError(403, "M_FORBIDDEN", f"You are not in {room_id}.")
            if head.membership(user_id) not in memberships:
                raise MatrixError(403, "M_FORBIDDEN", f"{user_id} {otherwise}.")

        draft = member_draft(requester.user_id, user_id, {**extra, "membership": "leave"}, check=check)
        return await send_member(self._lanes, room_id, draft)
