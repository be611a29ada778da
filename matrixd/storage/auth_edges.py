"""Which state events name a state event among their ``auth_events``: auth chains, walked upwards.

Downwards the events' own JSON leads. Upwards this index answers whether an event is in the auth chain of a room's
state, which state resolution asks of a handful of events while the state may have tens of thousands.
"""

from collections.abc import Collection, Iterable

from matrixd.storage.event_state import EventState
from matrixd.storage.stored_event import StoredEvent, select
from matrixd.storage.transaction import Transaction

#: Naming events that are looked at at once.
_CHUNK = 1_000


def insert(tx: Transaction, edges: Iterable[tuple[int, int]]) -> None:
    """Note edges (number of the named event, of the state event that names it)."""
    tx.insert_many("event_auth", ("auth_nid", "event_nid"), list(edges), "ON CONFLICT (auth_nid, event_nid) DO NOTHING")


def in_chain_of_state(
    tx: Transaction, event_nids: Collection[int], state: EventState, conflicted: Collection[int]
) -> set[int]:
    """Those of some events that are in the unconflicted part of a state, or in the auth chain of one of its events.

    `conflicted` are the numbers of the keys that are not in the unconflicted part.
    """
    return {nid for nid in event_nids if _is_in_chain(tx, nid, state, frozenset(conflicted))}


def _is_in_chain(tx: Transaction, event_nid: int, state: EventState, conflicted: frozenset[int]) -> bool:
    seen = {event_nid}
    level = [event_nid]
    while level:
        for start in range(0, len(level), _CHUNK):
            if _holds_one(tx, level[start : start + _CHUNK], state, conflicted):
                return True
        level = [nid for nid in _naming(tx, level) if nid not in seen]
        seen.update(level)
    return False


def _naming(tx: Transaction, event_nids: list[int]) -> list[int]:
    condition, parameter = tx.among("auth_nid", event_nids)
    return [row[0] for row in tx.all(f"SELECT DISTINCT event_nid FROM event_auth WHERE {condition}", (parameter,))]


def _holds_one(tx: Transaction, event_nids: list[int], state: EventState, conflicted: frozenset[int]) -> bool:
    condition, parameter = tx.among("event_nid", event_nids)
    rows = tx.all(
        f"SELECT event_nid, key_nid FROM events WHERE {condition} AND room_nid = ? AND key_nid IS NOT NULL",
        (parameter, state.room_nid),
    )
    asked = {key_nid: [] for _, key_nid in rows if key_nid not in conflicted}  # type: dict[int, list[int]]
    for event_nid, key_nid in rows:
        if key_nid in asked:
            asked[key_nid].append(event_nid)
    held = state.nids(tx, asked)
    return any(held.get(key_nid) in candidates for key_nid, candidates in asked.items())


def filled_up_to(tx: Transaction) -> int:
    """The number of the newest event whose edges are sure to be noted, of those stored before there was this index."""
    row = tx.one("SELECT value FROM counters WHERE name = 'auth_edges'")
    return 0 if row is None else int(row[0])


def state_after(tx: Transaction, event_nid: int, limit: int) -> list[StoredEvent]:
    """The next state events by number."""
    return select(tx, "e.event_nid > ? AND e.key_nid IS NOT NULL ORDER BY e.event_nid LIMIT ?", (event_nid, limit))
