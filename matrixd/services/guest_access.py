"""Taking guests out of rooms that are closed to them.

A room may close and the server end before its guests are out. So the rooms of all guests are looked at when the server
starts, and from time to time.

"If the m.room.guest_access event is changed to stop this from being the case, the server MUST set those users'
m.room.member state to leave": https://spec.matrix.org/v1.19/client-server-api/#guest-access
"""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from matrixd.core.content import guests_may_join
from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.queries.feed import Feed
from matrixd.services.batches import in_batches
from matrixd.services.membership import member_draft
from matrixd.services.room_head import RoomHead
from matrixd.services.room_lanes import RoomLanes
from matrixd.storage import room_members, room_state
from matrixd.storage.database import Database
from matrixd.storage.room_members import JoinedGuest
from matrixd.storage.rows import EventRow
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background

logger = logging.getLogger(__name__)

#: So many memberships of guests are looked at together.
_PAGE = 500
_GUEST_ACCESS = ("m.room.guest_access", "")


class _Settled(Exception):
    """There is nothing to do any more."""


class GuestAccess:
    """Watches the rooms. `page`: how many memberships of guests are read at once."""

    def __init__(
        self,
        database: Database,
        feed: Feed,
        lanes: RoomLanes,
        background: Callable[[str, Coroutine[Any, Any, object]], object] = in_background,
        page: int = _PAGE,
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._background = background
        self._page = page
        feed.subscribe(EventRow, self._on_event)

    def _on_event(self, row: EventRow) -> None:
        event = row.event
        if (event.type, event.state_key) != _GUEST_ACCESS:
            return
        if guests_may_join(row.replaces) and not guests_may_join(event):
            self._background(f"taking guests out of {event.room_id}", self._close(row.room_nid, event.room_id))

    async def resume(self) -> None:
        """Go on, in the background, with what was under way when the server stopped; to be called once at start."""
        self._background("taking guests out of closed rooms", self.close_rooms())

    async def close_rooms(self) -> None:
        """Take out every guest who is in a room that is closed to guests."""
        after = (0, 0)
        while True:
            guests, closed = await self._database.read(_in_closed_rooms, after, self._page)
            await in_batches(closed, lambda guest: self._take_out(guest.user_id, guest.room_id))
            if len(guests) < self._page:
                return
            after = (guests[-1].user_nid, guests[-1].room_nid)

    async def _close(self, room_nid: int, room_id: str) -> None:
        guests = await self._database.read(room_members.local_guests, room_nid)
        await in_batches(guests, lambda user_id: self._take_out(user_id, room_id))

    async def _take_out(self, user_id: str, room_id: str) -> None:
        def check(head: RoomHead) -> None:
            if head.membership(user_id) != "join" or guests_may_join(head.state(_GUEST_ACCESS)):
                raise _Settled

        draft = member_draft(user_id, user_id, {"membership": "leave"}, check=check)
        try:
            await self._lanes.send(room_id, [replace(draft, reads=(_GUEST_ACCESS,))])
        except _Settled:
            pass
        except (RuleViolation, MatrixError) as error:
            logger.warning("the guest %s could not be taken out of %s: %s", user_id, room_id, error)


def _in_closed_rooms(
    tx: Transaction, after: tuple[int, int], limit: int
) -> tuple[list[JoinedGuest], list[JoinedGuest]]:
    """A page of the guests who are in a room, and those of them whose room is closed to guests."""
    guests = room_members.joined_guests(tx, after, limit)
    states = room_state.in_rooms(tx, {guest.room_nid for guest in guests}, [_GUEST_ACCESS])
    openings = {room_nid: state[_GUEST_ACCESS].event for room_nid, state in states.items()}
    return guests, [guest for guest in guests if not guests_may_join(openings.get(guest.room_nid))]
