"""The event that is nearest to a moment.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from matrixd.core.streams import MAX_POSITION
from matrixd.queries.event_visibility import Reach, Viewer, VisibleHistory, load_history
from matrixd.queries.room_access import RoomAccess
from matrixd.storage import event_times, events
from matrixd.storage.event_times import Moment
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

#: Events that are looked at for one whose sender is not ignored.
_CANDIDATES = 20


def nearest_event(
    tx: Transaction, viewer: Viewer, access: RoomAccess, ts: int, backwards: bool
) -> StoredEvent | None:
    """The event here that was sent the nearest to `ts` (ms), at or before it or at or after it; None without one."""
    room_nid = access.room.room_nid
    history = load_history(tx, room_nid, viewer, access.member, Reach(0))
    moments = [Moment(room_nid, ts, backwards, first, last) for first, last in history.pieces]
    found = [stored for moment in moments if (stored := _nearest(tx, history, moment)) is not None]
    return (max if backwards else min)(found, key=lambda stored: stored.event.origin_server_ts, default=None)


def is_beside_hole(tx: Transaction, room_nid: int, ts: int) -> bool:
    """Whether events are missing directly before the first event that is here and was sent at or after `ts` (ms)."""
    first = event_times.nearest_in_time(tx, Moment(room_nid, ts, False, -MAX_POSITION, MAX_POSITION), 1)
    if not first:
        return False
    before = first[0].event.prev_events
    known = events.by_ids(tx, before)
    return any(event_id not in known or known[event_id].is_outlier for event_id in before)


def _nearest(tx: Transaction, history: VisibleHistory, moment: Moment) -> StoredEvent | None:
    candidates = event_times.nearest_in_time(tx, moment, _CANDIDATES)
    history.learn(tx, candidates)
    return next((stored for stored in candidates if history.may_see(stored)), None)
