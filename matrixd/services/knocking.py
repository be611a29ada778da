"""Knocking on rooms. https://spec.matrix.org/v1.19/client-server-api/#knocking-on-rooms"""

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.queries.authentication import Requester
from matrixd.services.limits import Limit
from matrixd.services.member_profiles import MemberProfiles
from matrixd.services.membership import member_draft, send_member
from matrixd.services.remote_knocking import RemoteKnocking
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import RoomLanes
from matrixd.services.suspension import refuse_suspended


class Knocking:
    """Asks for users to be let in."""

    def __init__(
        self,
        heads: RoomHeads,
        lanes: RoomLanes,
        profiles: MemberProfiles,
        remote: RemoteKnocking,
        per_user: Limit,
    ) -> None:
        self._heads = heads
        self._lanes = lanes
        self._profiles = profiles
        self._remote = remote
        self._per_user = per_user

    async def knock(
        self, requester: Requester, room_id: str, extra: Mapping[str, Any], servers: Sequence[str] = ()
    ) -> str:
        """Knock; the ID of the event. Who knocks already, does not knock twice.

        On a room that this server is not in, through one that is; `servers` are those that the client names. Raises
        M_NOT_FOUND for a room of which nobody knows, M_FORBIDDEN where the room or the user's membership rules
        knocking out, M_LIMIT_EXCEEDED, and what other servers say.
        """
        refuse_suspended(requester)
        user_id = requester.user_id
        key = ("m.room.member", user_id)
        head = await self._heads.find(room_id, [key])
        if head is None or not head.is_resident:
            return await self._remote.knock(user_id, room_id, await self._content(user_id, extra), servers)
        event = head.state(key)
        if event is not None and event.membership == "knock":
            return event.event_id
        if head.blocked:
            raise MatrixError(403, "M_FORBIDDEN", "This room is blocked on this server.")
        if not head.version.auth.knock:
            raise MatrixError(403, "M_FORBIDDEN", f"Rooms of version {head.version.identifier} know no knocking.")
        self._per_user.check(user_id)
        content = {**await self._content(user_id, extra), "membership": "knock"}
        return await send_member(self._lanes, room_id, member_draft(user_id, user_id, content))

    async def _content(self, user_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
        return {**await self._profiles.of(user_id), **extra}
