"""Timeline and state of a room as the database had them, in the JSON of an answer."""

from collections.abc import Sequence

from matrixd.queries.client_events import ClientEvents, plain_json
from matrixd.queries.sync import write
from matrixd.queries.sync.load import Loaded, RoomData
from matrixd.queries.sync.request import SyncRequest
from matrixd.storage.stored_event import StoredEvent


def render_timeline(
    client_events: ClientEvents, request: SyncRequest, loaded: Loaded, data: RoomData, *, limited: bool
) -> bytes:
    """The `timeline` member."""
    shown = client_events.assemble(
        loaded.histories, data.timeline, loaded.details, with_room_id=False, form=request.filter
    )
    return write.timeline(shown, limited=limited, start=max(data.start, 0))


def render_state(
    client_events: ClientEvents, request: SyncRequest, loaded: Loaded, state: Sequence[StoredEvent]
) -> list[bytes]:
    """Those of the state's events that are to be told."""
    now_ms = client_events.now_ms()
    return [
        plain_json(item, loaded.state_details, now_ms, with_room_id=False, form=request.filter) for item in state
    ]
