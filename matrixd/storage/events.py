"""Events: each stored once, as JSON in the federation's form."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson

from matrixd.core.event import Event
from matrixd.storage.stored_event import StoredEvent, select
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A row to insert."""

    event_nid: int
    room_nid: int
    pos: int | None
    sender_nid: int
    key_nid: int | None
    unread: int
    verdict: str | None
    event: Event


def insert(tx: Transaction, new: Sequence[NewEvent]) -> None:
    """Store new events."""
    tx.insert_many(
        "events",
        (
            "event_nid", "event_id", "room_nid", "pos", "depth", "type", "sender_nid", "key_nid", "origin_server_ts",
            "unread", "verdict", "json",
        ),
        [
            (
                row.event_nid, row.event.event_id, row.room_nid, row.pos, row.event.depth, row.event.type,
                row.sender_nid, row.key_nid, row.event.origin_server_ts, row.unread, row.verdict,
                orjson.dumps(row.event.pdu).decode(),
            )
            for row in new
        ],
    )


def by_id(tx: Transaction, event_id: str) -> StoredEvent | None:
    """One event."""
    found = select(tx, "e.event_id = ?", (event_id,))
    return found[0] if found else None


def by_ids(tx: Transaction, event_ids: Collection[str]) -> dict[str, StoredEvent]:
    """Those of the events that are stored."""
    if not event_ids:
        return {}
    condition, parameter = tx.among("e.event_id", list(event_ids))
    return {found.event.event_id: found for found in select(tx, condition, (parameter,))}


def by_nids(tx: Transaction, event_nids: Collection[int]) -> dict[int, StoredEvent]:
    """Those of the events that are stored, by number."""
    if not event_nids:
        return {}
    condition, parameter = tx.among("e.event_nid", list(event_nids))
    return {found.event_nid: found for found in select(tx, condition, (parameter,))}


def in_stream(tx: Transaction, room_nid: int, after: int, up_to: int, limit: int, newest: bool) -> list[StoredEvent]:
    """A room's accepted timeline events with `after` < position <= `up_to`, by position.

    At most `limit`, the newest or the oldest of them; they come in the order of their positions.
    """
    order = "DESC" if newest else "ASC"
    found = select(
        tx,
        f"e.room_nid = ? AND e.pos > ? AND e.pos <= ? AND e.verdict IS NULL ORDER BY e.pos {order} LIMIT ?",
        (room_nid, after, up_to, limit),
    )
    return found[::-1] if newest else found


def prune(tx: Transaction, event_nid: int, redacted: Event, redaction_nid: int) -> None:
    """Replace an event's JSON by what its redaction leaves."""
    tx.execute(
        "UPDATE events SET json = ?, redacted_by = ? WHERE event_nid = ?",
        (orjson.dumps(redacted.pdu).decode(), redaction_nid, event_nid),
    )
