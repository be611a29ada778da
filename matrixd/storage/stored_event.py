"""The shape in which every store gives events: a row of `events` with its room's version."""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from matrixd.core import canonical_json
from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.storage.transaction import Transaction

_COLUMNS = (
    "e.event_nid, e.event_id, e.room_nid, e.pos, e.unread, e.verdict, e.redacted_by, e.sender_nid, e.key_nid,"
    " e.state_nid, e.json, r.version"
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
    #: 'rejected', 'soft_failed', 'out_of_band' (a membership in a room that we take no part in) or None.
    verdict: str | None
    #: Number of the redaction that pruned it.
    redacted_by: int | None
    sender_nid: int
    #: Number of its type and state key; None for what is no state event.
    key_nid: int | None
    #: The state set before it; None: the timeline's own state, or, without a position, not known.
    state_nid: int | None
    event: Event

    @property
    def is_outlier(self) -> bool:
        """Whether it is only known by itself: where it stands in the room's history is not."""
        return (self.pos is None and self.state_nid is None) or self.verdict == "out_of_band"


def stored(row: tuple[object, ...]) -> StoredEvent:
    """The event of a row of `select`."""
    nid, event_id, room_nid, pos, unread, verdict, redacted_by, sender_nid, key_nid, state_nid, text, version = row
    room_version = ROOM_VERSIONS[version]  # type: ignore[index]
    # Only restricted JSON is sure to hold no integer that orjson would make a float of.
    decode = orjson.loads if room_version.strict_canonical_json else canonical_json.decode
    event = Event.from_stored(room_version, decode(text), event_id)  # type: ignore[arg-type]
    return StoredEvent(nid, room_nid, pos, unread, verdict, redacted_by, sender_nid, key_nid, state_nid, event)  # type: ignore[arg-type]


def json_text(event: Event) -> str:
    """The JSON that is stored of an event."""
    if event.version.strict_canonical_json:
        return orjson.dumps(event.pdu).decode()
    return canonical_json.encode(event.pdu).decode()


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
