"""Of which users of other servers something is kept: only of those who share a room with one of ours.

Their servers tell us of changes only while they do. So who comes back into sight has a stale device list, and what is
kept of those who do not is deleted.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from matrixd.queries.feed import Feed
from matrixd.services.comings import came_in
from matrixd.storage import (
    device_list_changes,
    remote_devices,
    room_members,
    shared_rooms,
    to_device,
)
from matrixd.storage.database import Database
from matrixd.storage.rows import EventRow
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background
from matrixd.util.clock import Clock
from matrixd.util.timer import Alarm, Timer

#: Users in one transaction, so that other writes need not wait long.
_BATCH = 500
#: Who comes in is collected for so long, in seconds.
_COALESCE_S = 1.0
#: How long it is known which messages of other servers have come.
_MESSAGE_IDS_MS = 7 * 24 * 60 * 60 * 1000


class UsersInSight:
    """Follows who comes into rooms; `on_stale` is called when lists became stale by that."""

    def __init__(
        self,
        database: Database,
        feed: Feed,
        clock: Clock,
        timer: Timer,
        on_stale: Callable[[], None],
        background: Callable[[str, Coroutine[Any, Any, object]], object] = in_background,
    ) -> None:
        self._database = database
        self._clock = clock
        self._timer = timer
        self._on_stale = on_stale
        self._background = background
        #: (room, user of another server), or (room, None) where a user of ours came in.
        self._came: set[tuple[int, int | None]] = set()
        self._alarm = Alarm(timer, self._flush)
        feed.subscribe(EventRow, self._on_event)

    def _on_event(self, row: EventRow) -> None:
        for member in came_in(row):
            self._came.add((row.room_nid, None if member.is_local else member.user_nid))
            self._alarm.set(self._timer.seconds() + _COALESCE_S)

    def _flush(self) -> None:
        came, self._came = self._came, set()
        self._background("looking at the device lists of those who came into rooms", self._note(came))

    async def _note(self, came: set[tuple[int, int | None]]) -> None:
        if await self._database.write(_mark_stale, came, self._clock.now_ms()):
            self._on_stale()

    async def forget(self) -> None:
        """Delete what is kept of users who share no room with one of ours any more; and old message IDs."""
        last = 0
        while user_nids := await self._database.read(remote_devices.known_users, last, _BATCH):
            await self._database.write(_forget, user_nids)
            last = user_nids[-1]
        await self._database.write(to_device.expire_received, self._clock.now_ms() - _MESSAGE_IDS_MS)


def _mark_stale(tx: Transaction, came: set[tuple[int, int | None]], now_ms: int) -> bool:
    marked = 0
    for room_nid, user_nid in sorted(came, key=str):
        ours = len(room_members.local_joined(tx, room_nid))
        # When one of ours comes in where another one was, its members were in sight.
        if ours == 1 or (ours and user_nid is not None):
            marked += remote_devices.mark_stale_in_room(tx, room_nid, user_nid, now_ms)
    return marked > 0


def _forget(tx: Transaction, user_nids: list[int]) -> None:
    gone = sorted(set(user_nids) - shared_rooms.remote_users(tx, user_nids))
    if gone:
        remote_devices.forget(tx, gone)
        device_list_changes.forget(tx, gone)
