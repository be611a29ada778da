"""`m.receipt`: up to where users of this server have read.

https://spec.matrix.org/v1.19/server-server-api/#receipts
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from matrixd.queries.feed import Feed
from matrixd.queries.room_servers import RoomServers
from matrixd.services.outbox import Outbox
from matrixd.services.sending_edus.room_ids import RoomIds
from matrixd.storage.receipts import READ
from matrixd.storage.rows import ReceiptRow
from matrixd.util.background import in_background
from matrixd.util.timer import Alarm, Timer

#: Receipts are collected for so long, in seconds: of those that a user moves meanwhile the last is sent.
COALESCE_S = 0.2


class ReceiptsOut:
    """Follows the receipts of users of this server. Private ones are nobody else's business, and never told."""

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
        #: Room -> (user, thread) -> receipt; bounded by the time that they are held.
        self._waiting: dict[int, dict[tuple[int, str], ReceiptRow]] = {}
        self._alarm = Alarm(timer, self._flush)
        feed.subscribe(ReceiptRow, self._on_receipt)

    def _on_receipt(self, row: ReceiptRow) -> None:
        if row.type == READ and self._is_local(row.user_id):
            self._waiting.setdefault(row.room_nid, {})[row.user_nid, row.thread_id] = row
            self._alarm.set(self._timer.seconds() + COALESCE_S)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for room_nid, rows in waiting.items():
            self._background("telling other servers of receipts", self._tell(room_nid, list(rows.values())))

    async def _tell(self, room_nid: int, rows: Sequence[ReceiptRow]) -> None:
        room_id = await self._room_ids.of(room_nid)
        servers = list(await self._room_servers.of(room_nid))
        if not servers or room_id is None:
            return
        for row in rows:
            content = {room_id: {READ: {row.user_id: {"event_ids": [row.event_id], "data": _data(row)}}}}
            self._outbox.send_edu(servers, "m.receipt", content, key=f"{room_id} {row.user_id} {row.thread_id}")


def _data(row: ReceiptRow) -> dict[str, Any]:
    return {"ts": row.ts, "thread_id": row.thread_id} if row.thread_id else {"ts": row.ts}
