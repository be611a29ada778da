"""How often users may redact. Those who have to clean up a room have a limit of their own (`rc_admin_redaction`)."""

from matrixd.core.power import PowerLevels
from matrixd.queries.authentication import Requester
from matrixd.services.limits import Limit
from matrixd.services.room_head import RoomHeads, UnknownRoom

_POWERS = (("m.room.create", ""), ("m.room.power_levels", ""))


class RedactionLimits:
    """Counts redactions: `of_moderators` for who may redact what others sent, `of_messages` for everybody else."""

    def __init__(self, heads: RoomHeads, of_messages: Limit, of_moderators: Limit) -> None:
        self._heads = heads
        self._of_messages = of_messages
        self._of_moderators = of_moderators

    async def check(self, requester: Requester, room_id: str) -> None:
        """Raises M_LIMIT_EXCEEDED when the user must wait; else the redaction is counted."""
        limit = self._of_moderators if await self._is_moderator(requester, room_id) else self._of_messages
        limit.check(requester.user_id)

    async def _is_moderator(self, requester: Requester, room_id: str) -> bool:
        if requester.is_admin:
            return True
        try:
            head = await self._heads.get(room_id, (*_POWERS, ("m.room.member", requester.user_id)))
        except UnknownRoom:
            return False
        if head.membership(requester.user_id) != "join":
            return False
        powers = PowerLevels.in_state(head.state_map(_POWERS))
        return powers.of(requester.user_id) >= powers.redact
