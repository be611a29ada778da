"""How far each join of a room through another server has come."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class RemoteJoin:
    """A join, as committed. `state` is a value of `services.remote_joins.states.State`."""

    room_id: str
    user_id: str
    state: str
    #: What the user wants in the join event, beside the membership.
    content: Mapping[str, Any]
    #: Servers that may help, the best first.
    servers: tuple[str, ...]
    #: The server that took the join event; None, as all that follows, until one has.
    resident: str | None
    version: str | None
    #: JSON of the join event.
    event: str | None
    event_id: str | None
    members_omitted: bool
    #: Tries to learn the rest of the state, of all servers together.
    tries: int
    #: Milliseconds since the epoch, as those that follow.
    next_try_ts: int
    error: str | None
    created_ts: int
    changed_ts: int


_COLUMNS = (
    "room_id, user_id, state, content, servers, resident, version, event, event_id, members_omitted, tries,"
    " next_try_ts, error, created_ts, changed_ts"
)


def _join(row: tuple[Any, ...]) -> RemoteJoin:
    room_id, user_id, state, content, servers, resident, version, event, event_id, omitted, *rest = row
    return RemoteJoin(
        room_id, user_id, state, json.loads(content), tuple(json.loads(servers)), resident, version, event, event_id,
        bool(omitted), *rest,
    )


def by_room(tx: Transaction, room_id: str) -> RemoteJoin | None:
    """The join of a room, going on or over."""
    row = tx.one(f"SELECT {_COLUMNS} FROM remote_joins WHERE room_id = ?", (room_id,))
    return None if row is None else _join(row)


def in_states(tx: Transaction, states: Collection[str], due_ms: int | None = None) -> list[RemoteJoin]:
    """The joins in some states, the oldest first; with `due_ms`, only those whose next try is not later."""
    condition, parameter = tx.among("state", list(states))
    due, params = ("", ()) if due_ms is None else (" AND next_try_ts <= ?", (due_ms,))  # type: tuple[str, tuple[int, ...]]
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM remote_joins WHERE {condition}{due} ORDER BY created_ts", (parameter, *params)
    )
    return [_join(row) for row in rows]


def begin(
    tx: Transaction,
    room_id: str,
    user_id: str,
    state: str,
    content: Mapping[str, Any],
    servers: Sequence[str],
    now_ms: int,
) -> None:
    """Note a new join, in place of an earlier one of the room."""
    tx.execute("DELETE FROM remote_joins WHERE room_id = ?", (room_id,))
    tx.insert_many(
        "remote_joins",
        ("room_id", "user_id", "state", "content", "servers", "created_ts", "changed_ts"),
        [(room_id, user_id, state, json.dumps(content), json.dumps(list(servers)), now_ms, now_ms)],
    )


def answered(
    tx: Transaction,
    room_id: str,
    state: str,
    resident: str,
    version: str,
    event: str,
    event_id: str,
    members_omitted: bool,
    servers: Sequence[str],
    now_ms: int,
) -> None:
    """Note what a server has answered; `servers` may help from now on."""
    tx.execute(
        "UPDATE remote_joins SET state = ?, resident = ?, version = ?, event = ?, event_id = ?, members_omitted = ?,"
        " servers = ?, error = NULL, changed_ts = ? WHERE room_id = ?",
        (
            state, resident, version, event, event_id, int(members_omitted), json.dumps(list(servers)), now_ms,
            room_id,
        ),
    )


def move(tx: Transaction, room_id: str, state: str, now_ms: int, error: str | None = None) -> None:
    """Note the next state, and why, if something went wrong."""
    tx.execute(
        "UPDATE remote_joins SET state = ?, error = ?, tries = 0, next_try_ts = 0, changed_ts = ? WHERE room_id = ?",
        (state, error, now_ms, room_id),
    )


def learned(tx: Transaction, room_id: str, now_ms: int) -> None:
    """Note that what the first answer left out is here."""
    tx.execute(
        "UPDATE remote_joins SET members_omitted = 0, error = NULL, changed_ts = ? WHERE room_id = ?",
        (now_ms, room_id),
    )


def failed(tx: Transaction, room_id: str, error: str, next_try_ts: int, now_ms: int) -> None:
    """Note a try in vain, and when the next is due."""
    tx.execute(
        "UPDATE remote_joins SET tries = tries + 1, error = ?, next_try_ts = ?, changed_ts = ? WHERE room_id = ?",
        (error, next_try_ts, now_ms, room_id),
    )


def drop_old(tx: Transaction, states: Collection[str], before_ms: int) -> None:
    """Delete the joins in some states that have not changed since a moment."""
    condition, parameter = tx.among("state", list(states))
    tx.execute(f"DELETE FROM remote_joins WHERE {condition} AND changed_ts < ?", (parameter, before_ms))
