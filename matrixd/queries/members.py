"""The members of a room.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers

Rooms can have a great many members, so the answers are put together in the database's thread.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from matrixd.core import content
from matrixd.core.streams import RoomToken
from matrixd.queries import event_details
from matrixd.queries.client_events import json_object
from matrixd.queries.event_details import Details
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.history_tokens import place_of
from matrixd.queries.room_access import not_in_room, room_access
from matrixd.queries.room_state_reads import plain_list
from matrixd.storage import event_state, events, room_members, room_state, rooms
from matrixd.storage.database import Database
from matrixd.storage.events import Place
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock


@dataclass(frozen=True, slots=True)
class MembersRequest:
    """Which members a client asks for: either of the two memberships, when it gives both."""

    #: None: now, or when the viewer left.
    at: RoomToken | None = None
    membership: str | None = None
    not_membership: str | None = None

    def wants(self, membership: str | None) -> bool:
        """Whether members with this membership are asked for."""
        if self.membership is None and self.not_membership is None:
            return True
        return (self.membership is not None and membership == self.membership) or (
            self.not_membership is not None and membership != self.not_membership
        )


class Members:
    """Reads the members of rooms."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def events(self, viewer: Viewer, room_id: str, request: MembersRequest) -> bytes:
        """The answer to `/members`. Raises M_FORBIDDEN, and M_INVALID_PARAM for a token of another room."""
        return await self._database.read(_events, viewer, room_id, request, self._clock.now_ms())

    async def joined(self, viewer: Viewer, room_id: str) -> bytes:
        """The answer to `/joined_members`. Raises M_FORBIDDEN."""
        return await self._database.read(_joined, viewer, room_id)


def _in_history(tx: Transaction, room_nid: int, place: Place) -> list[StoredEvent]:
    """The member events after a place in history that was fetched later, whose events have states of their own."""
    newest = events.page(tx, room_nid, place, None, True, 1)
    state = event_state.after(tx, newest[0]) if newest else None
    found = {} if state is None else state.everything(tx)
    return [stored for (event_type, _), stored in found.items() if event_type == "m.room.member"]


def _events(tx: Transaction, viewer: Viewer, room_id: str, request: MembersRequest, now: int) -> bytes:
    access = room_access(tx, room_id, viewer)
    room_nid, at = access.room.room_nid, access.state_at
    found: Iterable[StoredEvent]
    if request.at is not None:
        place = place_of(tx, room_nid, request.at, "at")
        at = access.state_up_to(request.at.position)
    if at is not None and at < 0:
        found = [stored for stored in _in_history(tx, room_nid, place) if request.wants(stored.event.membership)]
    elif at is None and request.membership is not None and request.not_membership is None:
        found = room_state.with_membership(tx, room_nid, request.membership)
    else:
        members = room_state.of_type(tx, room_nid, "m.room.member", at).values()
        found = [stored for stored in members if request.wants(stored.event.membership)]
    return json_object([("chunk", plain_list(tx, viewer, found, now))])


def _joined(tx: Transaction, viewer: Viewer, room_id: str) -> bytes:
    room_nid = rooms.nid(tx, room_id)
    member = None if room_nid is None else room_members.one(tx, room_nid, viewer.user_nid)
    if room_nid is None or member is None or member.membership != "join":
        raise not_in_room(room_id)
    found = room_state.with_membership(tx, room_nid, "join")
    details = Details(erased=event_details.erased(tx, viewer, found))
    return orjson.dumps({"joined": {stored.event.state_key: _profile(details.as_shown(stored)) for stored in found}})


def _profile(stored: StoredEvent) -> dict[str, str]:
    named = (
        ("display_name", content.display_name(stored.event)),
        ("avatar_url", content.avatar_url(stored.event)),
    )
    return {name: value for name, value in named if value is not None}
