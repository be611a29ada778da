"""The event that is nearest to a moment.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from matrixd.core.errors import MatrixError
from matrixd.queries.event_visibility import Viewer, VisibleHistory, load_history
from matrixd.queries.room_access import room_access
from matrixd.storage import event_times
from matrixd.storage.event_times import Moment
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

#: Events that are looked at for one whose sender is not ignored.
_CANDIDATES = 20


def nearest_event(tx: Transaction, viewer: Viewer, room_id: str, ts: int, backwards: bool) -> StoredEvent:
    """The event that was sent the nearest to `ts` (ms), at or before it or at or after it.

    Raises M_FORBIDDEN where the viewer may not look into the room, M_NOT_FOUND if there is no such event.
    """
    access = room_access(tx, room_id, viewer)
    history = load_history(tx, access.room.room_nid, viewer, access.member, 0)
    moments = [Moment(access.room.room_nid, ts, backwards, first, last) for first, last in history.pieces]
    found = [stored for moment in moments if (stored := _nearest(tx, history, moment)) is not None]
    if not found:
        side = "before" if backwards else "after"
        raise MatrixError(404, "M_NOT_FOUND", f"There is no event {side} the timestamp {ts} that you may see.")
    return (max if backwards else min)(found, key=lambda stored: stored.event.origin_server_ts)


def _nearest(tx: Transaction, history: VisibleHistory, moment: Moment) -> StoredEvent | None:
    candidates = event_times.nearest_in_time(tx, moment, _CANDIDATES)
    return next((stored for stored in candidates if history.may_see(stored)), None)
