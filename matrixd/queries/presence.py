"""Presence as sync gives it: `m.presence` events of the users who share a room.

https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.feed import Feed
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.storage import room_members
from matrixd.storage.database import Database
from matrixd.storage.rows import PresenceRow
from matrixd.util.clock import Clock

#: Users whose last change is held, about 5 MB; beyond it the one whose presence changed longest ago goes.
_MAX_USERS = 10_000


class Presence:
    """Holds the newest presence of each user who was there since the server started."""

    def __init__(self, database: Database, feed: Feed, rooms: UserRoomsIndex, clock: Clock) -> None:
        self._database = database
        self._rooms = rooms
        self._clock = clock
        #: In the order of their positions.
        self._newest: dict[int, PresenceRow] = {}
        feed.subscribe(PresenceRow, self._on_change)

    def changed(self, after: StreamToken | None, up_to: StreamToken) -> list[PresenceRow]:
        """What changed between two tokens, of all users, newest first; for `after` None those who are there."""
        found = []
        begin = 0 if after is None else after[Stream.PRESENCE]
        for row in reversed(self._newest.values()):
            if row.pos <= begin:
                break
            if row.pos <= up_to[Stream.PRESENCE] and (after is not None or row.state != "offline"):
                found.append(row)
        return found

    async def between(self, user_nid: int, after: StreamToken | None, up_to: StreamToken) -> list[dict[str, Any]]:
        """The `m.presence` events of what changed between two tokens and the user may see; oldest first."""
        rows = self.changed(after, up_to)
        if not rows:
            return []
        now_ms = self._clock.now_ms()
        return [presence_event(row, now_ms) for row in reversed(rows) if await self._may_see(user_nid, row)]

    def events(self, rows: Sequence[PresenceRow], user_nids: Collection[int]) -> list[dict[str, Any]]:
        """The events of those changes, newest first, that are of some users; oldest first."""
        now_ms = self._clock.now_ms()
        return [presence_event(row, now_ms) for row in reversed(rows) if row.user_nid in user_nids]

    def of_users(self, users: Mapping[int, str]) -> list[dict[str, Any]]:
        """The events of some users, number -> user ID, for someone who begins to share a room with them."""
        now_ms = self._clock.now_ms()
        # A user who is not held has not been there, unless some were dropped.
        has_all = len(self._newest) < _MAX_USERS
        found = []
        for user_nid, user_id in users.items():
            row = self._newest.get(user_nid)
            if row is not None or has_all:
                found.append(presence_event(row or _absent(user_nid, user_id), now_ms))
        return found

    async def _may_see(self, user_nid: int, row: PresenceRow) -> bool:
        other_nid = row.user_nid
        if user_nid == other_nid:
            return True
        mine, theirs = self._rooms.find(user_nid), self._rooms.find(other_nid)
        if mine is not None and row.room_nids:
            return any(mine.is_joined(room_nid) for room_nid in row.room_nids)
        if mine is not None and theirs is not None:
            if len(mine.entries) > len(theirs.entries):
                mine, theirs = theirs, mine
            return any(theirs.is_joined(entry.room.room_nid) for entry in mine.joined())
        return await self._database.read(room_members.share_a_room, user_nid, other_nid)

    def _on_change(self, row: PresenceRow) -> None:
        self._newest.pop(row.user_nid, None)
        self._newest[row.user_nid] = row
        if len(self._newest) > _MAX_USERS:
            del self._newest[next(iter(self._newest))]


def _absent(user_nid: int, user_id: str) -> PresenceRow:
    return PresenceRow(0, user_id, user_nid, "offline", None, 0, False)


def presence_event(row: PresenceRow, now_ms: int) -> dict[str, Any]:
    """The `m.presence` event."""
    return {"type": "m.presence", "sender": row.user_id, "content": presence_content(row, now_ms)}


def presence_content(row: PresenceRow, now_ms: int) -> dict[str, Any]:
    """The content of an `m.presence` event, which is also what the API answers."""
    content: dict[str, Any] = {"presence": row.state}
    if row.last_active_ts:
        content["last_active_ago"] = max(0, now_ms - row.last_active_ts)
    if row.state == "online":
        content["currently_active"] = row.currently_active
    if row.status_msg is not None:
        content["status_msg"] = row.status_msg
    return content
