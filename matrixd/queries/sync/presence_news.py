"""Presence in a sync: what changed, and that of users who have just come into sight."""

from collections.abc import Sequence
from typing import Any

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.presence import Presence
from matrixd.queries.room_tails import RoomTails
from matrixd.queries.sync.news import RoomNews
from matrixd.queries.sync.request import SyncRequest
from matrixd.storage import room_members
from matrixd.storage.database import Database

#: Of a larger room, nobody's presence is told on joining it.
_MAX_MEMBERS = 500


class PresenceNews:
    """Reads the `m.presence` events of an answer. With presence switched off there is none to read."""

    def __init__(self, database: Database, presence: Presence, tails: RoomTails, enabled: bool) -> None:
        self._database = database
        self._presence = presence
        self._tails = tails
        self._enabled = enabled

    async def events(self, request: SyncRequest, news: Sequence[RoomNews], now: StreamToken) -> list[dict[str, Any]]:
        """The events, one for each user."""
        if not self._enabled:
            return []
        since = request.since
        found: dict[str, dict[str, Any]] = {}
        if since is not None:
            for event in self._presence.of_users(await self._newly_seen(request, news, now)):
                found[event["sender"]] = event
        if since is None or since[Stream.PRESENCE] < now[Stream.PRESENCE]:
            for event in await self._presence.between(request.user_nid, since, now):
                found[event["sender"]] = event
        return list(found.values())

    async def _newly_seen(self, request: SyncRequest, news: Sequence[RoomNews], now: StreamToken) -> dict[int, str]:
        """Users who came into one of the user's rooms, and those of rooms that the user came into: number -> ID."""
        users: dict[int, str] = {}
        entered: list[int] = []
        for item in news:
            room = item.entry.room
            if item.newly_joined and room.joined_count <= _MAX_MEMBERS:
                entered.append(room.room_nid)
            elif item.has_events:
                rows = self._tails.after(room.room_nid, request.after, now[Stream.EVENTS]) or ()
                users |= {
                    row.member.user_nid: row.member.user_id
                    for row in rows
                    if row.member is not None and row.member.membership == "join" and row.member.before != "join"
                }
        if entered:
            users.update(await self._database.read(room_members.joined, entered))
        return users
