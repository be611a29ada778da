"""Events as the text that is stored: what is handed on as it is need not be parsed.

The stored text is the federation's form without `unsigned`.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from matrixd.storage.transaction import Transaction

#: Events that are read at once.
_CHUNK = 1_000


class EventJson(NamedTuple):
    """A stored event, not parsed."""

    event_nid: int
    event_id: str
    sender_nid: int
    json: str


_SELECT = "SELECT event_nid, event_id, sender_nid, json FROM events"


def by_nids(tx: Transaction, event_nids: Sequence[int]) -> Iterator[EventJson]:
    """The events of some numbers, a thousand read at a time."""
    for start in range(0, len(event_nids), _CHUNK):
        condition, parameter = tx.among("event_nid", event_nids[start : start + _CHUNK])
        yield from (EventJson(*row) for row in tx.all(f"{_SELECT} WHERE {condition}", (parameter,)))


def by_ids(tx: Transaction, room_nid: int, event_ids: Collection[str]) -> Iterator[EventJson]:
    """Those of some events that are stored and of the room, a thousand read at a time."""
    wanted = list(event_ids)
    for start in range(0, len(wanted), _CHUNK):
        condition, parameter = tx.among("event_id", wanted[start : start + _CHUNK])
        rows = tx.all(f"{_SELECT} WHERE {condition} AND room_nid = ?", (parameter, room_nid))
        yield from (EventJson(*row) for row in rows)
