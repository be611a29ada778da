"""The `join` section: timeline, state, ephemeral events, summary and counts of the rooms that a user is in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.client_events import ClientEvents
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.room_tails import RoomTails
from matrixd.queries.sync import write
from matrixd.queries.sync.lazy_members import Members
from matrixd.queries.sync.load import Loaded, RoomAsk, RoomData, load_rooms
from matrixd.queries.sync.news import RoomNews
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.sync.stored import render_state, render_timeline
from matrixd.queries.unread import Counts, UnreadCounts
from matrixd.storage.database import Database
from matrixd.storage.rows import EventRow
from matrixd.storage.stored_event import StoredEvent


@dataclass(frozen=True, slots=True)
class _Room:
    """A room of the answer: from memory (`rows`) or from the database (`data`)."""

    news: RoomNews
    rows: Sequence[EventRow] = ()
    data: RoomData | None = None
    loaded: Loaded | None = None
    #: Whether the user hears of something, even if it is not shown: unread counts may have changed.
    is_heard: bool = True


class JoinedRooms:
    """Writes the section."""

    def __init__(
        self, database: Database, tails: RoomTails, client_events: ClientEvents, unread: UnreadCounts
    ) -> None:
        self._database = database
        self._tails = tails
        self._client_events = client_events
        self._unread = unread

    async def sections(
        self, request: SyncRequest, news: Sequence[RoomNews], now: StreamToken, sent: Mapping[tuple[int, str], str]
    ) -> tuple[dict[str, bytes], Members]:
        """The JSON of each room that has something to tell, by room ID, and the member events that it carries."""
        carried: Members = {}
        from_memory = [self._from_memory(request, item, now, sent) for item in news]
        rooms = await self._from_database(request, news, from_memory, now)
        states = [self._state(request, room, sent, carried) for room in rooms]
        await self._unread.prefetch(
            request.user_nid, [room.news.entry.room.room_nid for room in rooms if room.data is not None]
        )
        sections = {}
        for room, state in zip(rooms, states, strict=True):
            section = await self._section(request, room, state)
            if section is not None:
                sections[room.news.entry.room.room_id] = section
        return sections, carried

    def _from_memory(
        self, request: SyncRequest, news: RoomNews, now: StreamToken, sent: Mapping[tuple[int, str], str]
    ) -> _Room | None:
        """The room, if memory has all that is to be told of it."""
        entry = news.entry
        if news.whole or entry.since > request.after:
            return None
        if not news.has_events:
            return _Room(news)
        rows = self._tails.after(entry.room.room_nid, request.after, now[Stream.EVENTS])
        if rows is None or not request.filter.shares_bytes:
            return None
        if any(row.moves or row.follows_break or not row.is_current for row in rows):
            # What is no event of the timeline changed the state, or the timeline is not whole.
            return None
        if request.viewer.erased and any(_shows_erased(request.viewer, row) for row in rows):
            return None
        heard = [row for row in rows if not request.viewer.ignores(row.event)]
        timeline = request.filter.room.timeline
        shown = [row for row in heard if timeline.matches(row.event)]
        if len(shown) > request.timeline_limit:
            return None
        if len(shown) < len(heard) and any(row.event.is_state and not timeline.matches(row.event) for row in heard):
            # What the timeline leaves out has to be told with the state.
            return None
        lazy = request.filter.room.state.lazy_load_members
        if lazy and not self._has_senders(request, entry.room.room_nid, shown, sent):
            return None
        if any(row.member is not None for row in rows) and entry.room.joined_count + entry.room.invited_count < 8:
            # The heroes may be others now.
            return None
        return _Room(news, shown, is_heard=any(request.viewer.hears(row.event) for row in rows))

    def _has_senders(
        self, request: SyncRequest, room_nid: int, rows: Sequence[EventRow], sent: Mapping[tuple[int, str], str]
    ) -> bool:
        """Whether the device knows every sender of the rows."""
        if request.filter.room.state.include_redundant_members:
            return False
        return all((room_nid, row.event.sender) in sent or row.event.sender == request.user_id for row in rows)

    async def _from_database(
        self, request: SyncRequest, news: Sequence[RoomNews], rooms: Sequence[_Room | None], now: StreamToken
    ) -> list[_Room]:
        missing = [item for item, room in zip(news, rooms, strict=True) if room is None]
        following = iter(await load_rooms(self._database, [self._ask(request, item, now) for item in missing]))
        return [
            room if room is not None else _read_room(item, *next(following))
            for item, room in zip(news, rooms, strict=True)
        ]

    def _ask(self, request: SyncRequest, news: RoomNews, now: StreamToken) -> RoomAsk:
        entry = news.entry
        return RoomAsk(
            room_nid=entry.room.room_nid,
            viewer=request.viewer,
            after=-1 if news.newly_joined else request.after,
            up_to=now[Stream.EVENTS],
            limit=request.timeline_limit,
            timeline=request.filter.room.timeline,
            joined_since=entry.since,
            state_after=None if news.whole else request.after,
            state_at_end=request.use_state_after,
            lazy=request.filter.room.state.lazy_load_members,
            own_member=news.whole,
            summary=news.whole or news.has_events,
        )

    def _state(
        self, request: SyncRequest, room: _Room, sent: Mapping[tuple[int, str], str], carried: Members
    ) -> list[StoredEvent]:
        """The state events that are to be told; member events among them, and in the timeline, go into `carried`."""
        state_filter = request.filter.room.state
        room_nid = room.news.entry.room.room_nid
        timeline = room.rows if room.data is None else room.data.timeline
        if state_filter.lazy_load_members:
            members = (item.event for item in timeline if item.event.type == "m.room.member")
            carried.update({(room_nid, event.state_key or ""): event.event_id for event in members})
        if room.data is None:
            return []
        in_timeline = set() if request.use_state_after else {item.event_nid for item in room.data.timeline}
        redundant = not (state_filter.include_redundant_members or room.news.whole)
        told = []
        for (event_type, state_key), item in room.data.state.items():
            if item.event_nid in in_timeline or not state_filter.matches(item.event):
                continue
            if state_filter.lazy_load_members and event_type == "m.room.member":
                place = (room_nid, state_key)
                is_new = item.pos is None or item.pos > request.after
                if redundant and not is_new and sent.get(place) == item.event.event_id:
                    continue
                carried[place] = item.event.event_id
            told.append(item)
        return told

    async def _section(
        self,
        request: SyncRequest,
        room: _Room,
        state: Sequence[StoredEvent],
    ) -> bytes | None:
        parts: list[tuple[bytes, bytes]] = []
        timeline = self._timeline(request, room)
        if room.loaded is not None:
            told_state = render_state(self._client_events, request, room.loaded, state)
        else:
            told_state = self._state_of_rows(request, room) if request.use_state_after else []
        if timeline is not None:
            parts.append((b"timeline", timeline))
        if timeline is not None or state or request.use_state_after:
            parts.append((b"state_after" if request.use_state_after else b"state", write.events(told_state)))
        ephemeral = _ephemeral(request, room.news)
        if ephemeral or room.news.whole:
            parts.append((b"ephemeral", write.plain_events(ephemeral)))
        account_data = [
            event
            for event in room.news.account_data
            if request.filter.room.account_data.matches_fields(event["type"], None, event["content"])
        ]
        if account_data:
            parts.append((b"account_data", write.plain_events(account_data)))
        if not parts and not (room.news.has_events and room.is_heard):
            return None
        summary = _summary(room)
        if summary:
            parts.append((b"summary", orjson.dumps(summary)))
        parts += _unread(request, await self._counts(request, room))
        return write.members(parts)

    def _timeline(self, request: SyncRequest, room: _Room) -> bytes | None:
        if room.data is not None and room.loaded is not None:
            if not room.data.timeline and not room.data.limited and not room.news.whole:
                return None
            # What the client has of a room that the user has come into (again) is not what this timeline goes on from.
            is_cut = room.data.limited or (room.news.newly_joined and request.since is not None)
            return render_timeline(self._client_events, request, room.loaded, room.data, limited=is_cut)
        if not room.rows:
            return None
        shown = [self._row(request, row) for row in room.rows]
        return write.timeline(shown, limited=False, start=request.after)

    def _row(self, request: SyncRequest, row: EventRow) -> bytes:
        return self._client_events.render_row(request.viewer, row)

    def _state_of_rows(self, request: SyncRequest, room: _Room) -> list[bytes]:
        """The newest state event of each key among rows that are all told."""
        newest = {row.event.key: row for row in room.rows if row.event.is_state}
        return [
            self._row(request, row)
            for row in newest.values()
            if request.filter.room.state.matches(row.event)
        ]

    async def _counts(self, request: SyncRequest, room: _Room) -> Counts:
        room_nid = room.news.entry.room.room_nid
        known = self._unread.cached(request.user_nid, room_nid)
        return known if known is not None else await self._unread.counts(request.user_nid, room_nid)


def _shows_erased(viewer: Viewer, row: EventRow) -> bool:
    """Whether the row has something of a user who was erased: what the viewer sees of it, the database has to say."""
    return row.event.sender in viewer.erased or (row.replaces is not None and row.replaces.sender in viewer.erased)


def _read_room(news: RoomNews, data: RoomData, loaded: Loaded) -> _Room:
    return _Room(news, (), data, loaded, data.is_heard)


def _ephemeral(request: SyncRequest, news: RoomNews) -> list[dict[str, Any]]:
    room_filter = request.filter.room.ephemeral
    return [event for event in news.ephemeral() if room_filter.matches_fields(event["type"], None, event["content"])]


def _summary(room: _Room) -> dict[str, object]:
    """The summary, if a membership may have changed. Source: `GET /sync`, RoomSummary."""
    data, live = room.data, room.news.entry.room
    if data is None:
        changed = any(row.member is not None for row in room.rows)
    else:
        told = (*data.timeline, *data.state.values())
        changed = room.news.whole or data.limited or any(item.event.type == "m.room.member" for item in told)
    if not changed:
        return {}
    summary: dict[str, object] = {
        "m.joined_member_count": live.joined_count, "m.invited_member_count": live.invited_count
    }
    if data is not None and data.heroes is not None:
        summary["m.heroes"] = data.heroes
    return summary


def _unread(request: SyncRequest, counts: Counts) -> list[tuple[bytes, bytes]]:
    by_thread = request.filter.room.timeline.unread_thread_notifications
    notify, highlight = counts.main if by_thread else counts.total
    parts = [(b"unread_notifications", b'{"notification_count":%d,"highlight_count":%d}' % (notify, highlight))]
    if by_thread:
        threads = {
            root: {"notification_count": notify, "highlight_count": highlight}
            for root, (notify, highlight) in counts.threads.items()
        }
        parts.append((b"unread_thread_notifications", orjson.dumps(threads)))
    return parts
