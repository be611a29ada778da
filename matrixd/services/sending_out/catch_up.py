"""What a server that was out of reach is told of the time that it missed.

Of a room with few events since then it gets them all, in order. Of a room with many it gets the newest ones: these name
their predecessors, and the server asks for what it wants of them (`get_missing_events`, `backfill`).
https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from matrixd.services.sending_out.outgoing_event import HeldBytes, OutgoingEvent
from matrixd.storage import outgoing_events, rooms
from matrixd.storage.database import Database
from matrixd.storage.outgoing_events import Outgoing
from matrixd.storage.transaction import Transaction

#: A room with more events than this has many.
FEW = 50
#: About how many events are in memory at once.
_CHUNK = 50


class _Missed(NamedTuple):
    """A room in which a server missed something."""

    pos: int
    """The newest event that it is to get."""
    room_nid: int
    is_farewell: bool
    """It is in the room no more, and gets this event only."""


class CatchUp:
    """One server's way from `after` to `up_to`, both positions of the events stream."""

    def __init__(
        self, destination: str, after: int, up_to: int, is_local: Callable[[str], bool], held: HeldBytes
    ) -> None:
        self._destination = destination
        self._after = after
        self._up_to = up_to
        self._is_local = is_local
        self._held = held
        self._missed: deque[_Missed] | None = None
        self._acked_then = after
        #: Up to here it needs nothing more, when this process ended now.
        self.acked = after
        #: What is to be sent next.
        self.ready: deque[OutgoingEvent] = deque()

    async def advance(self, database: Database) -> None:
        """Load what is to be sent next, if `ready` is empty; it stays empty at the end."""
        if self._missed is None:
            self._missed = deque(await database.read(_missed, self._destination, self._after))
        while self._missed and not self.ready:
            found, count = await database.read(
                _events, self._destination, self._is_local, self._after, self._up_to, list(self._missed)
            )
            self._acked_then = max(self.acked, min(self._missed[count - 1].pos, self._up_to))
            for _ in range(count):
                self._missed.popleft()
            for outgoing in found:
                event = OutgoingEvent(outgoing.pos, outgoing.room_nid, outgoing.event, self._held)
                event.hold()
                self.ready.append(event)
            if not found:
                self.acked = self._acked_then

    def sent(self, count: int) -> None:
        """The first `count` of `ready` have been taken."""
        for _ in range(count):
            self.ready.popleft().release()
        if not self.ready:
            self.acked = self._acked_then

    def drop(self) -> None:
        """Let go of what is in memory: it was not sent."""
        while self.ready:
            self.ready.popleft().release()


def _missed(tx: Transaction, destination: str, after: int) -> list[_Missed]:
    found = [
        _Missed(pos, room_nid, False) for room_nid, pos in outgoing_events.rooms_behind(tx, destination, after)
    ]
    found += [_Missed(pos, room_nid, True) for room_nid, pos in outgoing_events.farewells(tx, destination, after)]
    return sorted(found)


def _events(
    tx: Transaction,
    destination: str,
    is_local: Callable[[str], bool],
    after: int,
    up_to: int,
    missed: Sequence[_Missed],
) -> tuple[list[Outgoing], int]:
    """The events of the first rooms of `missed`, and of how many rooms they are."""
    found: list[Outgoing] = []
    count = 0
    for count, room in enumerate(missed, 1):
        found += [
            outgoing
            for outgoing in _events_of_room(tx, is_local, after, up_to, room)
            if outgoing.event.sender_domain != destination
        ]
        if len(found) >= _CHUNK or count >= _CHUNK:
            break
    return found, count


def _events_of_room(
    tx: Transaction, is_local: Callable[[str], bool], after: int, up_to: int, missed: _Missed
) -> list[Outgoing]:
    if missed.is_farewell:
        return outgoing_events.at(tx, [missed.pos])
    few = outgoing_events.newest_in_room(tx, is_local, missed.room_nid, after, up_to, FEW)
    if few is not None:
        return few
    room = rooms.by_nids(tx, [missed.room_nid]).get(missed.room_nid)
    ends = [] if room is None else outgoing_events.extremities_after(tx, room.extremities, after)
    newest = outgoing_events.at(tx, [missed.pos])
    return sorted({item.pos: item for item in (*ends, *newest)}.values(), key=lambda item: item.pos)
