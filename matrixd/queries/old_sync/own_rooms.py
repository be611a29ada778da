"""`GET /events` without a room: what happens in all rooms of a user."""

from matrixd.core.filters import EMPTY_FILTER
from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.old_sync import form
from matrixd.queries.old_sync.stream import EventStream, StreamRequest, Told
from matrixd.queries.sync.news import News
from matrixd.queries.sync.presence_news import PresenceNews
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.sync.waiting import OnStop, Waiting
from matrixd.queries.user_rooms import UserRooms, UserRoomsIndex


class OwnRooms:
    """Answers it."""

    def __init__(
        self,
        waiting: Waiting,
        index: UserRoomsIndex,
        stream: EventStream,
        news: News,
        presence: PresenceNews,
    ) -> None:
        self._waiting = waiting
        self._index = index
        self._stream = stream
        self._news = news
        self._presence = presence

    async def events(self, request: StreamRequest, on_stop: OnStop) -> bytes:
        """What happened since the token, or the first that happens. Raises M_UNKNOWN_TOKEN."""
        index = await self._index.get(request.viewer.user_nid)
        asked = SyncRequest(request.viewer, request.device_nid, request.since, EMPTY_FILTER, False, False)

        async def compose(now: StreamToken) -> tuple[bytes, bool]:
            return await self._stream.answer(request, await self._told(asked, index, now), now)

        return await self._waiting.for_news(
            compose, index, request.since, request.device_nid, request.timeout, on_stop
        )

    async def _told(self, asked: SyncRequest, index: UserRooms, now: StreamToken) -> Told:
        changes = await self._news.account_data(asked, now)
        news = await self._news.joined(asked, index, now, changes)
        others = [*form.presence(await self._presence.events(asked, news, now)), *changes.everywhere]
        for item in news:
            room_id = item.entry.room.room_id
            others += [form.in_room(event, room_id) for event in (*item.ephemeral(), *item.account_data)]
        up_to = now[Stream.EVENTS]
        rooms = {item.entry.room.room_nid: up_to for item in news if item.has_events}
        rooms |= {
            entry.room.room_nid: entry.pos
            for entry in index.entries.values()
            if entry.membership != "join" and asked.after < entry.pos <= up_to
        }
        return Told(rooms, others)
