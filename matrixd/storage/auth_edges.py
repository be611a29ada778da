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
#: Naming events of one event that are read first, the newest of them; each further time it is twice as many. All
#: members name the power levels that they came by, while the first that the state holds is the answer.
_PAGE = 32
#: Events whose naming events are read by one statement.
_EVENTS = 50
#: Beyond every number.
_END = 2**62


def insert(tx: Transaction, edges: Iterable[tuple[int, int]]) -> None:
    """Note edges (number of the named event, of the state event that names it)."""
    tx.insert_many("event_auth", ("auth_nid", "event_nid"), list(edges), "ON CONFLICT (auth_nid, event_nid) DO NOTHING")


def in_chain_of_state(
    tx: Transaction, event_nids: Collection[int], state: EventState, conflicted: Collection[int]
) -> set[int]:
    """Those of some events that are in the unconflicted part of a state, or in the auth chain of one of its events.

    `conflicted` are the numbers of the keys that are not in the unconflicted part.
    """
    return _Climb(tx, state, frozenset(conflicted)).run(event_nids)


class _Climb:
    """Goes from all events at once to those that name them, level by level, until it meets what the state holds."""

    def __init__(self, tx: Transaction, state: EventState, conflicted: frozenset[int]) -> None:
        self._tx = tx
        self._state = state
        self._conflicted = conflicted
        #: What each event that was reached names, of what the climb came by.
        self._came_from: dict[int, list[int]] = {}
        self._found: set[int] = set()
        #: Events that were reached: of what names them, all from this number on was read.
        self._unread: dict[int, int] = {}

    def run(self, event_nids: Collection[int]) -> set[int]:
        level = list(dict.fromkeys(event_nids))
        seen = set(level)
        page = _PAGE
        while True:
            for start in range(0, len(level), _CHUNK):
                self._look_at([nid for nid in level[start : start + _CHUNK] if self._is_open(nid)])
            self._unread.update((nid, _END) for nid in level)
            self._unread = {
                nid: end for nid, end in self._unread.items() if nid not in self._found and self._is_open(nid)
            }
            if not self._unread:
                return self._found & set(event_nids)
            level = self._naming(page, seen)
            page *= 2

    def _is_open(self, nid: int) -> bool:
        """Whether it matters what becomes of an event: something that it names is not decided yet."""
        came_from = self._came_from.get(nid)
        return came_from is None or not self._found.issuperset(came_from)

    def _look_at(self, event_nids: list[int]) -> None:
        for nid in _held(self._tx, event_nids, self._state, self._conflicted):
            self._find(nid)

    def _find(self, nid: int) -> None:
        """An event is in the chain, and so is all that it names."""
        stack = [nid]
        while stack:
            current = stack.pop()
            if current not in self._found:
                self._found.add(current)
                stack += self._came_from.get(current, ())

    def _naming(self, page: int, seen: set[int]) -> list[int]:
        following = []
        for auth_nid, event_nids in self._read(page).items():
            if len(event_nids) < page:
                del self._unread[auth_nid]
            else:
                self._unread[auth_nid] = min(event_nids)
            for event_nid in event_nids:
                self._came_from.setdefault(event_nid, []).append(auth_nid)
                if event_nid in self._found:
                    self._find(auth_nid)
                elif event_nid not in seen:
                    seen.add(event_nid)
                    following.append(event_nid)
        return following

    def _read(self, page: int) -> dict[int, list[int]]:
        """The next events that name each of those reached, the newest first."""
        found: dict[int, list[int]] = {nid: [] for nid in self._unread}
        asked = list(self._unread.items())
        for start in range(0, len(asked), _EVENTS):
            some = asked[start : start + _EVENTS]
            parameters = [value for nid, end in some for value in (nid, end, page)]
            for auth_nid, event_nid in self._tx.all(" UNION ALL ".join([_NEXT] * len(some)), parameters):
                found[auth_nid].append(event_nid)
        return found


_NEXT = """SELECT * FROM (SELECT auth_nid, event_nid FROM event_auth WHERE auth_nid = ? AND event_nid < ?
    ORDER BY event_nid DESC LIMIT ?) AS named"""


def _held(tx: Transaction, event_nids: list[int], state: EventState, conflicted: frozenset[int]) -> list[int]:
    """Those of some events that the unconflicted part of a state holds."""
    if not event_nids:
        return []
    condition, parameter = tx.among("event_nid", event_nids)
    rows = tx.all(
        f"SELECT event_nid, key_nid FROM events WHERE {condition} AND room_nid = ? AND key_nid IS NOT NULL",
        (parameter, state.room_nid),
    )
    asked = [(event_nid, key_nid) for event_nid, key_nid in rows if key_nid not in conflicted]
    held = state.nids(tx, {key_nid for _, key_nid in asked})
    return [event_nid for event_nid, key_nid in asked if held.get(key_nid) == event_nid]


def filled_up_to(tx: Transaction) -> int:
    """The number of the newest event whose edges are sure to be noted, of those stored before there was this index."""
    row = tx.one("SELECT value FROM counters WHERE name = 'auth_edges'")
    return 0 if row is None else int(row[0])


def state_after(tx: Transaction, event_nid: int, limit: int) -> list[StoredEvent]:
    """The next state events by number."""
    return select(tx, "e.event_nid > ? AND e.key_nid IS NOT NULL ORDER BY e.event_nid LIMIT ?", (event_nid, limit))
