"""The filters that clients stored (client-server API, "Filtering")."""

from matrixd.storage.transaction import Transaction


def get(tx: Transaction, user_nid: int, filter_id: int) -> str | None:
    """The canonical JSON of a filter."""
    row = tx.one("SELECT definition FROM filters WHERE user_nid = ? AND filter_id = ?", (user_nid, filter_id))
    return None if row is None else str(row[0])


def put(tx: Transaction, user_nid: int, definition: str, limit: int) -> int | None:
    """Store a filter's canonical JSON; its number, which is the old one if the user has the same filter already.

    None if the user has `limit` filters.
    """
    known = tx.one("SELECT filter_id FROM filters WHERE user_nid = ? AND definition = ?", (user_nid, definition))
    if known is not None:
        return int(known[0])
    newest = tx.one("SELECT COALESCE(MAX(filter_id), 0), COUNT(*) FROM filters WHERE user_nid = ?", (user_nid,))
    assert newest is not None
    if newest[1] >= limit:
        return None
    filter_id = int(newest[0]) + 1
    tx.execute(
        "INSERT INTO filters (user_nid, filter_id, definition) VALUES (?, ?, ?)", (user_nid, filter_id, definition)
    )
    return filter_id


def remove_user(tx: Transaction, user_nid: int) -> None:
    """Delete the filters of a user who is deactivated."""
    tx.execute("DELETE FROM filters WHERE user_nid = ?", (user_nid,))
