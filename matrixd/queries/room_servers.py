"""Which other servers have joined members in a room, in memory for the rooms in use.

It follows the feed, so it is there in any process that has one. What it says of a room holds for the moment of the
newest row that the feed has handed out, and never for an older one than the database was read at.
"""

from collections.abc import Collection, Iterable, KeysView
from dataclasses import dataclass, field

from matrixd.queries.feed import Feed
from matrixd.storage import room_servers, rooms
from matrixd.storage.database import Database
from matrixd.storage.rows import EventRow, MembershipChange, RoomFilled
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

_ROOM_BYTES = 300
_SERVER_BYTES = 120

#: What an event changes: (server, difference of joined members).
_Changes = list[tuple[str, int]]


@dataclass(slots=True)
class _Room:
    #: The room's newest event that is in `members`.
    pos: int
    #: Server name -> joined members.
    members: dict[str, int]

    def apply(self, pos: int, changes: _Changes) -> None:
        if pos <= self.pos:
            return
        self.pos = pos
        for server, by in changes:
            count = self.members.get(server, 0) + by
            if count > 0:
                self.members[server] = count
            else:
                self.members.pop(server, None)

    @property
    def size(self) -> int:
        return _ROOM_BYTES + _SERVER_BYTES * len(self.members)


@dataclass(slots=True)
class _Loading:
    """What the feed handed out of a room while the database is asked."""

    changes: list[tuple[int, _Changes]] = field(default_factory=list)
    is_stale: bool = False


class RoomServers:
    """Answers which other servers are in a room."""

    def __init__(self, database: Database, feed: Feed, budget: CacheBudget) -> None:
        self._database = database
        self._rooms = budget.cache("room_servers", int, _Room)
        self._loading: dict[int, _Loading] = {}
        self._flights: SingleFlight[int, KeysView[str]] = SingleFlight()
        feed.subscribe(EventRow, self._on_event)
        feed.subscribe(RoomFilled, lambda row: self.forget(row.room_nid))

    def known(self, room_nid: int) -> KeysView[str] | None:
        """The servers of a room, if they are in memory; to be used before the next row of the feed."""
        room = self._rooms.get(room_nid)
        return None if room is None else room.members.keys()

    async def of(self, room_nid: int) -> KeysView[str]:
        """The servers of a room; to be used before the next row of the feed."""
        known = self.known(room_nid)
        return await self._flights.run(room_nid, lambda: self._load(room_nid)) if known is None else known

    async def of_any(self, room_nids: Collection[int]) -> set[str]:
        """The servers of at least one of the rooms."""
        found: set[str] = set()
        for room_nid in room_nids:
            found.update(await self.of(room_nid))
        return found

    async def _load(self, room_nid: int) -> KeysView[str]:
        loading = self._loading[room_nid] = _Loading()
        try:
            pos, members = await self._database.read(_read, room_nid)
        finally:
            del self._loading[room_nid]
        room = _Room(pos, members)
        for at, changes in loading.changes:
            room.apply(at, changes)
        if not loading.is_stale:
            self._rooms.put(room_nid, room, room.size)
        return room.members.keys()

    def forget(self, room_nid: int) -> None:
        """What is in memory of a room no longer holds; for who changes the room's members without a row of the feed."""
        self._rooms.remove(room_nid)
        if room_nid in self._loading:
            self._loading[room_nid].is_stale = True

    def _on_event(self, row: EventRow) -> None:
        if row.member is None and not row.moves:
            return
        if row.member is not None and row.member.is_local and row.member.membership == "join":
            # A user of ours who is the first one in a room brings all its members, which no row names.
            self.forget(row.room_nid)
        changes = _changes(row)
        if not changes:
            return
        loading = self._loading.get(row.room_nid)
        if loading is not None:
            loading.changes.append((row.pos, changes))
        if row.room_nid in self._rooms:
            room = self._rooms.get(row.room_nid)
            if room is not None:
                room.apply(row.pos, changes)
                self._rooms.resize(row.room_nid, room.size)


def _changes(row: EventRow) -> _Changes:
    members: list[MembershipChange] = [move.member for move in row.moves if move.member is not None]
    if row.member is not None and row.is_current and row.verdict is None:
        members.append(row.member)
    return list(_joins_and_leaves(members))


def _joins_and_leaves(members: Iterable[MembershipChange]) -> Iterable[tuple[str, int]]:
    for member in members:
        by = (member.membership == "join") - (member.before == "join")
        if by and not member.is_local:
            yield member.user_id.partition(":")[2], by


def _read(tx: Transaction, room_nid: int) -> tuple[int, dict[str, int]]:
    room = rooms.by_nids(tx, [room_nid]).get(room_nid)
    return (0 if room is None else room.last_pos), room_servers.of_room(tx, room_nid)
