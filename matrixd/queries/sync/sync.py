"""The answer to a sync."""

from collections.abc import Sequence
from typing import Any

import orjson

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.client_events import ClientEvents
from matrixd.queries.sync import write
from matrixd.queries.sync.extensions import Extension
from matrixd.queries.sync.first_syncs import FirstSyncs
from matrixd.queries.sync.invited import InvitedRooms
from matrixd.queries.sync.joined import JoinedRooms
from matrixd.queries.sync.lazy_members import LazyMembers
from matrixd.queries.sync.left import LeftRooms
from matrixd.queries.sync.load import Loaded, RoomData
from matrixd.queries.sync.news import News, RoomNews
from matrixd.queries.sync.presence_news import PresenceNews
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.sync.stored import render_state, render_timeline
from matrixd.queries.sync.waiting import OnStop, Waiting
from matrixd.queries.user_rooms import UserRooms, UserRoomsIndex


class Sync:
    """Answers `/sync`. `extensions` add members of their own to the answer."""

    def __init__(
        self,
        waiting: Waiting,
        index: UserRoomsIndex,
        news: News,
        joined: JoinedRooms,
        invited: InvitedRooms,
        left: LeftRooms,
        presence: PresenceNews,
        lazy_members: LazyMembers,
        first_syncs: FirstSyncs,
        client_events: ClientEvents,
        extensions: Sequence[Extension],
    ) -> None:
        self._waiting = waiting
        self._index = index
        self._news = news
        self._joined = joined
        self._invited = invited
        self._left = left
        self._presence = presence
        self._lazy_members = lazy_members
        self._first_syncs = first_syncs
        self._client_events = client_events
        self._extensions = extensions

    async def answer(self, request: SyncRequest, timeout: float, on_stop: OnStop) -> bytes:
        """The JSON of the answer.

        It comes at once for a first sync, for `full_state`, and when there is news; otherwise after `timeout` seconds
        at most. Raises M_UNKNOWN_TOKEN when the device is logged out meanwhile.
        """
        index = await self._index.get(request.user_nid)

        async def compose(now: StreamToken) -> tuple[bytes, bool]:
            return await self._compose(request, index, now)

        if request.since is None:
            return await self._first_syncs.answer(request, lambda: self._waiting.at_once(compose), on_stop)
        if request.full_state:
            return await self._waiting.at_once(compose)
        return await self._waiting.for_news(
            compose, index, request.since, request.device_nid, timeout, on_stop
        )

    async def _compose(self, request: SyncRequest, index: UserRooms, now: StreamToken) -> tuple[bytes, bool]:
        """The answer as of `now`, and whether it says anything."""
        # The index goes on while this waits for the database.
        index = index.snapshot()
        changes = await self._news.account_data(request, now)
        news = await self._news.joined(request, index, now, changes)
        lazy = request.filter.room.state.lazy_load_members
        sent = self._lazy_members.sent(request.device_nid, request.since) if lazy else {}
        joined, carried = await self._joined.sections(request, news, now, sent)
        up_to = now[Stream.EVENTS]
        rooms = (
            (b"join", joined),
            (b"invite", await self._invited.sections(request, index, up_to, "invite")),
            (b"knock", await self._invited.sections(request, index, up_to, "knock")),
            (b"leave", await self._left_sections(request, index, up_to)),
        )
        parts: list[tuple[bytes, bytes]] = []
        told = [(name, write.by_room(sections)) for name, sections in rooms if sections]
        if told:
            parts.append((b"rooms", write.members(told)))
        account_data = [
            event
            for event in changes.everywhere
            if request.filter.account_data.matches_fields(event["type"], None, event["content"])
        ]
        if account_data:
            parts.append((b"account_data", write.plain_events(account_data)))
        presence = await self._presence_events(request, news, now)
        if presence:
            parts.append((b"presence", write.plain_events(presence)))
        end = now
        for extension in self._extensions:
            added, end = await extension.members(request, index, end)
            parts += added
        says_something = bool(parts)
        if lazy:
            self._lazy_members.answer(request.device_nid, request.since, end, carried)
        for extension in self._extensions:
            parts += await extension.always(request)
        parts.append((b"next_batch", orjson.dumps(str(end))))
        return write.members(parts), says_something

    async def _presence_events(
        self, request: SyncRequest, news: Sequence[RoomNews], now: StreamToken
    ) -> Sequence[dict[str, Any]]:
        if request.filter.presence.is_blocked:
            return ()
        return [
            event
            for event in await self._presence.events(request, news, now)
            if request.filter.presence.matches_fields(event["type"], event["sender"], event["content"])
        ]

    async def _left_sections(self, request: SyncRequest, index: UserRooms, up_to: int) -> dict[str, bytes]:
        found = await self._left.load(request, index, up_to)
        return {entry.room.room_id: self._left_section(request, data, loaded) for entry, data, loaded in found}

    def _left_section(self, request: SyncRequest, data: RoomData, loaded: Loaded) -> bytes:
        in_timeline = set() if request.use_state_after else {item.event_nid for item in data.timeline}
        state = [
            item
            for item in data.state.values()
            if item.event_nid not in in_timeline and request.filter.room.state.matches(item.event)
        ]
        return write.members(
            [
                (
                    b"state_after" if request.use_state_after else b"state",
                    write.events(render_state(self._client_events, request, loaded, state)),
                ),
                (
                    b"timeline",
                    render_timeline(self._client_events, request, loaded, data, limited=data.limited),
                ),
            ]
        )
