"""Walks of a room's graph for other servers: backfill, and events that they miss.

https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events

There are no rows for edges: an event's JSON names its `prev_events`. Of the events that a walk has reached it takes the
last in the order (depth, position), so it goes breadth-first and takes no event before one that follows it.
"""

import heapq
from collections.abc import Collection, Iterable

from matrixd.storage import events
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

#: Events in one answer.
MAX_EVENTS = 100


def backfill(tx: Transaction, room_nid: int, start: Collection[str], limit: int) -> list[StoredEvent]:
    """Some events and those before them, newest first, at most `limit`; events of other rooms are left out."""
    walk = _Walk(tx, room_nid)
    walk.reach(start)
    return walk.take(limit)


def missing(
    tx: Transaction, room_nid: int, earliest: Collection[str], latest: Collection[str], min_depth: int, limit: int
) -> list[StoredEvent]:
    """What lies before `latest`, but for `earliest` and what only these lead to, oldest first, at most `limit`.

    Without events of a lower depth than `min_depth`, and without what only these lead to.
    """
    walk = _Walk(tx, room_nid, min_depth, {*earliest, *latest})
    for stored in events.by_ids(tx, latest).values():
        if walk.belongs(stored):
            walk.reach(stored.event.prev_events)
    return walk.take(limit)[::-1]


class _Walk:
    def __init__(self, tx: Transaction, room_nid: int, min_depth: int = 0, skipped: Iterable[str] = ()) -> None:
        self._tx = tx
        self._room_nid = room_nid
        self._min_depth = min_depth
        self._seen = set(skipped)
        self._read: dict[str, StoredEvent] = {}
        self._reached: list[tuple[int, int, int, StoredEvent]] = []

    def belongs(self, stored: StoredEvent) -> bool:
        """Whether an event is part of the room's graph: of an outlier only the event itself is known."""
        return stored.room_nid == self._room_nid and not stored.is_outlier and stored.verdict != "out_of_band"

    def reach(self, event_ids: Iterable[str]) -> None:
        """Put events before those that are reached already, as far as they are here and were not reached before."""
        new = [event_id for event_id in event_ids if event_id not in self._seen]
        self._seen.update(new)
        for stored in self._load(new):
            if self.belongs(stored) and stored.event.depth >= self._min_depth:
                place = (-stored.event.depth, -(stored.pos or 0), -stored.event_nid)
                heapq.heappush(self._reached, (*place, stored))

    def take(self, limit: int) -> list[StoredEvent]:
        """Walk on until `limit` events are taken, or no more can be reached."""
        taken: list[StoredEvent] = []
        if self._reached:
            self._read_ahead(self._reached[0][-1], limit)
        while self._reached and len(taken) < limit:
            stored = heapq.heappop(self._reached)[-1]
            taken.append(stored)
            self.reach(stored.event.prev_events)
        return taken

    def _read_ahead(self, last: StoredEvent, limit: int) -> None:
        """Read what the walk most likely comes by: on a timeline without forks that is all of it, in one query."""
        place = (last.event.depth, last.pos or 0)
        page = events.page(self._tx, self._room_nid, place, None, backwards=True, limit=limit)
        self._read.update((stored.event.event_id, stored) for stored in page)

    def _load(self, event_ids: Collection[str]) -> list[StoredEvent]:
        known = [self._read[event_id] for event_id in event_ids if event_id in self._read]
        rest = [event_id for event_id in event_ids if event_id not in self._read]
        return [*known, *events.by_ids(self._tx, rest).values()]
