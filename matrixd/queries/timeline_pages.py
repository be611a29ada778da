"""Pages of a room's history, in the order (depth, position).

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.core.filters import EventFilter
from matrixd.core.streams import RoomToken
from matrixd.queries import event_details
from matrixd.queries.event_details import Details
from matrixd.queries.event_visibility import Reach, Viewer, VisibleHistory, load_history, reach_of
from matrixd.queries.history_tokens import BEGINNING, after_event, before_event, place_of
from matrixd.queries.room_access import RoomAccess, room_access
from matrixd.storage import event_state, events, room_state, timeline_gaps
from matrixd.storage.events import Place
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.timeline_gaps import Gap
from matrixd.storage.transaction import Transaction

#: Events that are looked at for one page, however few of them the viewer may or wants to see.
MAX_LOOKED_AT = 1_000
_FILTERED_BATCH = 100
#: Holes of one room that are looked at.
_MAX_HOLES = 500
#: How often a hole at the end of what is here was tried in vain until clients are told that there is nothing more.
_MAX_TRIES = 10


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a client asks for. The tokens are not from the future."""

    backwards: bool
    #: None: from the newest, or oldest, event that the viewer may see.
    start: RoomToken | None
    #: None: as far as there is something.
    end: RoomToken | None
    limit: int
    filter: EventFilter
    #: The token of `start` as the client wrote it: the answer repeats it.
    start_text: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of history with all that is needed to render it."""

    access: RoomAccess
    history: VisibleHistory
    #: Where the page begins if the client did not say.
    start: RoomToken
    #: Where the next page begins; None if there was nothing to look at.
    end: RoomToken | None
    shown: Sequence[StoredEvent]
    #: Backwards: where the page came upon history that is not here, and what is missing there.
    holes: Sequence[Gap]
    details: Details
    #: With lazy-loading: the members who sent what is shown, as of its newest event.
    members: Sequence[StoredEvent]
    member_details: Details


def load_page(tx: Transaction, viewer: Viewer, room_id: str, request: PageRequest) -> Page:
    """One page; raises M_FORBIDDEN, and M_INVALID_PARAM for tokens of another room."""
    return page_of(tx, viewer, room_access(tx, room_id, viewer), request)


def page_of(tx: Transaction, viewer: Viewer, access: RoomAccess, request: PageRequest) -> Page:
    """One page of a room that the viewer may look into."""
    room_nid = access.room.room_nid
    scan = _Scan(tx, viewer, access, request)
    scan.run()
    replaced = event_details.load_replaced(tx, scan.shown)
    history = widened(tx, viewer, access, scan.history, [*scan.shown, *replaced.values()])
    members = senders(tx, room_nid, scan.shown) if request.filter.lazy_load_members else ()
    return Page(
        access,
        history,
        scan.own_start(),
        scan.end_token(),
        scan.shown,
        scan.holes(),
        event_details.load(tx, viewer, {room_nid: history}, scan.shown, replaced),
        members,
        event_details.load_plain(tx, viewer, members),
    )


def widened(
    tx: Transaction, viewer: Viewer, access: RoomAccess, history: VisibleHistory | None, needed: Sequence[StoredEvent]
) -> VisibleHistory:
    """A history that can decide about some events of the room: the given one, if it reaches back far enough."""
    room_nid = access.room.room_nid
    reach = reach_of(needed).get(room_nid, Reach())
    if history is None or not history.reaches(reach):
        history = load_history(tx, room_nid, viewer, access.member, reach)
    history.learn(tx, needed)
    return history


def senders(tx: Transaction, room_nid: int, shown: Sequence[StoredEvent]) -> list[StoredEvent]:
    """The member events of those who sent some events, as of the newest of these."""
    if not shown:
        return []
    keys = sorted({("m.room.member", stored.event.sender) for stored in shown})
    newest = max(shown, key=lambda stored: stored.pos or 0)
    if newest.pos is not None and newest.pos > 0:
        return list(room_state.of_keys(tx, room_nid, keys, newest.pos).values())
    state = event_state.after(tx, max(shown, key=lambda stored: (stored.event.depth, stored.pos or 0)))
    return [] if state is None else list(state.of_keys(tx, keys).values())


class _Scan:
    """Goes through a room's history until a page is full."""

    def __init__(self, tx: Transaction, viewer: Viewer, access: RoomAccess, request: PageRequest) -> None:
        self._tx = tx
        self._viewer = viewer
        self._access = access
        self._request = request
        self._room_nid = access.room.room_nid
        self.shown: list[StoredEvent] = []
        self.history: VisibleHistory | None = None
        self._last: StoredEvent | None = None
        self._is_at_end = False
        self._has_reached_end = False
        self._holes: list[Gap] = []
        self._start, self._end = self._bounds()

    def run(self) -> None:
        """Fill the page."""
        looked_at, cursor = 0, self._start
        while len(self.shown) < self._request.limit and looked_at < MAX_LOOKED_AT:
            size = self._batch_size()
            batch = events.page(self._tx, self._room_nid, cursor, self._end, self._request.backwards, size)
            looked_at += len(batch)
            self._take(batch)
            self._is_at_end = not looked_at
            self._has_reached_end = len(batch) < size
            if self._has_reached_end:
                break
            cursor = self._place()
        if self._request.backwards:
            self._holes = self._find_holes()

    def holes(self) -> Sequence[Gap]:
        """What is missing in the part of the history that the page was read from, or directly before that."""
        return self._holes

    def _find_holes(self) -> list[Gap]:
        holes = timeline_gaps.before_placed(self._tx, self._room_nid, _MAX_HOLES)
        if not holes:
            return []
        above = None
        if self._start is not None:
            # What comes directly after the page's start was on the page before; what is missing before it belongs here.
            following = events.page(self._tx, self._room_nid, self._start, None, False, 1)
            above = (following[0].event.depth, following[0].pos or 0) if following else None
        last = self._end if self._has_reached_end else self._place()
        return [
            hole.gap for hole in holes
            if (above is None or hole.place <= above) and (last is None or hole.place > last)
        ]  # fmt: skip

    def own_start(self) -> RoomToken:
        """The start token of a page that was asked for without one."""
        if not self._request.backwards:
            return BEGINNING
        return RoomToken(None, self._access.room.last_pos if self._access.last_pos is None else self._access.last_pos)

    def end_token(self) -> RoomToken | None:
        """Where the next page begins.

        Only a page that found nothing is the last one: forwards nobody knows what comes next, and backwards clients
        (and Sytest) ask once more when a page held the room's first event.
        """
        if self._is_at_end and not any(gap.tries < _MAX_TRIES for gap in self._holes):
            return None
        if self._last is None:
            return self._request.start or self.own_start()
        assert self._last.pos is not None
        beside = before_event if self._request.backwards else after_event
        return beside(self._last.event, self._last.pos)

    def _batch_size(self) -> int:
        wanted = self._request.limit - len(self.shown)
        return wanted if self._request.filter.is_passthrough else max(wanted, _FILTERED_BATCH)

    def _take(self, batch: Sequence[StoredEvent]) -> None:
        if not batch:
            return
        self.history = history = widened(self._tx, self._viewer, self._access, self.history, batch)
        for stored in batch:
            if len(self.shown) == self._request.limit:
                return
            self._last = stored
            if history.may_see(stored) and self._request.filter.matches(stored.event):
                self.shown.append(stored)

    def _place(self) -> Place | None:
        if self._last is None or self._last.pos is None:
            return self._start
        return self._last.event.depth, self._last.pos - self._request.backwards

    def _place_of(self, token: RoomToken | None, name: str) -> Place | None:
        if token is None:
            return None
        return place_of(self._tx, self._room_nid, token, name, backwards=self._request.backwards)

    def _bounds(self) -> tuple[Place | None, Place | None]:
        request = self._request
        start, end = self._place_of(request.start, "from"), self._place_of(request.end, "to")
        if self._access.last_pos is None:
            return start, end
        last = events.last_place(self._tx, self._room_nid, self._access.last_pos) or (0, 0)
        if request.backwards:
            return last if start is None else min(start, last), end
        return start, last if end is None else min(end, last)
