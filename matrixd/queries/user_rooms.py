"""The per-user room index in memory: which rooms a user has to do with, and how far each of them has come.

Both kinds of sync begin here. An index is read from the database once, and then kept by the feed for as long as the
cache has room for it or somebody waits on it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from weakref import WeakSet, WeakValueDictionary

from twisted.internet.defer import Deferred

from matrixd.queries.feed import Feed
from matrixd.storage import room_members, rooms
from matrixd.storage.database import Database
from matrixd.storage.room_members import Member
from matrixd.storage.rooms import Room
from matrixd.storage.rows import EventRow, RoomFilled, RoomForgotten
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

_INDEX_BYTES = 1_000
_ENTRY_BYTES = 700


class Watched:
    """What answers that long-poll wait on."""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        #: Fired, and emptied, when something happens that such an answer may have to tell.
        self.waiters: set[Deferred[None]] = set()

    def wake(self) -> None:
        """Let those who wait look again."""
        waiters, self.waiters = self.waiters, set()
        for waiter in waiters:
            waiter.callback(None)


class LiveRoom(Watched):
    """A room that is in somebody's index, or that somebody who is not in it looks into: such wait on the room."""

    __slots__ = (
        "__weakref__", "filled_pos", "invited_count", "joined_count", "last_pos", "room_id", "room_nid", "watchers",
    )

    def __init__(self, room: Room) -> None:
        super().__init__()
        self.room_nid = room.room_nid
        self.room_id = room.room_id
        #: Position of the newest event.
        self.last_pos = room.last_pos
        self.joined_count = room.joined_count
        self.invited_count = room.invited_count
        #: Position at which the last members of a room became known that was joined through another server.
        self.filled_pos = room.filled_pos
        self.watchers: WeakSet[UserRooms] = WeakSet()


@dataclass(frozen=True, slots=True)
class RoomEntry:
    """A user's place in a room: what it was when somebody took it from the index, and goes on with."""

    room: LiveRoom
    membership: str
    #: Position and number of the newest m.room.member event of the user, and who sent it.
    pos: int
    event_nid: int
    sender_nid: int
    forgotten: bool
    #: The user has had this membership at least since this position.
    since: int


class UserRooms(Watched):
    """The index of one user, on which the user's syncs wait."""

    __slots__ = ("__weakref__", "entries", "user_nid")

    def __init__(self, user_nid: int) -> None:
        super().__init__()
        self.user_nid = user_nid
        self.entries: dict[int, RoomEntry] = {}

    def is_joined(self, room_nid: int) -> bool:
        """Whether the user is in the room."""
        entry = self.entries.get(room_nid)
        return entry is not None and entry.membership == "join"

    def snapshot(self) -> "UserRooms":
        """The index as it is now, and stays."""
        taken = UserRooms(self.user_nid)
        taken.entries = dict(self.entries)
        return taken

    def joined(self) -> list[RoomEntry]:
        """The rooms that the user is in."""
        return [entry for entry in self.entries.values() if entry.membership == "join"]


class UserRoomsIndex:
    """The indexes of the users in use."""

    def __init__(self, database: Database, feed: Feed, budget: CacheBudget) -> None:
        self._database = database
        self._cache = budget.cache("user_rooms", int, UserRooms)
        self._live: WeakValueDictionary[int, LiveRoom] = WeakValueDictionary()
        self._users: WeakValueDictionary[int, UserRooms] = WeakValueDictionary()
        self._loading: SingleFlight[int, UserRooms] = SingleFlight()
        # Membership changes that come by while an index is being read; bounded by the loads under way.
        self._missed: dict[int, list[EventRow]] = {}
        feed.subscribe(EventRow, self._on_event)
        feed.subscribe(RoomForgotten, self._on_forgotten)
        feed.subscribe(RoomFilled, self._on_filled)

    async def get(self, user_nid: int) -> UserRooms:
        """The index of a user."""
        known = self.find(user_nid)
        if known is not None:
            return known
        return await self._loading.run(user_nid, lambda: self._load(user_nid))

    def find(self, user_nid: int) -> UserRooms | None:
        """The index of a user, if it is in memory."""
        return self._cache.get(user_nid) or self._users.get(user_nid)

    def room(self, room_nid: int) -> LiveRoom | None:
        """A room, if it is in somebody's index in memory."""
        return self._live.get(room_nid)

    def wake_users(self, user_nids: Iterable[int]) -> None:
        """Let the syncs of some users look again."""
        for user_nid in user_nids:
            index = self._users.get(user_nid)
            if index is not None and index.waiters:
                index.wake()

    def wake_rooms(self, room_nids: Iterable[int], matters: Callable[[RoomEntry], bool]) -> None:
        """Let those who look into a room look again, and the syncs of its members to whom the change matters."""
        for room_nid in room_nids:
            room = self._live.get(room_nid)
            if room is None:
                continue
            room.wake()
            for index in list(room.watchers):
                if index.waiters and matters(index.entries[room_nid]):
                    index.wake()

    async def _load(self, user_nid: int) -> UserRooms:
        self._missed[user_nid] = []
        try:
            members, found = await self._database.read(_read, user_nid)
        finally:
            missed = self._missed.pop(user_nid)
        index = UserRooms(user_nid)
        for member in members:
            self._enter(index, self.live_room(found[member.room_nid]), member)
        self._users[user_nid] = index
        for row in missed:
            self._apply(index, row)
        self._cache.put(user_nid, index, _INDEX_BYTES + _ENTRY_BYTES * len(index.entries))
        return index

    def live_room(self, room: Room) -> LiveRoom:
        """A room, followed for as long as somebody holds what this returns."""
        live = self._live.get(room.room_nid)
        if live is None:
            live = self._live[room.room_nid] = LiveRoom(room)
        elif room.last_pos > live.last_pos:
            live.last_pos, live.joined_count, live.invited_count = room.last_pos, room.joined_count, room.invited_count
        return live

    def _enter(self, index: UserRooms, room: LiveRoom, member: Member) -> None:
        index.entries[room.room_nid] = RoomEntry(
            room, member.membership, member.pos, member.event_nid, member.sender_nid, member.forgotten, member.pos
        )
        room.watchers.add(index)

    def _on_event(self, row: EventRow) -> None:
        live = self._live.get(row.room_nid)
        if live is not None:
            live.last_pos = row.pos
            live.joined_count, live.invited_count = row.joined_count, row.invited_count
        for member in row.local_members:
            missed = self._missed.get(member.user_nid)
            if missed is not None:
                missed.append(row)
            index = self._users.get(member.user_nid)
            if index is not None:
                self._apply(index, row)
                self._cache.resize(index.user_nid, _INDEX_BYTES + _ENTRY_BYTES * len(index.entries))

    def _apply(self, index: UserRooms, row: EventRow) -> None:
        entry = index.entries.get(row.room_nid)
        if entry is not None and entry.pos >= row.pos:
            return
        membership, event_nid, sender_nid = _membership_in(row, index.user_nid)
        stays = entry is not None and entry.membership == membership
        since = entry.since if entry is not None and stays else row.pos
        live = self._live.get(row.room_nid)
        if live is None:
            live = self._live[row.room_nid] = LiveRoom(_room_of(row))
        index.entries[row.room_nid] = RoomEntry(
            live, membership, row.pos, event_nid, sender_nid, False, since
        )
        live.watchers.add(index)

    def _on_filled(self, row: RoomFilled) -> None:
        live = self._live.get(row.room_nid)
        if live is not None:
            live.filled_pos = row.pos
            live.joined_count, live.invited_count = row.joined_count, row.invited_count

    def _on_forgotten(self, row: RoomForgotten) -> None:
        index = self._users.get(row.user_nid)
        entry = index.entries.get(row.room_nid) if index is not None else None
        if index is not None and entry is not None:
            index.entries[row.room_nid] = replace(entry, forgotten=True)


def _read(tx: Transaction, user_nid: int) -> tuple[Sequence[Member], dict[int, Room]]:
    members = room_members.of_user(tx, user_nid)
    return members, rooms.by_nids(tx, [member.room_nid for member in members])


def _membership_in(row: EventRow, user_nid: int) -> tuple[str, int, int]:
    """What a row makes a user's membership: with the numbers of the event that says so, and of its sender."""
    for move in row.moves:
        if move.member is not None and move.member.user_nid == user_nid:
            is_there = move.event_nid is not None and move.sender_nid is not None
            numbers = (move.event_nid or 0, move.sender_nid or 0) if is_there else (row.event_nid, row.sender_nid)
            return move.member.membership, *numbers
    assert row.member is not None
    return row.member.membership, row.event_nid, row.sender_nid


def _room_of(row: EventRow) -> Room:
    return Room(
        room_nid=row.room_nid, room_id=row.event.room_id, version=row.event.version.identifier, extremities=(),
        depth=row.event.depth, last_pos=row.pos, bump_pos=row.pos, unread=row.unread,
        joined_count=row.joined_count, invited_count=row.invited_count, published=False, blocked=False,
    )
