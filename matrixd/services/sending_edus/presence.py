"""`m.presence`: the presence of users of this server.

https://spec.matrix.org/v1.19/server-server-api/#presence

Nothing is told to more servers for less use, so much is left out: rooms with many members make nobody's presence known,
changes that come quickly are told as one, and the outbox drops presence first.
"""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from matrixd.queries.feed import Feed
from matrixd.queries.presence import presence_content
from matrixd.queries.room_servers import RoomServers
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.services.comings import came_in
from matrixd.services.outbox import Outbox
from matrixd.services.remote_presence import MAX_MEMBERS, TIMEOUT_S
from matrixd.storage.rows import EventRow, PresenceRow
from matrixd.util.background import in_background
from matrixd.util.clock import Clock
from matrixd.util.timer import Alarm, Timer

#: Changes are collected for so long before they are told, in seconds.
COALESCE_S = 1.0
#: Users who stay as they are, and are there, are told of again so often, in seconds: before others take them for gone.
REFRESH_S = TIMEOUT_S - 5 * 60.0


class PresenceOut:
    """Follows the presence of users of this server, and tells the servers with which they share a room."""

    def __init__(
        self,
        feed: Feed,
        outbox: Outbox,
        room_servers: RoomServers,
        user_rooms: UserRoomsIndex,
        clock: Clock,
        timer: Timer,
        is_local: Callable[[str], bool],
        background: Callable[[str, Coroutine[Any, Any, object]], object] = in_background,
    ) -> None:
        self._outbox = outbox
        self._room_servers = room_servers
        self._user_rooms = user_rooms
        self._clock = clock
        self._timer = timer
        self._is_local = is_local
        self._background = background
        #: Users who are there: number -> what was announced last. As many as the presence service follows.
        self._there: dict[int, PresenceRow] = {}
        #: Users to tell of: number -> newest presence.
        self._changed: dict[int, PresenceRow] = {}
        #: (user's number, server): servers that came into sight of users who are there.
        self._new_servers: set[tuple[int, str]] = set()
        self._flush_alarm = Alarm(timer, self._flush)
        self._refresh_alarm = Alarm(timer, self._refresh)
        feed.subscribe(PresenceRow, self._on_presence)
        feed.subscribe(EventRow, self._on_event)

    def _on_presence(self, row: PresenceRow) -> None:
        if not self._is_local(row.user_id):
            return
        self._there.pop(row.user_nid, None)
        if row.state != "offline":
            self._there[row.user_nid] = row
            self._refresh_alarm.set(self._timer.seconds() + REFRESH_S)
        self._tell_soon([row])

    def _on_event(self, row: EventRow) -> None:
        if row.joined_count > MAX_MEMBERS:
            return
        for member in came_in(row):
            if not member.is_local:
                self._show_room(row.room_nid, member.user_id.partition(":")[2])
            elif member.user_nid in self._there:
                self._tell_soon([self._there[member.user_nid]])

    def _show_room(self, room_nid: int, server: str) -> None:
        """A user of another server came in: it is told who of the room is there."""
        room = self._user_rooms.room(room_nid)
        for index in () if room is None else room.watchers:
            if index.user_nid in self._there and index.is_joined(room_nid):
                self._new_servers.add((index.user_nid, server))
                self._flush_alarm.set(self._timer.seconds() + COALESCE_S)

    def _tell_soon(self, rows: Iterable[PresenceRow]) -> None:
        for row in rows:
            self._changed[row.user_nid] = row
            self._flush_alarm.set(self._timer.seconds() + COALESCE_S)

    def _refresh(self) -> None:
        self._tell_soon(list(self._there.values()))
        if self._there:
            self._refresh_alarm.set(self._timer.seconds() + REFRESH_S)

    def _flush(self) -> None:
        changed, self._changed = self._changed, {}
        new_servers, self._new_servers = self._new_servers, set()
        for row in changed.values():
            self._background(f"telling other servers of the presence of {row.user_id}", self._tell(row))
        for user_nid, server in new_servers:
            if user_nid in self._there and user_nid not in changed:
                self._send(self._there[user_nid], [server])

    async def _tell(self, row: PresenceRow) -> None:
        index = await self._user_rooms.get(row.user_nid)
        small = [entry.room.room_nid for entry in index.joined() if entry.room.joined_count <= MAX_MEMBERS]
        servers = await self._room_servers.of_any(small)
        # What changed meanwhile will be told by itself, and must not come before this.
        if servers and self._there.get(row.user_nid, row) == row:
            self._send(row, servers)

    def _send(self, row: PresenceRow, servers: Iterable[str]) -> None:
        content = {"last_active_ago": 0, **presence_content(row, self._clock.now_ms()), "user_id": row.user_id}
        self._outbox.send_edu(list(servers), "m.presence", {"push": [content]}, key=row.user_id)
