"""Which servers a room's access control list keeps out.

https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
"""

from matrixd.core.acl import ServerAcl
from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.queries.feed import Feed
from matrixd.storage import room_state, rooms
from matrixd.storage.database import Database
from matrixd.storage.rows import EventRow
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget

ACL_KEY = ("m.room.server_acl", "")
_ENTRY_BYTES = 300
#: A compiled list takes a few times its JSON.
_BYTES_PER_PATTERN = 400


class ServerAcls:
    """The lists of the rooms in use, compiled, in memory."""

    def __init__(self, database: Database, feed: Feed, budget: CacheBudget) -> None:
        self._database = database
        #: By room ID; None for a room without a list.
        self._known = budget.cache("server_acls", str, _Known)
        #: Counts the changes seen, so that a slow read does not bring back what has been replaced.
        self._changes = 0
        feed.subscribe(EventRow, self._on_event)

    async def check(self, room_id: str, server_name: str) -> None:
        """Raises 403 M_FORBIDDEN if the room keeps the server out. A room that is not known here keeps nobody out."""
        if not await self.allows(room_id, server_name):
            raise MatrixError(403, "M_FORBIDDEN", f"The server ACL of {room_id} keeps {server_name} out.")

    async def allows(self, room_id: str, server_name: str) -> bool:
        """Whether the room lets the server take part."""
        known = self._known.get(room_id)
        if known is None:
            changes = self._changes
            event = await self._database.read(_load, room_id)
            known = _Known(event)
            if changes == self._changes:
                self._known.put(room_id, known, known.size)
        return known.acl is None or known.acl.allows(server_name)

    def _on_event(self, row: EventRow) -> None:
        if _touches_list(row):
            self._changes += 1
            self._known.remove(row.event.room_id)


class _Known:
    __slots__ = ("acl", "size")

    def __init__(self, event: Event | None) -> None:
        self.acl = None if event is None else ServerAcl(event)
        self.size = _ENTRY_BYTES + (0 if event is None else _BYTES_PER_PATTERN * _patterns(event))


def _touches_list(row: EventRow) -> bool:
    # A redacted list is an empty one, which keeps everybody out.
    changed = (row.event, row.redacted)
    if any(event is not None and event.is_state and event.key == ACL_KEY for event in changed):
        return True
    return any(move.key == ACL_KEY for move in row.moves)


def _patterns(event: Event) -> int:
    lists = (event.content.get("allow"), event.content.get("deny"))
    return sum(len(entries) for entries in lists if isinstance(entries, list))


def _load(tx: Transaction, room_id: str) -> Event | None:
    room_nid = rooms.nid(tx, room_id)
    if room_nid is None:
        return None
    found = room_state.of_keys(tx, room_nid, [ACL_KEY]).get(ACL_KEY)
    return None if found is None else found.event
