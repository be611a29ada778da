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
    """Accepted events of a room, the nearest first.

    The timeline is halved again and again as if times rose along it, which costs no index: in a room whose times jump
    back by more than 100 events the answer may be further off than another event. Where history that was fetched later
    (negative positions) is asked for, the room is halved by depth: positions do not rise with time there.
    """
    order = _BY_DEPTH if moment.first < 0 else _BY_POSITION
    place = _first_at(tx, moment, order)
    later, earlier = _beside(tx, moment, order, place, ">=", "ASC"), _beside(tx, moment, order, place, "<", "DESC")
    rows = later + earlier
    fitting = [row for row in rows if (row[1] <= moment.ts if moment.backwards else row[1] >= moment.ts)]
    fitting.sort(key=lambda row: (row[1], row[2], row[3]), reverse=moment.backwards)
    nids = [row[0] for row in fitting[:limit]]
    if not nids:
        return []
    condition, parameter = tx.among("e.event_nid", nids)
    found = {stored.event_nid: stored for stored in select(tx, condition, (parameter,))}
    return [found[nid] for nid in nids]


#: The column by which a room is halved, and what orders it.
_BY_POSITION = ("pos", "pos {0}")
_BY_DEPTH = ("depth", "depth {0}, pos {0}")
_Order = tuple[str, str]


def _beside(
    tx: Transaction, moment: Moment, order: _Order, place: int, comparison: str, direction: str
) -> list[Row]:
    return tx.all(
        "SELECT event_nid, origin_server_ts, depth, pos FROM events WHERE room_nid = ? AND pos >= ? AND pos <= ?"
        f" AND {order[0]} {comparison} ? AND verdict IS NULL ORDER BY {order[1].format(direction)} LIMIT ?",
        (moment.room_nid, moment.first, moment.last, place, _NEIGHBOURS),
    )


def _first_at(tx: Transaction, moment: Moment, order: _Order) -> int:
    """A place where, for all that halving can tell, the events at or after the time begin."""
    column = order[0]
    low, high = (
        tx.one(
            f"SELECT {column} FROM events WHERE room_nid = ? AND pos >= ? AND pos <= ?"
            f" ORDER BY {order[1].format(direction)} LIMIT 1",
            (moment.room_nid, moment.first, moment.last),
        )
        for direction in ("ASC", "DESC")
    )
    return moment.first if low is None or high is None else _halved(tx, moment, order, int(low[0]), int(high[0]) + 1)


def _halved(tx: Transaction, moment: Moment, order: _Order, low: int, high: int) -> int:
    column = order[0]
    while low < high:
        middle = (low + high) // 2
        row = tx.one(
            f"SELECT {column}, origin_server_ts FROM events WHERE room_nid = ? AND {column} >= ? AND pos >= ?"
            f" AND pos <= ? ORDER BY {order[1].format('ASC')} LIMIT 1",
            (moment.room_nid, middle, moment.first, moment.last),
        )
        if row is None or row[0] >= high or row[1] >= moment.ts:
            high = middle
        else:
            low = int(row[0]) + 1
    return low
