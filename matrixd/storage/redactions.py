"""Redactions by the event that they redact."""

from collections.abc import Collection

from matrixd.storage.stored_event import StoredEvent, select
from matrixd.storage.transaction import Transaction

#: What `events.verdict` says of one that has no effect yet.
WAITING = "waiting"


def insert(tx: Transaction, redaction_nid: int, target_id: str) -> None:
    """Note that an event redacts another, whether that one is here or not."""
    tx.execute(
        "INSERT INTO redactions (redaction_nid, target_id) VALUES (?, ?) ON CONFLICT (redaction_nid) DO NOTHING",
        (redaction_nid, target_id),
    )


def targets(tx: Transaction, event_ids: Collection[str]) -> set[str]:
    """Those of some events that a stored event redacts."""
    condition, parameter = tx.among("target_id", list(event_ids))
    return {row[0] for row in tx.all(f"SELECT target_id FROM redactions WHERE {condition}", (parameter,))}


def of(tx: Transaction, event_id: str) -> list[StoredEvent]:
    """The accepted events that redact an event, or that wait for it."""
    return select(
        tx,
        "e.event_nid IN (SELECT redaction_nid FROM redactions WHERE target_id = ?)"
        " AND (e.verdict IS NULL OR e.verdict = ?) ORDER BY e.event_nid",
        (event_id, WAITING),
    )
