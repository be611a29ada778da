"""The `leave` section: the end of rooms that a user has left, or was removed from."""

from matrixd.queries.sync.load import Loaded, RoomAsk, RoomData, load_rooms
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.user_rooms import RoomEntry, UserRooms
from matrixd.storage.database import Database

_LEFT = ("leave", "ban")


class LeftRooms:
    """Reads what is told of rooms that the user is not in any more."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(
        self, request: SyncRequest, index: UserRooms, up_to: int
    ) -> list[tuple[RoomEntry, RoomData, Loaded]]:
        """The rooms left since the token; with a first sync, all of them if the filter includes them."""
        if request.since is None and not request.filter.room.include_leave:
            return []
        entries = [
            entry
            for entry in index.entries.values()
            if entry.membership in _LEFT
            and not entry.forgotten
            and (request.after < entry.pos <= up_to or (request.full_state and request.filter.room.include_leave))
            and request.filter.room.matches_room(entry.room.room_id)
        ]
        found = await load_rooms(self._database, [self._ask(request, entry) for entry in entries])
        return [(entry, data, loaded) for entry, (data, loaded) in zip(entries, found, strict=True)]

    def _ask(self, request: SyncRequest, entry: RoomEntry) -> RoomAsk:
        whole = request.since is None or request.full_state
        return RoomAsk(
            room_nid=entry.room.room_nid,
            viewer=request.viewer,
            after=-1 if request.since is None else min(request.after, entry.pos - 1),
            # What happened after leaving is not the user's to see.
            up_to=entry.pos,
            limit=request.timeline_limit,
            timeline=request.filter.room.timeline,
            joined_since=None,
            state_after=None if whole else request.after,
            state_at_end=request.use_state_after,
            lazy=request.filter.room.state.lazy_load_members,
            own_member=whole,
            summary=False,
        )

