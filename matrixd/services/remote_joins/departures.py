"""Users of this server who have to leave, although they did not ask for it now."""

import logging
from collections.abc import Sequence

from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.services.batches import in_batches
from matrixd.services.membership import member_draft
from matrixd.services.remote_leaving import LeaveHandshake
from matrixd.services.room_lanes import RoomLanes

logger = logging.getLogger(__name__)


class Departures:
    """Lets them leave; where that is not possible, the log says why."""

    def __init__(self, lanes: RoomLanes, handshake: LeaveHandshake) -> None:
        self._lanes = lanes
        self._handshake = handshake

    async def from_room(self, room_id: str, user_ids: Sequence[str], reason: str | None = None) -> None:
        """Let users leave a room that this server is in."""
        content = {"membership": "leave"} if reason is None else {"membership": "leave", "reason": reason}

        async def leave(user_id: str) -> None:
            try:
                await self._lanes.send(room_id, [member_draft(user_id, user_id, content)])
            except (RuleViolation, MatrixError) as error:
                logger.warning("%s could not leave %s: %s", user_id, room_id, error)

        await in_batches(user_ids, leave)

    async def from_servers(self, room_id: str, user_id: str, servers: Sequence[str]) -> None:
        """Tell one of some servers that a user is not in a room that this server is not in."""
        try:
            await self._handshake.run(user_id, room_id, {}, servers)
        except MatrixError as error:
            logger.warning("%s may still have %s in %s: %s", ", ".join(servers), user_id, room_id, error)
