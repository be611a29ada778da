"""The newest events of the rooms in use, in memory: an incremental sync that is nearly up to date reads no database."""

from collections import deque
from collections.abc import Callable

from matrixd.core.event import Event
from matrixd.queries.feed import Feed
from matrixd.storage.rows import EventRow
from matrixd.util.lru import CacheBudget

#: Events of one room; who is further behind reads the database.
MAX_TAIL = 60
_EVENT_BYTES = 2_500


class _Tail:
    __slots__ = ("begin", "rows")

    def __init__(self, begin: int) -> None:
        #: Every event of the room after this position is in `rows`.
        self.begin = begin
        self.rows: deque[EventRow] = deque()

    def add(self, row: EventRow) -> None:
        self.rows.append(row)
        if len(self.rows) > MAX_TAIL:
            self.begin = self.rows.popleft().pos

    def forget(self, redacted: Event) -> None:
        """Drop all up to the last row that shows what was redacted: as its event, or as what it replaced."""
        shows = [row.pos for row in self.rows if redacted in (row.event, row.replaces)]
        while shows and self.rows and self.rows[0].pos <= shows[-1]:
            self.begin = self.rows.popleft().pos


class RoomTails:
    """Keeps the tails of the rooms for which `in_use(room_nid)` is true when an event arrives."""

    def __init__(self, feed: Feed, budget: CacheBudget, in_use: Callable[[int], bool]) -> None:
        self._tails = budget.cache("room_tails", int, _Tail)
        self._in_use = in_use
        feed.subscribe(EventRow, self._on_event)

    def after(self, room_nid: int, pos: int, up_to: int) -> list[EventRow] | None:
        """A room's events after one position and up to another; None if memory does not reach back that far."""
        tail = self._tails.get(room_nid)
        if tail is None or tail.begin > pos:
            return None
        found: list[EventRow] = []
        for row in reversed(tail.rows):
            if row.pos <= pos:
                break
            if row.pos <= up_to:
                found.append(row)
        found.reverse()
        return found

    def _on_event(self, row: EventRow) -> None:
        if row.verdict is not None:
            return
        tail = self._tails.get(row.room_nid)
        if tail is None:
            if not self._in_use(row.room_nid):
                return
            # What came before this event is not known here.
            tail = _Tail(row.pos - 1)
        if row.redacted is not None:
            tail.forget(row.redacted)
        tail.add(row)
        self._tails.put(row.room_nid, tail, _EVENT_BYTES * len(tail.rows))
