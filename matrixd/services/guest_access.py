"""Taking guests out of rooms that are closed to them.

"If the m.room.guest_access event is changed to stop this from being the case, the server MUST set those users'
m.room.member state to leave": https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from matrixd.core.content import guests_may_join
from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.queries.feed import Feed
from matrixd.services.batches import in_batches
from matrixd.services.membership import member_draft
from matrixd.services.room_lanes import RoomLanes
from matrixd.storage import room_members
from matrixd.storage.database import Database
from matrixd.storage.rows import EventRow
from matrixd.util.background import in_background

logger = logging.getLogger(__name__)


class GuestAccess:
    """Watches the rooms."""

    def __init__(
        self,
        database: Database,
        feed: Feed,
        lanes: RoomLanes,
        background: Callable[[str, Coroutine[Any, Any, object]], object] = in_background,
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._background = background
        feed.subscribe(EventRow, self._on_event)

    def _on_event(self, row: EventRow) -> None:
        event = row.event
        if event.type != "m.room.guest_access" or event.state_key != "":
            return
        if guests_may_join(row.replaces) and not guests_may_join(event):
            self._background(f"taking guests out of {event.room_id}", self._close(row.room_nid, event.room_id))

    async def _close(self, room_nid: int, room_id: str) -> None:
        guests = await self._database.read(room_members.local_guests, room_nid)
        await in_batches(guests, lambda user_id: self._take_out(user_id, room_id))

    async def _take_out(self, user_id: str, room_id: str) -> None:
        try:
            await self._lanes.send(room_id, [member_draft(user_id, user_id, {"membership": "leave"})])
        except (RuleViolation, MatrixError) as error:
            logger.warning("the guest %s could not be taken out of %s: %s", user_id, room_id, error)
