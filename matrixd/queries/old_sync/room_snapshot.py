"""A room's `initialSync`: the room as of now, or as of when the user left; `/events` goes on from there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from matrixd.core.filters import EventFilter
from matrixd.core.streams import RoomToken, Stream, StreamToken
from matrixd.queries.client_events import ClientEvents, json_object
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.feed import Feed
from matrixd.queries.old_sync import form
from matrixd.queries.old_sync.form import RoomPart
from matrixd.queries.presence import Presence
from matrixd.queries.receipts import Receipts
from matrixd.queries.room_access import RoomAccess, room_access
from matrixd.queries.sync.load import Loaded, RoomAsk, load
from matrixd.queries.sync.news import ephemeral_events
from matrixd.storage import account_data, room_members
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

_EVERY_EVENT = EventFilter()
#: Of a larger room, nobody's presence is told.
_MAX_MEMBERS = 500


@dataclass(frozen=True, slots=True)
class _Read:
    access: RoomAccess
    loaded: Loaded
    account_data: Sequence[Mapping[str, Any]]
    members: Mapping[int, str]


class RoomSnapshot:
    """Answers it."""

    def __init__(
        self, database: Database, feed: Feed, client_events: ClientEvents, receipts: Receipts, presence: Presence
    ) -> None:
        self._database = database
        self._feed = feed
        self._client_events = client_events
        self._receipts = receipts
        self._presence = presence

    async def answer(self, viewer: Viewer, room_id: str, limit: int) -> bytes:
        """The answer, with at most `limit` messages. Raises M_FORBIDDEN."""
        now = self._feed.token
        read = await self._database.read(_read, viewer, room_id, limit, now[Stream.EVENTS])
        access, left_at = read.access, read.access.state_at
        end = now if left_at is None else RoomToken(None, left_at)
        membership = None if access.member is None else access.membership
        part = RoomPart(room_id, membership, access.room.published, end, read.account_data)
        receipts = await self._receipt_events(viewer, access, now) if left_at is None else []
        return json_object(
            [
                *form.room_info(self._client_events, part, read.loaded.rooms[0], read.loaded),
                # Older clients look for these two.
                ("presence", orjson.dumps(form.presence(self._presence.of_users(read.members)))),
                ("receipts", orjson.dumps(receipts)),
            ]
        )

    async def _receipt_events(self, viewer: Viewer, access: RoomAccess, now: StreamToken) -> list[dict[str, Any]]:
        room = access.room
        receipts = await self._receipts.between(viewer.user_nid, [room.room_nid], None, now)
        return [form.in_room(event, room.room_id) for event in ephemeral_events(None, receipts.get(room.room_nid))]


def _read(tx: Transaction, viewer: Viewer, room_id: str, limit: int, now: int) -> _Read:
    access = room_access(tx, room_id, viewer)
    room_nid, left_at = access.room.room_nid, access.state_at
    ask = RoomAsk(
        room_nid=room_nid,
        viewer=viewer,
        after=-1,
        up_to=now if left_at is None else min(now, left_at),
        limit=limit,
        timeline=_EVERY_EVENT,
        joined_since=access.member.pos if access.member is not None and access.membership == "join" else None,
        state_after=None,
        state_at_end=True,
        lazy=False,
        own_member=False,
        summary=False,
    )
    kept = [{"type": row.type, "content": row.content} for row in account_data.of_room(tx, viewer.user_nid, room_nid)]
    members: Mapping[int, str] = {}
    if left_at is None and access.room.joined_count <= _MAX_MEMBERS:
        members = room_members.joined(tx, [room_nid])
    return _Read(access, load(tx, [ask]), kept, members)
