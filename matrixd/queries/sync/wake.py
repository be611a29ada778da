"""Wakes the syncs that wait, once for each commit, when something happened that concerns their user."""

from collections.abc import Sequence

from matrixd.queries.feed import Feed
from matrixd.queries.user_rooms import RoomEntry, UserRoomsIndex
from matrixd.storage.rows import (
    AccountDataRow,
    DeviceDeleted,
    EventRow,
    PresenceRow,
    PushRulesRow,
    ReceiptRow,
    RoomFilled,
    ToDeviceRow,
    TypingRow,
)


class Wake:
    """Looks at the rows of each commit."""

    def __init__(self, feed: Feed, index: UserRoomsIndex) -> None:
        self._index = index
        feed.after_batch(self._on_batch)

    def _on_batch(self, batch: Sequence[object]) -> None:
        users: set[int] = set()
        rooms: set[int] = set()
        for row in batch:
            if isinstance(row, EventRow):
                rooms.add(row.room_nid)
                users.update(member.user_nid for member in row.members)
            elif isinstance(row, RoomFilled):
                rooms.add(row.room_nid)
            elif isinstance(row, ReceiptRow) and row.type == "m.read.private":
                users.add(row.user_nid)
            elif isinstance(row, (ReceiptRow, TypingRow)):
                rooms.add(row.room_nid)
            elif isinstance(row, (AccountDataRow, PushRulesRow, DeviceDeleted, ToDeviceRow)):
                users.add(row.user_nid)
            elif isinstance(row, PresenceRow):
                users.add(row.user_nid)
                rooms.update(row.room_nids)
                seen = self._index.find(row.user_nid)
                rooms.update(entry.room.room_nid for entry in (seen.joined() if seen is not None else ()))
        self._index.wake_rooms(rooms, _is_joined)
        self._index.wake_users(users)


def _is_joined(entry: RoomEntry) -> bool:
    return entry.membership == "join"
