"""Which stored events other servers are to get from us: those of local users, and those that we send on for others."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from matrixd.core.event import Event
from matrixd.storage.stored_event import StoredEvent, select
from matrixd.storage.transaction import Transaction

#: Events that are looked at in one query.
_SCAN = 1000


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event that goes out."""

    pos: int
    room_nid: int
    event: Event


def note_sent_on(tx: Transaction, positions: Collection[int]) -> None:
    """Note that the events at these positions, of other servers, go to the other servers of their rooms."""
    tx.insert_many("events_sent_on", ("pos",), [(pos,) for pos in positions])


def sent_on(tx: Transaction, after: int, up_to: int) -> set[int]:
    """The positions of the events of other servers that we send on."""
    rows = tx.all("SELECT pos FROM events_sent_on WHERE pos > ? AND pos <= ?", (after, up_to))
    return {row[0] for row in rows}


def forget_sent_on(tx: Transaction, up_to: int) -> None:
    """Forget that events up to a position were to be sent on: everybody has them."""
    tx.execute("DELETE FROM events_sent_on WHERE pos <= ?", (up_to,))


def between(
    tx: Transaction, is_local: Callable[[str], bool], after: int, up_to: int
) -> tuple[list[Outgoing], int]:
    """Outgoing events of all rooms with `after` < position <= `up_to`, by position, and up to where was looked."""
    rows = tx.all(
        "SELECT e.pos, u.user_id FROM events e JOIN users u ON u.user_nid = e.sender_nid"
        " WHERE e.pos > ? AND e.pos <= ? ORDER BY e.pos LIMIT ?",
        (after, up_to, _SCAN),
    )
    end = up_to if len(rows) < _SCAN else rows[-1][0]
    return _load(tx, rows, is_local, after, end), end


def newest_in_room(
    tx: Transaction, is_local: Callable[[str], bool], room_nid: int, after: int, up_to: int, limit: int
) -> list[Outgoing] | None:
    """A room's outgoing events with `after` < position <= `up_to`, by position; None if there are more than `limit`,
    or so many others between them that looking for them would cost too much.
    """
    rows = tx.all(
        "SELECT e.pos, u.user_id FROM events e JOIN users u ON u.user_nid = e.sender_nid"
        " WHERE e.room_nid = ? AND e.pos > ? AND e.pos <= ? ORDER BY e.pos LIMIT ?",
        (room_nid, after, up_to, _SCAN),
    )
    if len(rows) == _SCAN:
        return None
    found = _load(tx, rows, is_local, after, up_to, limit)
    return None if len(found) > limit else found


def at(tx: Transaction, positions: Collection[int]) -> list[Outgoing]:
    """The accepted events at some positions, by position."""
    if not positions:
        return []
    condition, parameter = tx.among("e.pos", list(positions))
    return _outgoing(select(tx, f"{condition} AND e.verdict IS NULL ORDER BY e.pos", (parameter,)))


def extremities_after(tx: Transaction, event_ids: Collection[str], after: int) -> list[Outgoing]:
    """Those of a room's forward extremities that came after a position, by position."""
    if not event_ids:
        return []
    condition, parameter = tx.among("e.event_id", list(event_ids))
    return _outgoing(
        select(tx, f"{condition} AND e.pos > ? AND e.verdict IS NULL ORDER BY e.pos", (parameter, after))
    )


def _load(
    tx: Transaction,
    rows: Collection[tuple[int, str]],
    is_local: Callable[[str], bool],
    after: int,
    up_to: int,
    limit: int | None = None,
) -> list[Outgoing]:
    others = sent_on(tx, after, up_to)
    positions = [pos for pos, sender in rows if is_local(sender) or pos in others]
    return at(tx, positions if limit is None else positions[: limit + 1])


def _outgoing(found: Collection[StoredEvent]) -> list[Outgoing]:
    return [Outgoing(item.pos, item.room_nid, item.event) for item in found if item.pos is not None]


def set_newest(tx: Transaction, newest: Mapping[int, int]) -> None:
    """Store the position of the newest outgoing event of some rooms."""
    tx.insert_many(
        "outgoing_rooms",
        ("room_nid", "pos"),
        sorted(newest.items()),
        "ON CONFLICT (room_nid) DO UPDATE SET pos = excluded.pos WHERE excluded.pos > outgoing_rooms.pos",
    )


def rooms_behind(tx: Transaction, destination: str, after: int) -> list[tuple[int, int]]:
    """The rooms that a server is in and that have outgoing events after a position: (room, newest such position).

    In the order of these positions.
    """
    rows = tx.all(
        "SELECT o.room_nid, o.pos FROM room_servers s JOIN outgoing_rooms o ON o.room_nid = s.room_nid"
        " WHERE s.server_name = ? AND o.pos > ? ORDER BY o.pos",
        (destination, after),
    )
    return [(row[0], row[1]) for row in rows]


@dataclass(frozen=True, slots=True)
class Lacking:
    """The outgoing events that a server lacks."""

    count: int
    #: When the oldest of them was sent, in milliseconds since the epoch.
    oldest_ts: int | None
    #: False: there were too many to count, there may be more and older ones.
    is_complete: bool


def lacking(tx: Transaction, is_local: Callable[[str], bool], destination: str, after: int, limit: int) -> Lacking:
    """What a server lacks that has everything up to `after`; at most `limit` events of its rooms are looked at."""
    rows = tx.all(
        "SELECT e.pos, u.user_id, e.origin_server_ts FROM room_servers s"
        " JOIN outgoing_rooms o ON o.room_nid = s.room_nid AND o.pos > ?"
        " JOIN events e ON e.room_nid = s.room_nid AND e.pos > ? JOIN users u ON u.user_nid = e.sender_nid"
        " WHERE s.server_name = ? AND e.verdict IS NULL LIMIT ?",
        (after, after, destination, limit),
    )
    others = sent_on(tx, after, max((row[0] for row in rows), default=after))
    times = [ts for pos, sender, ts in rows if is_local(sender) or pos in others]
    return Lacking(len(times), min(times, default=None), len(rows) < limit)


# Farewells


def set_farewells(tx: Transaction, farewells: Mapping[tuple[str, int], int]) -> None:
    """Store what servers that have left rooms are to be told of these: (server, room) -> position."""
    tx.insert_many(
        "farewells",
        ("destination", "room_nid", "pos"),
        [(destination, room_nid, pos) for (destination, room_nid), pos in sorted(farewells.items())],
        "ON CONFLICT (destination, room_nid) DO UPDATE SET pos = excluded.pos WHERE excluded.pos > farewells.pos",
    )


def farewells(tx: Transaction, destination: str, after: int) -> list[tuple[int, int]]:
    """What a server is to be told of rooms that it has left: (room, position), by position."""
    rows = tx.all(
        "SELECT room_nid, pos FROM farewells WHERE destination = ? AND pos > ? ORDER BY pos", (destination, after)
    )
    return [(row[0], row[1]) for row in rows]


def delete_farewells(tx: Transaction, destination: str, up_to: int) -> None:
    """Forget what a server has been told."""
    tx.execute("DELETE FROM farewells WHERE destination = ? AND pos <= ?", (destination, up_to))


def delete_unused_farewells(tx: Transaction) -> None:
    """Remove the farewells of servers that lack nothing, or of which nothing is known any more."""
    tx.execute(
        "DELETE FROM farewells WHERE NOT EXISTS (SELECT 1 FROM destinations d"
        " WHERE d.destination = farewells.destination AND d.acked_pos IS NOT NULL)"
    )
