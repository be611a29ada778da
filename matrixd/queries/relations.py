"""The events that relate to an event, and the threads of a room.

https://spec.matrix.org/v1.19/client-server-api/#relationships-api
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from matrixd.core.errors import MatrixError
from matrixd.core.streams import MAX_POSITION, RoomToken
from matrixd.queries import event_details
from matrixd.queries.event_context import OneEvent, event_not_found, find_event
from matrixd.queries.event_details import Details
from matrixd.queries.event_visibility import Reach, Viewer, VisibleHistory, load_history
from matrixd.queries.history_tokens import after_event, before_event, place_of
from matrixd.queries.room_access import room_access
from matrixd.queries.timeline_pages import MAX_LOOKED_AT, widened
from matrixd.storage import event_relations, events
from matrixd.storage.event_relations import ChildrenPage, Scope
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class RelationsRequest:
    """What a client asks for. The tokens are not from the future."""

    rel_type: str | None
    event_type: str | None
    recurse: bool
    backwards: bool
    start: RoomToken | None
    end: RoomToken | None
    limit: int


@dataclass(frozen=True, slots=True)
class EventList:
    """Events with all that is needed to render them; `next_batch` None: there are no more."""

    history: VisibleHistory
    shown: Sequence[StoredEvent]
    details: Details
    next_batch: RoomToken | None


def load_relations(
    tx: Transaction, viewer: Viewer, room_id: str, event_id: str, request: RelationsRequest
) -> EventList:
    """One page of an event's children; M_NOT_FOUND for an event that the viewer may not see."""
    try:
        found = find_event(tx, viewer, room_id, event_id)
    except MatrixError:
        raise event_not_found() from None
    room_nid = found.access.room.room_nid
    scan = _Scan(tx, viewer, found, request)
    scan.run()
    replaced = event_details.load_replaced(tx, scan.shown)
    history = widened(tx, viewer, found.access, scan.history, [found.stored, *scan.shown, *replaced.values()])
    details = event_details.load(tx, viewer, {room_nid: history}, scan.shown, replaced)
    return EventList(history, scan.shown, details, scan.next_batch())


class _Scan:
    """Goes through the children of an event until a page is full."""

    def __init__(self, tx: Transaction, viewer: Viewer, parent: OneEvent, request: RelationsRequest) -> None:
        self._tx = tx
        self._viewer = viewer
        self._parent = parent
        self._request = request
        self.shown: list[StoredEvent] = []
        self.history = parent.history
        self._last: StoredEvent | None = None
        self._has_more = True

    def run(self) -> None:
        """Fill the page."""
        wanted, looked_at = self._whole(), 0
        while self._has_more and len(self.shown) < self._request.limit and looked_at < MAX_LOOKED_AT:
            batch = event_relations.page(self._tx, wanted)
            looked_at += len(batch)
            taken = self._take(batch)
            self._has_more = taken < len(batch) or len(batch) == wanted.limit
            if self._last is not None and self._last.pos is not None:
                wanted = replace(wanted, start=self._last.pos - self._request.backwards)

    def next_batch(self) -> RoomToken | None:
        """Where the next page begins."""
        if not self._has_more or self._last is None or self._last.pos is None:
            return None
        return (before_event if self._request.backwards else after_event)(self._last.event, self._last.pos)

    def _take(self, batch: Sequence[StoredEvent]) -> int:
        self.history = widened(self._tx, self._viewer, self._parent.access, self.history, batch)
        for index, stored in enumerate(batch):
            if len(self.shown) == self._request.limit:
                return index
            self._last = stored
            if self.history.may_see(stored):
                self.shown.append(stored)
        return len(batch)

    def _whole(self) -> ChildrenPage:
        request, room_nid = self._request, self._parent.access.room.room_nid
        start = None if request.start is None else place_of(self._tx, room_nid, request.start, "from")[1]
        end = None if request.end is None else place_of(self._tx, room_nid, request.end, "to")[1]
        first, last = (MAX_POSITION, -MAX_POSITION) if request.backwards else (-MAX_POSITION, MAX_POSITION)
        return ChildrenPage(
            room_nid,
            self._parent.stored.event.event_id,
            request.rel_type,
            request.event_type,
            request.recurse,
            request.backwards,
            first if start is None else start,
            last if end is None else end,
            request.limit + 1,
        )


def load_threads(
    tx: Transaction, viewer: Viewer, room_id: str, before: RoomToken | None, limit: int, *, only_own: bool
) -> EventList:
    """The roots of a room's threads, the one with the newest event first.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads
    Raises M_FORBIDDEN, and M_INVALID_PARAM for a token of another room.
    """
    access = room_access(tx, room_id, viewer)
    room_nid = access.room.room_nid
    end = MAX_POSITION if before is None else place_of(tx, room_nid, before, "from")[1] + 1
    history = load_history(tx, room_nid, viewer, access.member, Reach(0))
    pieces = history.pieces
    scope = Scope(viewer.user_nid, viewer.ignored - {viewer.user_id}, pieces[0][0], pieces[-1][1])
    threads = event_relations.threads(tx, scope, room_nid, end, limit + 1, only_own=only_own)
    listed = threads[:limit]
    roots = events.by_ids(tx, [root_id for root_id, _ in listed])
    replaced = event_details.load_replaced(tx, roots.values())
    history.learn(tx, [*roots.values(), *replaced.values()])
    shown = [
        _without_ignored(roots[root_id], viewer)
        for root_id, _ in listed
        if root_id in roots and _is_root(roots[root_id], room_nid, history)
    ]
    details = event_details.load(tx, viewer, {room_nid: history}, shown, replaced)
    token = RoomToken(None, listed[-1][1] - 1) if len(threads) > limit else None
    return EventList(history, shown, details, token)


def _is_root(stored: StoredEvent, room_nid: int, history: VisibleHistory) -> bool:
    if stored.room_nid != room_nid or stored.pos is None or stored.verdict is not None:
        return False
    return history.allows(stored)


def _without_ignored(stored: StoredEvent, viewer: Viewer) -> StoredEvent:
    """The root of a thread; of somebody whom the viewer ignores only its redacted form, as the specification says."""
    if not viewer.ignores(stored.event):
        return stored
    return event_details.redacted_copy(stored)
