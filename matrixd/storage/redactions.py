"""Redactions by the event that they redact."""

from matrixd.storage.transaction import Transaction


def insert(tx: Transaction, redaction_nid: int, target_id: str) -> None:
    """Note that an event redacts another, whether that one is here or not."""
    tx.execute("INSERT INTO redactions (redaction_nid, target_id) VALUES (?, ?)", (redaction_nid, target_id))
