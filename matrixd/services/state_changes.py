"""Setting room state. https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey"""

from collections.abc import Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.queries.authentication import Requester
from matrixd.services.canonical_aliases import CanonicalAliases
from matrixd.services.event_checks import check_state, check_state_key, check_type
from matrixd.services.membership import MembershipChanges
from matrixd.services.room_head import RoomHeads, UnknownRoom
from matrixd.services.room_lanes import Draft, RoomLanes
from matrixd.services.suspension import refuse_suspended


class StateChanges:
    """Sets state as clients write it."""

    def __init__(
        self,
        server_name: str,
        heads: RoomHeads,
        lanes: RoomLanes,
        membership: MembershipChanges,
        canonical_aliases: CanonicalAliases,
    ) -> None:
        self._server_name = server_name
        self._heads = heads
        self._lanes = lanes
        self._membership = membership
        self._canonical_aliases = canonical_aliases

    async def put(
        self,
        requester: Requester,
        room_id: str,
        event_type: str,
        state_key: str,
        content: Mapping[str, Any],
        origin_server_ts: int | None = None,
    ) -> str:
        """Set a state event; its ID, or that of the one which says the same already.

        Raises M_FORBIDDEN, M_BAD_JSON, M_INVALID_PARAM, M_BAD_ALIAS, M_TOO_LARGE, M_USER_SUSPENDED, and for
        m.room.member what the endpoint of the membership raises.
        """
        check_type(event_type)
        check_state_key(state_key)
        if event_type == "m.room.member":
            return await self._membership.put(requester, room_id, state_key, content)
        refuse_suspended(requester)
        try:
            head = await self._heads.get(room_id, [("m.room.member", requester.user_id), (event_type, state_key)])
        except UnknownRoom:
            raise _not_in(room_id) from None
        # Before anything is said of the content: a stranger learns nothing about the room from it.
        if head.membership(requester.user_id) != "join" and not head.version.auth.aliases_rule:
            raise _not_in(room_id)
        check_state(room_id, head.version, self._server_name, event_type, content)
        if event_type == "m.room.canonical_alias" and state_key == "":
            await self._canonical_aliases.check(room_id, head.state((event_type, state_key)), content)
        draft = Draft(
            requester.user_id, event_type, content, state_key=state_key, origin_server_ts=origin_server_ts
        )
        return (await self._lanes.send(room_id, [draft]))[0].event_id


def _not_in(room_id: str) -> MatrixError:
    return MatrixError(403, "M_FORBIDDEN", f"You are not in {room_id}.")
