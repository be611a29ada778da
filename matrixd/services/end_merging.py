"""Keeping rooms from having many ends.

Each forward extremity costs every server that takes part in the room: its state is resolved with that of the others for
each event that follows. Where nobody says anything for a while, nothing joins them: so a user of this server, who has
the power, sends an event that does, and that no client is told of.
"""

import logging

from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.core.merge_event import MERGE_EVENT
from matrixd.core.power import PowerLevels
from matrixd.queries.feed import Feed
from matrixd.services.room_head import RoomHead, RoomHeads
from matrixd.services.room_lanes import Draft, RoomLanes
from matrixd.storage.engines.base import Unavailable
from matrixd.storage.rows import EventRow
from matrixd.util.background import in_background
from matrixd.util.clock import Clock

logger = logging.getLogger(__name__)

#: So many ends are joined.
MANY = 10
#: How often for one room, at most.
_PAUSE_S = 60.0
#: Rooms of which is remembered when they were joined, or how many ends they have.
_MAX_ROOMS = 10_000
_POWERS = (("m.room.create", ""), ("m.room.power_levels", ""))


class EndMerging:
    """Sends such events as rooms come to have many ends."""

    def __init__(self, heads: RoomHeads, lanes: RoomLanes, feed: Feed, clock: Clock) -> None:
        self._heads = heads
        self._lanes = lanes
        self._clock = clock
        #: Of rooms that have more than one, as of their newest event.
        self._ends: dict[str, int] = {}
        #: When, in monotonic seconds, a room may be merged again.
        self._not_before: dict[str, float] = {}
        feed.subscribe(EventRow, self._on_event)

    @property
    def most(self) -> int:
        """The greatest number of forward extremities of a room in which something happened since the start."""
        return max(self._ends.values(), default=1)

    def _on_event(self, row: EventRow) -> None:
        room_id = row.event.room_id
        head = self._heads.in_memory(room_id)
        count = 1 if head is None else len(head.extremities)
        if count <= 1:
            self._ends.pop(room_id, None)
            return
        if room_id in self._ends or len(self._ends) < _MAX_ROOMS:
            self._ends[room_id] = count
        if count >= MANY and self._may_merge(room_id):
            in_background(f"joining the ends of {room_id}", self.merge(room_id))

    def _may_merge(self, room_id: str) -> bool:
        now = self._clock.monotonic()
        if self._not_before.get(room_id, now) > now:
            return False
        if len(self._not_before) >= _MAX_ROOMS:
            self._not_before = {other: at for other, at in self._not_before.items() if at > now}
        self._not_before[room_id] = now + _PAUSE_S
        return True

    async def merge(self, room_id: str) -> str | None:
        """Join the ends of a room, if somebody of this server may: the ID of the event that does."""
        head = await self._heads.find(room_id, _POWERS)
        if head is None or head.is_partial or not head.is_resident or len(head.extremities) < MANY:
            return None
        sender = await self._sender(head)
        if sender is None:
            logger.info("%s has %s ends, and nobody here may join them", room_id, len(head.extremities))
            return None
        try:
            sent = await self._lanes.send(room_id, [Draft(sender, MERGE_EVENT, {})])
        except (MatrixError, RuleViolation, Unavailable) as error:
            logger.info("the ends of %s cannot be joined: %s", room_id, error)
            return None
        return sent[0].event_id

    async def _sender(self, head: RoomHead) -> str | None:
        """The user of this server with the highest level, if that suffices."""
        levels = PowerLevels.in_state(head.state_map(_POWERS))
        able = [
            user_id
            for user_id in await self._heads.local_joined(head)
            if levels.can_send(user_id, MERGE_EVENT, is_state=False)
        ]
        return max(able, key=lambda user_id: (levels.of(user_id), user_id), default=None)
