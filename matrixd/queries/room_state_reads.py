"""The state of a room as its viewers may see it: the current one, or that of the moment when they left.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
"""

from collections.abc import Iterable

from matrixd.core.client_event import content_json
from matrixd.core.errors import MatrixError
from matrixd.queries import event_details
from matrixd.queries.client_events import ClientEvents, json_array, plain_json
from matrixd.queries.event_details import Details
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.room_access import room_access
from matrixd.storage import room_state
from matrixd.storage.database import Database
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock


class RoomStateReads:
    """Reads room state."""

    def __init__(self, database: Database, client_events: ClientEvents, clock: Clock) -> None:
        self._database = database
        self._client_events = client_events
        self._clock = clock

    async def everything(self, viewer: Viewer, room_id: str) -> bytes:
        """All state events, as a JSON array. Raises M_FORBIDDEN."""
        return await self._database.read(_everything, viewer, room_id, self._clock.now_ms())

    async def content(self, viewer: Viewer, room_id: str, event_type: str, state_key: str) -> bytes:
        """The content of one state event. Raises M_FORBIDDEN, and M_NOT_FOUND if there is none."""
        stored, details = await self._database.read(_one, viewer, room_id, (event_type, state_key))
        return content_json(details.as_shown(stored).event)

    async def event(self, viewer: Viewer, room_id: str, event_type: str, state_key: str) -> bytes:
        """One state event. Raises M_FORBIDDEN, and M_NOT_FOUND if there is none."""
        stored, _ = await self._database.read(_one, viewer, room_id, (event_type, state_key))
        return (await self._client_events.render(viewer, [stored], with_room_id=True))[0]


def plain_list(tx: Transaction, viewer: Viewer, state: Iterable[StoredEvent], now: int) -> bytes:
    """State events as a JSON array."""
    listed = sorted(state, key=lambda stored: stored.pos or 0)
    details = event_details.load_plain(tx, viewer, listed)
    return json_array(plain_json(stored, details, now) for stored in listed)


def _everything(tx: Transaction, viewer: Viewer, room_id: str, now: int) -> bytes:
    access = room_access(tx, room_id, viewer)
    return plain_list(tx, viewer, room_state.everything(tx, access.room.room_nid, access.state_at).values(), now)


def _one(tx: Transaction, viewer: Viewer, room_id: str, key: room_state.StateKey) -> tuple[StoredEvent, Details]:
    access = room_access(tx, room_id, viewer)
    stored = room_state.of_keys(tx, access.room.room_nid, [key], access.state_at).get(key)
    if stored is None:
        raise MatrixError(404, "M_NOT_FOUND", f"The room has no state '{key[0]}' with the key '{key[1]}'.")
    return stored, Details(erased=event_details.erased(tx, viewer, [stored]))
