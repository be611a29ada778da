"""The answer to a sync, and waiting for one that says something."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.client_events import ClientEvents
from matrixd.queries.feed import Feed
from matrixd.queries.sync import write
from matrixd.queries.sync.extensions import Extension
from matrixd.queries.sync.invited import InvitedRooms
from matrixd.queries.sync.joined import JoinedRooms
from matrixd.queries.sync.lazy_members import LazyMembers
from matrixd.queries.sync.left import LeftRooms
from matrixd.queries.sync.load import Loaded, RoomData
from matrixd.queries.sync.news import News, RoomNews
from matrixd.queries.sync.presence_news import PresenceNews
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.sync.stored import render_state, render_timeline
from matrixd.queries.user_rooms import UserRooms, UserRoomsIndex
from matrixd.storage.rows import DeviceDeleted

# zope's interfaces mean nothing to the type checker: this answers an IDelayedCall.
CallLater = Callable[..., Any]

#: A client that asks for more is answered empty after this, in seconds.
MAX_WAIT = 300.0


class Sync:
    """Answers `/sync`.

    `call_later` is the reactor's. `extensions` add members of their own to the answer.
    """

    def __init__(
        self,
        feed: Feed,
        index: UserRoomsIndex,
        news: News,
        joined: JoinedRooms,
        invited: InvitedRooms,
        left: LeftRooms,
        presence: PresenceNews,
        lazy_members: LazyMembers,
        client_events: ClientEvents,
        extensions: Sequence[Extension],
        call_later: CallLater,
    ) -> None:
        self._feed = feed
        self._index = index
        self._news = news
        self._joined = joined
        self._invited = invited
        self._left = left
        self._presence = presence
        self._lazy_members = lazy_members
        self._client_events = client_events
        self._extensions = extensions
        self._call_later = call_later
        # The waits under way, by device: bounded by the open requests.
        self._waits: dict[int, set[_Wait]] = {}
        feed.subscribe(DeviceDeleted, self._on_device_deleted)

    async def answer(
        self, request: SyncRequest, timeout: float, on_stop: Callable[[Callable[[], None]], None]
    ) -> bytes:
        """The JSON of the answer.

        It comes at once for a first sync, for `full_state`, and when there is news; otherwise after `timeout` seconds
        at most. `on_stop` registers what ends the waiting early: the client has gone, or the server is stopping.
        Raises M_UNKNOWN_TOKEN when the device is logged out meanwhile.
        """
        index = await self._index.get(request.user_nid)
        waits = timeout > 0 and request.since is not None and not request.full_state
        wait = _Wait(self._call_later, min(timeout, MAX_WAIT), on_stop) if waits else None
        if wait is not None:
            self._waits.setdefault(request.device_nid, set()).add(wait)
        try:
            while True:
                now = self._feed.token
                # A client that has everything, as nearly every one that comes back, costs nothing until there is news.
                if wait is None or now != request.since or wait.is_over:
                    body, says_something = await self._compose(request, index, now)
                    if wait is None or says_something or wait.is_over:
                        return body
                if self._feed.token == now:
                    await wait.for_news(index)
                if wait.is_logged_out:
                    raise MatrixError(401, "M_UNKNOWN_TOKEN", "The device was logged out.", soft_logout=False)
        finally:
            if wait is not None:
                wait.end()
                self._waits[request.device_nid].discard(wait)
                if not self._waits[request.device_nid]:
                    del self._waits[request.device_nid]

    def _on_device_deleted(self, row: DeviceDeleted) -> None:
        for wait in list(self._waits.get(row.device_nid, ())):
            wait.log_out()

    async def _compose(self, request: SyncRequest, index: UserRooms, now: StreamToken) -> tuple[bytes, bool]:
        """The answer as of `now`, and whether it says anything."""
        changes = await self._news.account_data(request, now)
        news = await self._news.joined(request, index, now, changes)
        lazy = request.filter.room.state.lazy_load_members
        sent = self._lazy_members.sent(request.device_nid, request.since) if lazy else {}
        joined, carried = await self._joined.sections(request, news, now, sent)
        if lazy:
            self._lazy_members.answer(request.device_nid, now, carried)
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
        for extension in self._extensions:
            parts += await extension.members(request, index, now)
        says_something = bool(parts)
        for extension in self._extensions:
            parts += await extension.always(request)
        parts.append((b"next_batch", orjson.dumps(str(now))))
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
                (b"timeline", render_timeline(self._client_events, request, loaded, data)),
            ]
        )


class _Wait:
    """Waiting for news, up to a deadline."""

    def __init__(self, call_later: CallLater, seconds: float, on_stop: Callable[[Callable[[], None]], None]) -> None:
        self.is_over = False
        self.is_logged_out = False
        self._woken: Deferred[None] | None = None
        self._index: UserRooms | None = None
        self._deadline = call_later(seconds, self._finish)
        on_stop(self._finish)

    async def for_news(self, index: UserRooms) -> None:
        """Wait until something happens that may concern the user, or the deadline."""
        self._index = index
        self._woken = Deferred()
        index.waiters.add(self._woken)
        await self._woken
        self._woken = None

    def end(self) -> None:
        """Free what waiting needs."""
        if self._deadline.active():
            self._deadline.cancel()

    def log_out(self) -> None:
        """The device is gone: there is nothing to wait for."""
        self.is_logged_out = True
        self._finish()

    def _finish(self) -> None:
        self.is_over = True
        woken = self._woken
        if woken is not None and self._index is not None and woken in self._index.waiters:
            self._index.waiters.discard(woken)
            woken.callback(None)
