"""`m.typing`: who of this server types.

https://spec.matrix.org/v1.19/server-server-api/#typing-notifications
"""

from collections.abc import Callable, Collection, Coroutine
from typing import Any

from matrixd.queries.feed import Feed
from matrixd.queries.room_servers import RoomServers
from matrixd.services.outbox import Outbox
from matrixd.services.sending_edus.room_ids import RoomIds
from matrixd.storage.rows import TypingRow
from matrixd.util.background import in_background
from matrixd.util.timer import Alarm, Timer

#: Users who type on are told of again so often, in seconds: other servers show nobody for ever.
REFRESH_S = 30.0


class TypingOut:
    """Follows who types, and tells the other servers in the room of users of this one."""

    def __init__(
        self,
        feed: Feed,
        outbox: Outbox,
        room_servers: RoomServers,
        room_ids: RoomIds,
        timer: Timer,
        is_local: Callable[[str], bool],
        background: Callable[[str, Coroutine[Any, Any, object]], object] = in_background,
    ) -> None:
        self._outbox = outbox
        self._room_servers = room_servers
        self._room_ids = room_ids
        self._timer = timer
        self._is_local = is_local
        self._background = background
        #: Room's number -> users of this server who type there; bounded as the rows are.
        self._rooms: dict[int, frozenset[str]] = {}
        self._alarm = Alarm(timer, self._refresh)
        feed.subscribe(TypingRow, self._on_change)

    def _on_change(self, row: TypingRow) -> None:
        now = frozenset(filter(self._is_local, row.user_ids))
        before = self._rooms.pop(row.room_nid, frozenset())
        if now:
            self._rooms[row.room_nid] = now
            self._alarm.set(self._timer.seconds() + REFRESH_S)
        if now != before:
            self._background("telling other servers who types", self._tell(row.room_nid, now ^ before))

    def _refresh(self) -> None:
        for room_nid, users in self._rooms.items():
            self._background("telling other servers who types", self._tell(room_nid, users))
        if self._rooms:
            self._alarm.set(self._timer.seconds() + REFRESH_S)

    async def _tell(self, room_nid: int, user_ids: Collection[str]) -> None:
        room_id = await self._room_ids.of(room_nid)
        servers = list(await self._room_servers.of(room_nid))
        if not servers or room_id is None:
            return
        typing = self._rooms.get(room_nid, frozenset())
        for user_id in sorted(user_ids):
            content = {"room_id": room_id, "user_id": user_id, "typing": user_id in typing}
            self._outbox.send_edu(servers, "m.typing", content, key=f"{room_id} {user_id}")
