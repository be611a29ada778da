"""Who may be sent something now, in turn, and who later."""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator

from matrixd.services.sending_out.slots import Standing


class Due:
    """Servers by the time at which their turn comes. `standing_of` says what is expected of a server."""

    def __init__(self, standing_of: Callable[[str], Standing]) -> None:
        self._standing_of = standing_of
        #: Server -> milliseconds since the epoch, of those whose time has not come.
        self._later: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        #: Those whose time has come, who waits longest first.
        self._now: dict[Standing, OrderedDict[str, None]] = {standing: OrderedDict() for standing in Standing}

    @property
    def is_waiting(self) -> bool:
        """Whether somebody's time has come."""
        return any(self._now.values())

    def put(self, name: str, at: int, now: int) -> None:
        """A server's turn comes at `at`; who waits already keeps its place."""
        if at > now:
            self._remove_from_now(name)
            if self._later.get(name) != at:
                self._later[name] = at
                heapq.heappush(self._heap, (at, name))
            return
        self._later.pop(name, None)
        standing = self._standing_of(name)
        if name not in self._now[standing]:
            self._remove_from_now(name)
            self._now[standing][name] = None

    def next_ts(self, now: int) -> int | None:
        """When somebody's turn comes; `now` if somebody's has."""
        return now if self.is_waiting else self.next_waiting_ts(now)

    def next_waiting_ts(self, now: int) -> int | None:
        """When the next one's turn comes, of those whose time has not come."""
        self._move_due(now)
        return self._heap[0][0] if self._heap else None

    def take(self, now: int, slot: Callable[[Standing], bool]) -> Iterator[tuple[Standing, str]]:
        """Those whose turn it is, as long as there are slots for them; a slot is taken for each."""
        self._move_due(now)
        for standing, names in self._now.items():
            while names and slot(standing):
                name, _ = names.popitem(last=False)
                yield standing, name

    def _move_due(self, now: int) -> None:
        while self._heap and (self._heap[0][0] <= now or self._later.get(self._heap[0][1]) != self._heap[0][0]):
            at, name = heapq.heappop(self._heap)
            if self._later.get(name) == at:
                del self._later[name]
                self._now[self._standing_of(name)][name] = None

    def _remove_from_now(self, name: str) -> None:
        for names in self._now.values():
            names.pop(name, None)
