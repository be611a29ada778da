"""Fully read markers, kept as the room account data `m.fully_read`.

https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers
"""

from collections.abc import Mapping

from matrixd.services import known_rooms, receipts
from matrixd.services.account_data import FULLY_READ
from matrixd.storage import account_data
from matrixd.storage import receipts as stored_receipts
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock


class ReadMarkers:
    """Moves the marker and, in the same step, receipts."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def set(
        self, user_nid: int, user_id: str, room_id: str, fully_read: str | None, read: Mapping[str, str]
    ) -> None:
        """Move the marker to the event `fully_read`, and the unthreaded receipts in `read` (type -> event ID).

        What is further already stays. Raises M_INVALID_PARAM, M_FORBIDDEN, M_NOT_FOUND; then nothing has moved.
        """
        await self._database.write(_set, user_nid, user_id, room_id, fully_read, read, self._clock.now_ms())


def _set(
    tx: Transaction, user_nid: int, user_id: str, room_id: str, fully_read: str | None, read: Mapping[str, str],
    now_ms: int,
) -> None:  # fmt: skip
    room_nid = known_rooms.joined_nid(tx, room_id, user_nid)
    for receipt_type, event_id in read.items():
        receipts.move(tx, user_nid, user_id, room_nid, receipt_type, event_id, None, now_ms)
    if fully_read is not None:
        _move_marker(tx, user_nid, room_nid, fully_read)


def _move_marker(tx: Transaction, user_nid: int, room_nid: int, event_id: str) -> None:
    event = receipts.target(tx, room_nid, event_id)
    content = account_data.get(tx, user_nid, room_nid, FULLY_READ)
    if content is not None:
        standing = stored_receipts.target(tx, room_nid, str(content.get("event_id")))
        if standing is not None and standing.pos >= event.pos:
            return
    account_data.put(tx, user_nid, room_nid, FULLY_READ, {"event_id": event_id})
