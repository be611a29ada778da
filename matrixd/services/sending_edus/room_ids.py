"""The IDs of rooms by their numbers."""

from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.storage import rooms
from matrixd.storage.database import Database


class RoomIds:
    """Knows the IDs of rooms in use from memory."""

    def __init__(self, database: Database, index: UserRoomsIndex) -> None:
        self._database = database
        self._index = index

    async def of(self, room_nid: int) -> str | None:
        """The ID of a room; None for one that is no more."""
        live = self._index.room(room_nid)
        if live is not None:
            return live.room_id
        found = (await self._database.read(rooms.by_nids, [room_nid])).get(room_nid)
        return None if found is None else found.room_id
