"""The shape in which every store gives events: a row of `events` with its room's version."""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.storage.transaction import Transaction

_COLUMNS = (
    "e.event_nid, e.event_id, e.room_nid, e.pos, e.unread, e.verdict, e.redacted_by, e.sender_nid, e.json, r.version"
)
_FROM = "FROM events e JOIN rooms r ON r.room_nid = e.room_nid"


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event with what the database knows of it."""

    # gc=False: for the reason that `Event` has

    event_nid: int
    room_nid: int
    #: Position in the events stream; None for an outlier.
    pos: int | None
    unread: int
    #: 'rejected', 'soft_failed' or None.
    verdict: str | None
    #: Number of the redaction that pruned it.
    redacted_by: int | None
    sender_nid: int
    event: Event


def stored(row: tuple[object, ...]) -> StoredEvent:
    """The event of a row of `select`."""
    nid, event_id, room_nid, pos, unread, verdict, redacted_by, sender_nid, text, version = row
    event = Event.from_stored(ROOM_VERSIONS[version], orjson.loads(text), event_id)  # type: ignore[index, arg-type]
    return StoredEvent(nid, room_nid, pos, unread, verdict, redacted_by, sender_nid, event)  # type: ignore[arg-type]


def select(tx: Transaction, condition: str, params: Sequence[object]) -> list[StoredEvent]:
    """Events by a condition on `e` (events) and `r` (rooms); it may go on with ORDER BY and LIMIT."""
    return [stored(row) for row in tx.all(f"SELECT {_COLUMNS} {_FROM} WHERE {condition}", params)]


def select_with(
    tx: Transaction, columns: str, joins: str, condition: str, params: Sequence[object]
) -> list[tuple[tuple[Any, ...], StoredEvent]]:
    """Events with further columns of what is joined to them: (values of `columns`, event). `joins` begins with JOIN."""
    count = _COLUMNS.count(",") + 1
    rows = tx.all(f"SELECT {_COLUMNS}, {columns} {_FROM} {joins} WHERE {condition}", params)
    return [(row[count:], stored(row[:count])) for row in rows]
