"""Which event a device's transaction ID has made."""

from collections.abc import Collection, Sequence

from matrixd.storage.transaction import Transaction


def key(endpoint: str, txn_id: str) -> str:
    """How a transaction ID is stored: a device may use it once with each endpoint (method and path but for the ID)."""
    return f"{txn_id}\n{endpoint}"


def client_txn_id(stored_key: str) -> str:
    """The transaction ID as the client chose it."""
    return stored_key.rpartition("\n")[0]


def insert(tx: Transaction, rows: Sequence[tuple[int, str, int, int]]) -> None:
    """Note (device, transaction ID, event, time in ms) of new events; a transaction ID that is there is an error."""
    tx.insert_many("transactions", ("device_nid", "txn_id", "event_nid", "created_ts"), rows)


def note(tx: Transaction, device_nid: int, txn_id: str, now_ms: int) -> bool:
    """Note a transaction ID that makes no event; False if it was noted before."""
    touched = tx.execute(
        "INSERT INTO transactions (device_nid, txn_id, event_nid, created_ts) VALUES (?, ?, 0, ?)"
        " ON CONFLICT (device_nid, txn_id) DO NOTHING",
        (device_nid, txn_id, now_ms),
    )
    return touched > 0


def event_id(tx: Transaction, device_nid: int, txn_id: str) -> str | None:
    """The event that a transaction ID has made."""
    row = tx.one(
        "SELECT e.event_id FROM transactions t JOIN events e ON e.event_nid = t.event_nid"
        " WHERE t.device_nid = ? AND t.txn_id = ?",
        (device_nid, txn_id),
    )
    return None if row is None else str(row[0])


def of_events(tx: Transaction, device_nid: int, event_nids: Collection[int]) -> dict[int, str]:
    """The transaction IDs with which a device made some of the events."""
    if not event_nids:
        return {}
    condition, parameter = tx.among("event_nid", list(event_nids))
    query = f"SELECT event_nid, txn_id FROM transactions WHERE {condition} AND device_nid = ?"
    return dict(tx.all(query, (parameter, device_nid)))


def expire(tx: Transaction, before_ms: int) -> int:
    """Delete what is older than a moment; how many."""
    return tx.execute("DELETE FROM transactions WHERE created_ts < ?", (before_ms,))
