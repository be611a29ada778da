"""`GET /events` of one room, which the user need not be in if the world may read it.

https://spec.matrix.org/v1.19/client-server-api/#room-previews
"""

from typing import Any

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.account_data import AccountData
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.old_sync import form
from matrixd.queries.old_sync.stream import EventStream, StreamRequest, Told
from matrixd.queries.presence import Presence
from matrixd.queries.receipts import Receipts
from matrixd.queries.room_access import not_in_room, room_access
from matrixd.queries.sync.news import ephemeral_events
from matrixd.queries.sync.waiting import OnStop, Waiting
from matrixd.queries.typing import Typing
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.storage import room_members
from matrixd.storage.database import Database
from matrixd.storage.rooms import Room
from matrixd.storage.transaction import Transaction


class PeekedRoom:
    """Answers it. Who is not in the room hears of its members what they do there, as members do."""

    def __init__(
        self,
        database: Database,
        waiting: Waiting,
        index: UserRoomsIndex,
        stream: EventStream,
        receipts: Receipts,
        typing: Typing,
        account_data: AccountData,
        presence: Presence,
    ) -> None:
        self._database = database
        self._waiting = waiting
        self._index = index
        self._stream = stream
        self._receipts = receipts
        self._typing = typing
        self._account_data = account_data
        self._presence = presence

    async def events(self, request: StreamRequest, room_id: str, on_stop: OnStop) -> bytes:
        """What happened since the token, or the first that happens. Raises M_FORBIDDEN and M_UNKNOWN_TOKEN."""
        room = await self._database.read(_readable, room_id, request.viewer)
        index = await self._index.get(request.viewer.user_nid)
        live = self._index.live_room(room)

        async def compose(now: StreamToken) -> tuple[bytes, bool]:
            # The world may have been shut out while this waited.
            await self._database.read(_readable, room_id, request.viewer)
            return await self._stream.answer(request, await self._told(request, room, now), now)

        watched = index if index.is_joined(room.room_nid) else live
        return await self._waiting.for_news(
            compose, watched, request.since, request.device_nid, request.timeout, on_stop
        )

    async def _told(self, request: StreamRequest, room: Room, now: StreamToken) -> Told:
        viewer, since, room_nid = request.viewer, request.since, room.room_nid
        others = form.presence(await self._presence_events(room_nid, since, now))
        typing = self._typing.between([room_nid], since, now).get(room_nid)
        receipts = (await self._receipts.between(viewer.user_nid, [room_nid], since, now)).get(room_nid)
        beside = ephemeral_events(typing, receipts)
        if self._account_data.has_news(viewer.user_nid, since, now):
            changes = await self._account_data.between(viewer.user_nid, viewer.user_id, since, now)
            beside += changes.rooms.get(room_nid, ())
        others += [form.in_room(event, room.room_id) for event in beside]
        return Told({room_nid: now[Stream.EVENTS]}, others)

    async def _presence_events(self, room_nid: int, since: StreamToken, now: StreamToken) -> list[dict[str, Any]]:
        changed = self._presence.changed(since, now)
        if not changed:
            return []
        return self._presence.events(changed, await self._database.read(room_members.joined, [room_nid]))


def _readable(tx: Transaction, room_id: str, viewer: Viewer) -> Room:
    access = room_access(tx, room_id, viewer)
    if access.last_pos is not None:
        # Of a room that the user has left nothing new is told, unless the world may read it.
        raise not_in_room(room_id)
    return access.room
