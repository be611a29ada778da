"""Events by the time at which their senders' servers say that they were sent."""

from dataclasses import dataclass

from matrixd.storage.engines.base import Row
from matrixd.storage.stored_event import StoredEvent, select
from matrixd.storage.transaction import Transaction

#: Events on each side of the place that halving finds which are compared, as clocks differ.
_NEIGHBOURS = 100


@dataclass(frozen=True, slots=True)
class Moment:
    """Where to look for events near to a time: those at or before it (`backwards`), or at or after it."""

    room_nid: int
    #: Milliseconds since the epoch, as the sending servers claim.
    ts: int
    backwards: bool
    #: Positions, both included.
    first: int
    last: int


def nearest_in_time(tx: Transaction, moment: Moment, limit: int) -> list[StoredEvent]:
    """Accepted events of a room's timeline, the nearest first.

    The timeline is halved again and again as if times rose along it, which costs no index: in a room whose times jump
    back by more than 100 events the answer may be further off than another event.
    """
    place = _first_at(tx, moment)
    rows = _beside(tx, moment.room_nid, place, moment.last, "ASC") + _beside(
        tx, moment.room_nid, moment.first, place - 1, "DESC"
    )
    fitting = [row for row in rows if (row[1] <= moment.ts if moment.backwards else row[1] >= moment.ts)]
    fitting.sort(key=lambda row: (row[1], row[2]), reverse=moment.backwards)
    nids = [row[0] for row in fitting[:limit]]
    if not nids:
        return []
    condition, parameter = tx.among("e.event_nid", nids)
    found = {stored.event_nid: stored for stored in select(tx, condition, (parameter,))}
    return [found[nid] for nid in nids]


def _beside(tx: Transaction, room_nid: int, first: int, last: int, order: str) -> list[Row]:
    return tx.all(
        "SELECT event_nid, origin_server_ts, pos FROM events WHERE room_nid = ? AND pos >= ? AND pos <= ?"
        f" AND verdict IS NULL ORDER BY pos {order} LIMIT ?",
        (room_nid, first, last, _NEIGHBOURS),
    )


def _first_at(tx: Transaction, moment: Moment) -> int:
    """A position where, for all that halving can tell, the events at or after the time begin."""
    ends = tx.one(
        "SELECT MIN(pos), MAX(pos) FROM events WHERE room_nid = ? AND pos >= ? AND pos <= ?",
        (moment.room_nid, moment.first, moment.last),
    )
    if ends is None or ends[0] is None:
        return moment.first
    low, high = int(ends[0]), int(ends[1]) + 1
    while low < high:
        middle = (low + high) // 2
        row = tx.one(
            "SELECT pos, origin_server_ts FROM events WHERE room_nid = ? AND pos >= ? ORDER BY pos LIMIT 1",
            (moment.room_nid, middle),
        )
        if row is None or row[0] >= high or row[1] >= moment.ts:
            high = middle
        else:
            low = int(row[0]) + 1
    return low
