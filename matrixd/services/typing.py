"""Who is typing in which room. Kept in memory only.

https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
"""

from matrixd.core.streams import Stream
from matrixd.queries.feed import Feed
from matrixd.services import known_rooms
from matrixd.storage.database import Database
from matrixd.storage.rows import EventRow, TypingRow
from matrixd.util.timer import Alarm, Timer

#: What a client may ask for at most, in milliseconds, and what it gets if it does not say.
MAX_TIMEOUT_MS = 120_000
DEFAULT_TIMEOUT_MS = 30_000
#: Users who are shown as typing in one room; more would only be noise.
MAX_IN_ROOM = 50
#: Users of other servers of these: they shall not keep our own from being shown.
MAX_REMOTE_IN_ROOM = 40
#: Users who type at the same time on the whole server; beyond it nobody else is noted.
MAX_TYPING = 20_000
#: How long a user of another server is shown, in seconds, if that does not say it again.
REMOTE_TIMEOUT_S = 60.0


class Typing:
    """Takes note of who types, and announces each room's list when it changes."""

    def __init__(self, database: Database, feed: Feed, timer: Timer) -> None:
        self._database = database
        self._feed = feed
        self._timer = timer
        #: Room number -> user ID -> when it ends, in the timer's seconds. Rooms without anybody are left out.
        self._rooms: dict[int, dict[str, float]] = {}
        self._count = 0
        self._alarm = Alarm(timer, self._expire)
        feed.subscribe(EventRow, self._on_event)

    async def set(
        self, user_nid: int, user_id: str, room_id: str, typing: bool, timeout_ms: int = DEFAULT_TIMEOUT_MS
    ) -> None:
        """Note that a user types for the next `timeout_ms`, or does not any more.

        Raises M_FORBIDDEN for a room that the user is not joined to.
        """
        room_nid = await self._database.read(known_rooms.joined_nid, room_id, user_nid)
        if typing and timeout_ms > 0:
            self._begin(room_nid, user_id, min(timeout_ms, MAX_TIMEOUT_MS) / 1000)
        else:
            self.stop(room_nid, user_id)

    def set_remote(self, room_nid: int, user_id: str, typing: bool) -> None:
        """Note what another server says of its user, who is in the room: for a minute at most."""
        if typing:
            self._begin(room_nid, user_id, REMOTE_TIMEOUT_S, is_remote=True)
        else:
            self.stop(room_nid, user_id)

    def stop(self, room_nid: int, user_id: str) -> None:
        """The user does not type any more."""
        if self._remove(room_nid, user_id):
            self._announce([room_nid])

    def _begin(self, room_nid: int, user_id: str, seconds: float, *, is_remote: bool = False) -> None:
        users = self._rooms.get(room_nid, {})
        is_new = user_id not in users
        max_in_room = MAX_REMOTE_IN_ROOM if is_remote else MAX_IN_ROOM
        if is_new and (len(users) >= max_in_room or self._count >= MAX_TYPING):
            return
        self._rooms[room_nid] = users
        users[user_id] = until = self._timer.seconds() + seconds
        self._alarm.set(until)
        if is_new:
            self._count += 1
            self._announce([room_nid])

    def _remove(self, room_nid: int, user_id: str) -> bool:
        users = self._rooms.get(room_nid)
        if users is None or users.pop(user_id, None) is None:
            return False
        self._count -= 1
        if not users:
            del self._rooms[room_nid]
        return True

    def _expire(self) -> None:
        now = self._timer.seconds()
        changed = []
        for room_nid, users in list(self._rooms.items()):
            over = [user_id for user_id, until in users.items() if until <= now]
            for user_id in over:
                self._remove(room_nid, user_id)
            if over:
                changed.append(room_nid)
        if self._rooms:
            self._alarm.set(min(until for users in self._rooms.values() for until in users.values()))
        if changed:
            self._announce(changed)

    def _announce(self, room_nids: list[int]) -> None:
        pos = self._feed.next_position(Stream.TYPING)
        rows = [
            TypingRow(pos + offset, room_nid, tuple(self._rooms.get(room_nid, ())))
            for offset, room_nid in enumerate(room_nids)
        ]
        self._feed.append(rows)

    def _on_event(self, row: EventRow) -> None:
        # A message ends nothing: the client says when its user has stopped, and a user may type on at another device.
        if row.member is None or row.member.membership == "join":
            return
        if row.member.user_id in self._rooms.get(row.room_nid, ()):
            # The feed is handing out a commit: what is announced now must come after it.
            self._timer.callLater(0, self.stop, row.room_nid, row.member.user_id)
