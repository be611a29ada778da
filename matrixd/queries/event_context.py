"""One event, and what stands around it.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.core.errors import MatrixError
from matrixd.core.filters import EventFilter
from matrixd.core.streams import RoomToken
from matrixd.queries import event_details
from matrixd.queries.event_details import Details
from matrixd.queries.event_visibility import Viewer, VisibleHistory
from matrixd.queries.history_tokens import after_event, before_event
from matrixd.queries.room_access import RoomAccess, room_access
from matrixd.queries.timeline_pages import senders, widened
from matrixd.storage import event_state, events, room_state
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class OneEvent:
    """An event that its viewer may see."""

    access: RoomAccess
    history: VisibleHistory
    stored: StoredEvent
    pos: int
    replaced: dict[int, StoredEvent]


@dataclass(frozen=True, slots=True)
class Context:
    """An event with what stands before (newest first) and after it (oldest first), and the state after the last."""

    history: VisibleHistory
    event: StoredEvent
    before: Sequence[StoredEvent]
    after: Sequence[StoredEvent]
    state: Sequence[StoredEvent]
    start: RoomToken
    end: RoomToken
    details: Details


def find_event(tx: Transaction, viewer: Viewer, room_id: str, event_id: str) -> OneEvent:
    """An event of a room.

    Raises M_FORBIDDEN where the viewer may not look into the room, and M_NOT_FOUND if there is no such event, it is of
    another room, or the viewer may not see it.
    """
    access = room_access(tx, room_id, viewer)
    stored = events.by_id(tx, event_id)
    if stored is None or stored.room_nid != access.room.room_nid or stored.pos is None:
        raise event_not_found()
    replaced = event_details.load_replaced(tx, [stored])
    history = widened(tx, viewer, access, None, [stored, *replaced.values()])
    if not history.may_see(stored) or (access.last_pos is not None and stored.pos > access.last_pos):
        raise event_not_found()
    return OneEvent(access, history, stored, stored.pos, replaced)


def load_event(
    tx: Transaction, viewer: Viewer, room_id: str | None, event_id: str
) -> tuple[StoredEvent, VisibleHistory, Details]:
    """An event of a room, or of any room; M_NOT_FOUND for all that is not to be seen."""
    if room_id is None:
        stored = events.by_id(tx, event_id)
        if stored is None:
            raise event_not_found()
        room_id = stored.event.room_id
    try:
        found = find_event(tx, viewer, room_id, event_id)
    except MatrixError:
        raise event_not_found() from None
    histories = {found.stored.room_nid: found.history}
    details = event_details.load(tx, viewer, histories, [found.stored], found.replaced)
    return found.stored, found.history, details


def load_context(
    tx: Transaction, viewer: Viewer, room_id: str, event_id: str, limit: int, event_filter: EventFilter
) -> Context:
    """The context of an event: at most `limit` events around it. Raises as `find_event` does."""
    found = find_event(tx, viewer, room_id, event_id)
    access, room_nid = found.access, found.access.room.room_nid
    place = (found.stored.event.depth, found.pos)
    last = None if access.last_pos is None else events.last_place(tx, room_nid, access.last_pos)
    before = events.page(tx, room_nid, (place[0], place[1] - 1), None, True, limit // 2)
    after = events.page(tx, room_nid, place, last, False, limit - limit // 2)
    history = widened(tx, viewer, access, found.history, [*before, *after])
    shown_before, shown_after = (
        [stored for stored in side if history.may_see(stored) and event_filter.matches(stored.event)]
        for side in (before, after)
    )
    shown = [*shown_before, found.stored, *shown_after]
    replaced = event_details.load_replaced(tx, shown)
    history = widened(tx, viewer, access, history, [*shown, *replaced.values()])
    newest = after[-1] if after else found.stored
    state = _state(tx, access, newest, shown, event_filter)
    return Context(
        history,
        found.stored,
        shown_before,
        shown_after,
        state,
        _token(before[-1] if before else found.stored, backwards=True),
        _token(newest, backwards=False),
        event_details.load(tx, viewer, {room_nid: history}, shown, replaced),
    )


def event_not_found() -> MatrixError:
    """The answer for an event that does not exist or that the viewer may not see: it does not tell which."""
    return MatrixError(404, "M_NOT_FOUND", "Event not found.")


def _token(stored: StoredEvent, *, backwards: bool) -> RoomToken:
    assert stored.pos is not None
    return (before_event if backwards else after_event)(stored.event, stored.pos)


def _state(
    tx: Transaction, access: RoomAccess, newest: StoredEvent, shown: Sequence[StoredEvent], event_filter: EventFilter
) -> list[StoredEvent]:
    assert newest.pos is not None
    room_nid, at = access.room.room_nid, access.state_up_to(newest.pos)
    if event_filter.is_blocked:
        return []
    if newest.pos < 0:
        return _state_of_history(tx, newest, shown, event_filter)
    if event_filter.lazy_load_members:
        state = [*room_state.without_members(tx, room_nid, at).values(), *senders(tx, room_nid, shown)]
    else:
        state = list(room_state.everything(tx, room_nid, at).values())
    return [stored for stored in state if event_filter.matches(stored.event)]


def _state_of_history(
    tx: Transaction, newest: StoredEvent, shown: Sequence[StoredEvent], event_filter: EventFilter
) -> list[StoredEvent]:
    """The same after an event that was fetched later: it has a state of its own."""
    after = event_state.after(tx, newest)
    if after is None:
        return []
    if not event_filter.lazy_load_members:
        return [stored for stored in after.everything(tx).values() if event_filter.matches(stored.event)]
    nids = events.without_type(tx, after.all_nids(tx), "m.room.member")
    wanted = [("m.room.member", stored.event.sender) for stored in shown]
    state = [*events.by_nids(tx, nids).values(), *after.of_keys(tx, wanted).values()]
    return [stored for stored in state if event_filter.matches(stored.event)]
