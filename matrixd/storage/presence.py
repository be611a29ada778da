"""The presence that local users chose, so that a restart keeps their status messages."""

from dataclasses import dataclass

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StoredPresence:
    """What a user chose last."""

    user_nid: int
    state: str
    status_msg: str | None
    #: Milliseconds since the epoch.
    last_active_ts: int


def get(tx: Transaction, user_nid: int) -> StoredPresence | None:
    """What a user chose last; None if never."""
    row = tx.one("SELECT user_nid, state, status_msg, last_active_ts FROM presence WHERE user_nid = ?", (user_nid,))
    return None if row is None else StoredPresence(*row)


def put(tx: Transaction, presence: StoredPresence) -> None:
    """Keep what a user chose."""
    tx.execute(
        "INSERT INTO presence (user_nid, state, status_msg, last_active_ts) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user_nid) DO UPDATE SET state = excluded.state, status_msg = excluded.status_msg,"
        " last_active_ts = excluded.last_active_ts",
        (presence.user_nid, presence.state, presence.status_msg, presence.last_active_ts),
    )


def remove_user(tx: Transaction, user_nid: int) -> None:
    """Delete what a user chose who is deactivated."""
    tx.execute("DELETE FROM presence WHERE user_nid = ?", (user_nid,))
