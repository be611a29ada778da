"""`GET /events` of one room: `data/api/client-server/peeking_events.yaml` of the specification."""

from matrixd.core.identifiers import validate_room_id
from matrixd.http.client.event_polling import EventPolling
from matrixd.http.kit.call import Call
from matrixd.queries.old_sync.peeked_room import PeekedRoom


class PeekingEvents:
    """The endpoint. It has the path of the one in `old_sync`, which hands over what names a room."""

    def __init__(self, polling: EventPolling, room: PeekedRoom) -> None:
        self._polling = polling
        self._room = room

    async def events(self, call: Call) -> object:
        """What happens in a room, which the user need not be in if the world may read it."""
        room_id = validate_room_id(call.require_query("room_id"), "room_id")
        request = await self._polling.request(call)
        async with self._polling.online(call):
            return await self._room.events(request, room_id, call.on_stop)
