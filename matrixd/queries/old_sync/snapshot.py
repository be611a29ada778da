"""`GET /initialSync`: all that a user has, as of now; `/events` goes on from there."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from matrixd.core.filters import EventFilter, Filter, RoomFilter
from matrixd.core.streams import RoomToken, Stream, StreamToken
from matrixd.queries.account_data import PUSH_RULES, AccountDataChanges
from matrixd.queries.client_events import ClientEvents, json_array, json_object
from matrixd.queries.event_details import Details, Histories
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.feed import Feed
from matrixd.queries.old_sync import form
from matrixd.queries.old_sync.form import RoomPart
from matrixd.queries.old_sync.stream import load_told
from matrixd.queries.presence import Presence
from matrixd.queries.sync.left import LeftRooms
from matrixd.queries.sync.load import RoomAsk, load_rooms
from matrixd.queries.sync.news import News, RoomNews, ephemeral_events
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.user_rooms import RoomEntry, UserRooms, UserRoomsIndex
from matrixd.storage import events, rooms
from matrixd.storage.database import Database
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

#: Names and JSON.
Members = list[tuple[str, bytes]]


class Snapshot:
    """Everything of a user."""

    def __init__(
        self,
        database: Database,
        feed: Feed,
        index: UserRoomsIndex,
        client_events: ClientEvents,
        news: News,
        left: LeftRooms,
        presence: Presence,
    ) -> None:
        self._database = database
        self._feed = feed
        self._index = index
        self._client_events = client_events
        self._news = news
        self._left = left
        self._presence = presence

    async def answer(
        self, viewer: Viewer, device_nid: int, limit: int, archived: bool, own_presence: Mapping[str, Any] | None
    ) -> bytes:
        """At most `limit` messages of each room; with the rooms that the user has left, if `archived`.

        `own_presence` is the content of the user's own m.presence event.
        """
        now = self._feed.token
        timeline = EventFilter(limit=limit)
        asked = SyncRequest(
            viewer, device_nid, None, Filter(room=RoomFilter(include_leave=archived, timeline=timeline)), False, True
        )
        index = await self._index.get(viewer.user_nid)
        changes = await self._news.account_data(asked, now)
        news = await self._news.joined(asked, index, now, changes)
        members = [
            *await self._joined(asked, news, now),
            *await self._invited(viewer, index, now),
            *await self._archived(asked, index, now, changes),
        ]
        everywhere = [event for event in changes.everywhere if event["type"] != PUSH_RULES]
        return json_object(
            [
                ("end", orjson.dumps(str(now))),
                ("presence", orjson.dumps(await self._presence_events(viewer, now, own_presence))),
                ("rooms", json_array(json_object(room) for room in members)),
                ("account_data", orjson.dumps(everywhere)),
                ("receipts", orjson.dumps([receipt for item in news for receipt in _receipts(item)])),
            ]
        )

    async def _joined(
        self, asked: SyncRequest, news: Sequence[RoomNews], now: StreamToken
    ) -> list[Members]:
        asks = [_joined_ask(asked, item.entry, now) for item in news]
        found = await load_rooms(self._database, asks)
        published = await self._published([item.entry for item in news])
        members = []
        for item, (data, loaded) in zip(news, found, strict=True):
            room = item.entry.room
            part = RoomPart(room.room_id, "join", room.room_nid in published, now, item.account_data)
            members.append(form.room_info(self._client_events, part, data, loaded))
        return members

    async def _invited(self, viewer: Viewer, index: UserRooms, now: StreamToken) -> list[Members]:
        entries = [
            entry
            for entry in index.entries.values()
            if entry.membership == "invite" and entry.pos <= now[Stream.EVENTS]
        ]
        if not entries:
            return []
        invites, histories, details = await self._database.read(_invites, viewer, entries)
        shown = self._client_events.assemble(histories, invites, details)
        return [_invite(stored, body) for stored, body in zip(invites, form.with_user_ids(shown, invites), strict=True)]

    async def _archived(
        self, asked: SyncRequest, index: UserRooms, now: StreamToken, changes: AccountDataChanges
    ) -> list[Members]:
        found = await self._left.load(asked, index, now[Stream.EVENTS])
        published = await self._published([entry for entry, _, _ in found])
        members = []
        for entry, data, loaded in found:
            room, end = entry.room, RoomToken(None, entry.pos)
            kept = changes.rooms.get(room.room_nid, ())
            part = RoomPart(room.room_id, entry.membership, room.room_nid in published, end, kept)
            members.append(form.room_info(self._client_events, part, data, loaded))
        return members

    async def _published(self, entries: Sequence[RoomEntry]) -> set[int]:
        found = await self._database.read(rooms.by_nids, [entry.room.room_nid for entry in entries])
        return {room.room_nid for room in found.values() if room.published}

    async def _presence_events(
        self, viewer: Viewer, now: StreamToken, own: Mapping[str, Any] | None
    ) -> list[dict[str, Any]]:
        others = await self._presence.between(viewer.user_nid, None, now)
        found = [event for event in others if event["sender"] != viewer.user_id]
        if own is not None:
            found.append({"type": "m.presence", "sender": viewer.user_id, "content": own})
        return form.presence(found)


def _joined_ask(asked: SyncRequest, entry: RoomEntry, now: StreamToken) -> RoomAsk:
    return RoomAsk(
        room_nid=entry.room.room_nid,
        viewer=asked.viewer,
        after=-1,
        up_to=now[Stream.EVENTS],
        limit=asked.timeline_limit,
        timeline=asked.filter.room.timeline,
        joined_since=entry.since,
        state_after=None,
        state_at_end=True,
        lazy=False,
        own_member=False,
        summary=False,
    )


def _invites(
    tx: Transaction, viewer: Viewer, entries: Sequence[RoomEntry]
) -> tuple[list[StoredEvent], Histories, Details]:
    found = events.by_nids(tx, [entry.event_nid for entry in entries])
    invites = [invite for invite in found.values() if invite.event.sender not in viewer.ignored]
    return invites, *load_told(tx, viewer, invites)


def _invite(stored: StoredEvent, body: bytes) -> Members:
    return [
        ("room_id", orjson.dumps(stored.event.room_id)),
        ("membership", b'"invite"'),
        ("inviter", orjson.dumps(stored.event.sender)),
        ("invite", body),
    ]


def _receipts(news: RoomNews) -> list[dict[str, Any]]:
    return [form.in_room(event, news.entry.room.room_id) for event in ephemeral_events(None, news.receipts)]
