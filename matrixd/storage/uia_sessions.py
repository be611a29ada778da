"""Sessions of user-interactive authentication."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class UiaSession:
    """One operation that waits for its user to authenticate.

    `operation` is the method and path, `user_nid` the user who must authenticate (None where nobody is known yet),
    `request` the body as first sent, `completed` maps a stage to what it proved, `registered_nid` is the account that a
    registration made. `valid_until_ts` in milliseconds since the epoch.
    """

    session_id: str
    operation: str
    user_nid: int | None
    request: Mapping[str, Any] = field(repr=False)
    completed: Mapping[str, str] = field(repr=False)
    valid_until_ts: int
    registered_nid: int | None = None


def by_id(tx: Transaction, session_id: str, now_ms: int) -> UiaSession | None:
    """The session; None if it is unknown or has expired."""
    row = tx.one(
        "SELECT operation, user_nid, request, completed, valid_until_ts, registered_nid FROM uia_sessions"
        " WHERE session_id = ? AND valid_until_ts > ?",
        (session_id, now_ms),
    )
    if row is None:
        return None
    operation, user_nid, request, completed, valid_until_ts, registered_nid = row
    return UiaSession(
        session_id, operation, user_nid, json.loads(request), json.loads(completed), valid_until_ts, registered_nid
    )


def save(tx: Transaction, session: UiaSession) -> None:
    """Keep a session, new or changed."""
    tx.insert_many(
        "uia_sessions",
        ("session_id", "operation", "user_nid", "request", "completed", "valid_until_ts", "registered_nid"),
        [
            (
                session.session_id, session.operation, session.user_nid, json.dumps(session.request),
                json.dumps(session.completed), session.valid_until_ts, session.registered_nid,
            )
        ],
        "ON CONFLICT (session_id) DO UPDATE SET completed = excluded.completed",
    )


def complete_stage(tx: Transaction, session_id: str, stage: str, proof: str) -> None:
    """Note that a stage was completed, beside what other requests may have completed meanwhile."""
    row = tx.one("SELECT completed FROM uia_sessions WHERE session_id = ?", (session_id,))
    if row is not None:
        completed = json.dumps({**json.loads(row[0]), stage: proof})
        tx.execute("UPDATE uia_sessions SET completed = ? WHERE session_id = ?", (completed, session_id))


def registered(tx: Transaction, session_id: str, user_nid: int, valid_until_ts: int) -> None:
    """Note the account that the session's registration made; the session lives on until `valid_until_ts`."""
    tx.execute(
        "UPDATE uia_sessions SET registered_nid = ?, valid_until_ts = ? WHERE session_id = ?",
        (user_nid, valid_until_ts, session_id),
    )


def take(tx: Transaction, session_id: str) -> bool:
    """Delete a session; whether it was there, which is true only once."""
    return tx.execute("DELETE FROM uia_sessions WHERE session_id = ?", (session_id,)) > 0


def delete_of_user(tx: Transaction, user_nid: int) -> None:
    """Delete all sessions of a user."""
    tx.execute("DELETE FROM uia_sessions WHERE user_nid = ?", (user_nid,))


def expire(tx: Transaction, now_ms: int, keep: int) -> int:
    """Delete what has expired, and the oldest over `keep`; how many there were."""
    gone = tx.execute("DELETE FROM uia_sessions WHERE valid_until_ts < ?", (now_ms,))
    row = tx.one("SELECT valid_until_ts FROM uia_sessions ORDER BY valid_until_ts DESC LIMIT 1 OFFSET ?", (keep,))
    if row is not None:
        gone += tx.execute("DELETE FROM uia_sessions WHERE valid_until_ts <= ?", row)
    return gone
