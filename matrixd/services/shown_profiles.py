"""Showing a changed profile in rooms: the user's member events are sent anew.

https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
"""

import logging

from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.services.batches import in_batches
from matrixd.services.member_profiles import MemberProfiles
from matrixd.services.membership import member_draft
from matrixd.services.room_head import RoomHead
from matrixd.services.room_lanes import RoomLanes
from matrixd.storage import room_members
from matrixd.storage.database import Database

logger = logging.getLogger(__name__)


class ShownProfiles:
    """Sends member events."""

    def __init__(self, database: Database, lanes: RoomLanes, profiles: MemberProfiles) -> None:
        self._database = database
        self._lanes = lanes
        self._profiles = profiles

    async def update_member_events(self, user_nid: int, user_id: str) -> None:
        """Send the user's member event to every joined room where it does not show the profile as it is now.

        Some rooms at a time. A room that does not let the user send is left as it is, and the log says so. Raises
        `Unavailable` while the database is away: then it may be called again.
        """
        room_ids = await self._database.read(room_members.joined_room_ids, user_nid)
        await in_batches(room_ids, lambda room_id: self._send(user_id, room_id))

    async def _send(self, user_id: str, room_id: str) -> None:
        def check(head: RoomHead) -> None:
            if head.membership(user_id) != "join":
                raise MatrixError(403, "M_FORBIDDEN", f"{user_id} has left {room_id}.")

        content = {**await self._profiles.of(user_id), "membership": "join"}
        try:
            await self._lanes.send(room_id, [member_draft(user_id, user_id, content, check=check)])
        except (RuleViolation, MatrixError) as error:
            logger.info("the profile of %s is not shown in %s: %s", user_id, room_id, error)
