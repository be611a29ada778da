"""The newest end of a room in memory, ahead of the database by what is being stored.

A head is the truth for whoever builds the room's next event. It holds that part of the current state which somebody
asked for; a key that was asked for and is not in the room is held as None.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from matrixd.core.event import Event
from matrixd.core.policy_server import POLICY_KEY
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion
from matrixd.services.room_turns import RoomTurns
from matrixd.storage import events, room_members, room_servers, room_state, rooms
from matrixd.storage.database import Database
from matrixd.storage.room_state import StateKey
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

_HEAD_BYTES = 2_000
_ENTRY_BYTES = 1_500
#: Keys that nearly every event needs: loaded with the head.
_COMMON_KEYS = (
    ("m.room.create", ""),
    ("m.room.power_levels", ""),
    ("m.room.join_rules", ""),
    ("m.room.history_visibility", ""),
    ("m.room.encryption", ""),
    POLICY_KEY,
)
#: Events whose state is remembered to be the current one.
_MAX_SAME_STATE = 500
#: A head that holds more state than this forgets the members it was asked for.
_MAX_ENTRIES = 20_000


class RoomHead:
    """The newest end of one room."""

    __slots__ = (
        "_drained", "_is_local", "_state", "blocked", "broken", "depth", "extremities", "holders", "in_flight",
        "invited_count", "is_partial", "joined_count", "local_joined", "room_id", "same_state", "servers", "stored_pos",
        "unread", "version",
    )

    def __init__(self, room_id: str, version: RoomVersion, is_local: Callable[[str], bool]) -> None:
        self._is_local = is_local
        self.room_id = room_id
        self.version = version
        self.extremities: tuple[Event, ...] = ()
        self.depth = 0
        self.unread = 0
        self.joined_count = 0
        self.invited_count = 0
        self.blocked = False
        #: The position of the room's newest event that is stored; what is built here goes on from there.
        self.stored_pos = 0
        #: User IDs of the joined users of this server; None until asked for.
        self.local_joined: set[str] | None = None
        #: Units that are submitted and not yet stored.
        self.in_flight = 0
        #: Those who build on it or wait for what they built.
        self.holders = 0
        #: What this head is built on was not stored.
        self.broken = False
        #: The other servers that have joined members in the room, with how many.
        self.servers: dict[str, int] = {}
        #: IDs of events after which the state is the current one, oldest first: what goes on from them is no fork of
        #: the state. As many as are remembered.
        self.same_state: dict[str, None] = {}
        #: Not all of the room's state is here yet (a faster join).
        self.is_partial = False
        self._drained: list[Deferred[None]] = []
        self._state: dict[StateKey, Event | None] = {}

    @property
    def is_resident(self) -> bool:
        """Whether this server takes part in the room: what it has of it is kept up to date.

        A room that no server is in belongs to who knows it.
        """
        remote = sum(self.servers.values())
        return bool(self.extremities) and (self.joined_count > remote or remote == 0)

    def state(self, key: StateKey) -> Event | None:
        """The current state event of a key, which must have been loaded; KeyError otherwise."""
        return self._state[key]

    def state_map(self, keys: Iterable[StateKey]) -> dict[StateKey, Event]:
        """The current state events of loaded keys, as far as the room has them."""
        found = {}
        for key in keys:
            event = self._state[key]
            if event is not None:
                found[key] = event
        return found

    def missing(self, keys: Iterable[StateKey]) -> list[StateKey]:
        """Those of the keys that are not loaded."""
        return [key for key in keys if key not in self._state]

    def learn(self, keys: Iterable[StateKey], found: Mapping[StateKey, Event]) -> None:
        """Take what the database has for some keys; what is newer here stays."""
        for key in keys:
            self._state.setdefault(key, found.get(key))

    def membership(self, user_id: str) -> str:
        """The membership of a user whose key is loaded; 'leave' if there is none."""
        event = self._state["m.room.member", user_id]
        return (event.membership or "leave") if event is not None else "leave"

    def advance(self, event: Event, unread: int, extremities: tuple[Event, ...]) -> None:
        """Make an event the newest of the room."""
        self.extremities = extremities
        self.depth = event.depth
        self.unread = unread
        self._note_state(event, is_new=event.is_state)
        if event.is_state:
            if event.type == "m.room.member" and event.state_key is not None:
                self._count(event.state_key, event.membership or "leave")
            self._state[event.key] = event

    def advance_received(
        self,
        event: Event,
        unread: int,
        extremities: tuple[Event, ...],
        changes: Mapping[StateKey, Event | None],
        *,
        is_fork: bool = False,
    ) -> None:
        """Make an event of another server the newest of the timeline, with what it changes of the current state.

        `is_fork`: the state before it was not the current one.
        """
        for key, now in changes.items():
            if key[0] == "m.room.member":
                self._count(key[1], (now.membership or "leave") if now is not None else "leave")
            self._state[key] = now
        self.extremities = extremities
        self.depth = max(extremity.depth for extremity in extremities)
        self.unread = unread
        if changes or not (is_fork or event.is_state):
            self._note_state(event, is_new=bool(changes))

    def _note_state(self, event: Event, *, is_new: bool) -> None:
        """The state after an event is the current one; or, with several ends, may be, if it changed (`is_new`)."""
        if is_new:
            self.same_state = {}
            if len(self.extremities) > 1:
                return
        self.same_state[event.event_id] = None
        if len(self.same_state) > _MAX_SAME_STATE:
            del self.same_state[next(iter(self.same_state))]

    def landed(self) -> None:
        """A unit of events was stored, or has failed."""
        self.in_flight -= 1
        if not self.in_flight:
            waiting, self._drained = self._drained, []
            for deferred in waiting:
                deferred.callback(None)

    async def drain(self) -> None:
        """Wait until all that was built on the head is stored, or has failed."""
        while self.in_flight:
            waiting: Deferred[None] = Deferred()
            self._drained.append(waiting)
            await waiting

    def replace(self, redacted: Event) -> None:
        """Put the pruned form in the place of an event that was redacted."""
        if redacted.is_state and self._state.get(redacted.key) == redacted:
            self._state[redacted.key] = redacted
        self.extremities = tuple(redacted if event == redacted else event for event in self.extremities)

    def checkpoint(self) -> "Checkpoint":
        """What `restore` needs to take back the events that are advanced from now on."""
        return Checkpoint(
            self.extremities, self.depth, self.unread, self.joined_count, self.invited_count,
            None if self.local_joined is None else set(self.local_joined), dict(self._state), dict(self.servers),
            dict(self.same_state),
        )

    def restore(self, checkpoint: "Checkpoint") -> None:
        """Take back the events that were advanced since the checkpoint."""
        self.extremities, self.depth, self.unread = checkpoint.extremities, checkpoint.depth, checkpoint.unread
        self.joined_count, self.invited_count = checkpoint.joined_count, checkpoint.invited_count
        self.local_joined, self._state = checkpoint.local_joined, checkpoint.state
        self.servers, self.same_state = checkpoint.servers, checkpoint.same_state

    def size(self) -> int:
        """About how many bytes this holds."""
        small = len(self.local_joined or ()) + len(self.servers) + len(self.same_state)
        return _HEAD_BYTES + _ENTRY_BYTES * len(self._state) + 100 * small

    def trim(self, wanted: Collection[StateKey]) -> None:
        """Forget the members that were asked for, but for those that are wanted now, if they are many."""
        if len(self._state) > _MAX_ENTRIES and not self.in_flight:
            kept = set(wanted)
            self._state = {
                key: event for key, event in self._state.items() if key[0] != "m.room.member" or key in kept
            }

    def _count(self, user_id: str, membership: str) -> None:
        before = self.membership(user_id)
        self.joined_count += (membership == "join") - (before == "join")
        self.invited_count += (membership == "invite") - (before == "invite")
        if not self._is_local(user_id):
            self._count_server(user_id.partition(":")[2], (membership == "join") - (before == "join"))
        elif self.local_joined is not None:
            if membership == "join":
                self.local_joined.add(user_id)
            else:
                self.local_joined.discard(user_id)

    def _count_server(self, server_name: str, by: int) -> None:
        members = self.servers.get(server_name, 0) + by
        if members > 0:
            self.servers[server_name] = members
        else:
            self.servers.pop(server_name, None)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A head as it was before some events were tried."""

    extremities: tuple[Event, ...]
    depth: int
    unread: int
    joined_count: int
    invited_count: int
    local_joined: set[str] | None
    state: dict[StateKey, Event | None]
    servers: dict[str, int]
    same_state: dict[str, None]


class UnknownRoom(Exception):
    """This server does not know the room."""


class RoomHeads:
    """The heads of the rooms in use."""

    def __init__(self, database: Database, budget: CacheBudget, is_local: Callable[[str], bool]) -> None:
        self._database = database
        self._is_local = is_local
        self._cache = budget.cache("room_heads", str, RoomHead)
        # A head that somebody builds on must stay the room's only one, even when the cache drops it: loaded anew from a
        # database that does not have its events yet, the room would fork. Bounded by the requests under way.
        self._busy: dict[str, RoomHead] = {}
        self._loading: SingleFlight[str, RoomHead] = SingleFlight()
        self.turns = RoomTurns()

    @asynccontextmanager
    async def exclusive(self, room_id: str) -> AsyncIterator[RoomHead | None]:
        """Nobody else builds on the room meanwhile, and all that was built on it is stored.

        Gives the room's head; None for a room that this server does not know.
        """
        async with self.turns.take(room_id):
            try:
                head = await self.get(room_id)
            except UnknownRoom:
                yield None
                return
            self.hold(head)
            try:
                await head.drain()
                if head.broken:
                    self.release(head)
                    head = await self.get(room_id)
                    self.hold(head)
                yield head
            finally:
                self.release(head)

    def forget(self, room_id: str) -> None:
        """What is in memory of a room no longer holds: it is read anew. To be called in `exclusive`."""
        head = self._busy.pop(room_id, None) or self._cache.get(room_id)
        if head is not None:
            head.broken = True
            self._cache.remove(room_id)

    async def get(self, room_id: str, keys: Collection[StateKey] = ()) -> RoomHead:
        """The head of a room with the state of `keys` loaded. Raises `UnknownRoom`."""
        while True:
            head = self._find(room_id)
            if head is None:
                head = await self._loading.run(room_id, lambda: self._read(room_id))
            missing = head.missing(keys)
            if not missing:
                return head
            await self._load_state(head, missing)
            if not head.broken:
                head.trim(keys)
                self._cache.resize(room_id, head.size())
                if not head.missing(keys):
                    return head

    async def find(self, room_id: str, keys: Collection[StateKey] = ()) -> RoomHead | None:
        """The head of a room, or None for one that this server does not know."""
        try:
            return await self.get(room_id, keys)
        except UnknownRoom:
            return None

    def in_memory(self, room_id: str) -> RoomHead | None:
        """The head of a room, if it is at hand."""
        return self._find(room_id)

    async def local_joined(self, head: RoomHead) -> set[str]:
        """The joined users of this server."""
        if head.local_joined is None:
            found = await self._database.read(_local_joined, head.room_id)
            if head.local_joined is None:
                # What joined or left while the database was asked is in the state that the head holds.
                for (event_type, user_id), event in head._state.items():
                    if event_type == "m.room.member" and self._is_local(user_id):
                        (found.add if event is not None and event.membership == "join" else found.discard)(user_id)
                head.local_joined = found
        return head.local_joined

    def make(self, room_id: str, version: RoomVersion) -> RoomHead:
        """The head of a room that is being made."""
        head = RoomHead(room_id, version, self._is_local)
        head.local_joined = set()
        self._cache.put(room_id, head, head.size())
        return head

    def hold(self, head: RoomHead) -> None:
        """Keep a head as the room's only one until `release`: somebody builds on it."""
        head.holders += 1
        self._busy[head.room_id] = head

    def release(self, head: RoomHead) -> None:
        """The counterpart of `hold`; a head that broke is forgotten."""
        head.holders -= 1
        if head.broken and self._cache.get(head.room_id) is head:
            self._cache.remove(head.room_id)
        if self._busy.get(head.room_id) is head and (head.broken or not head.holders):
            del self._busy[head.room_id]
            if not head.broken:
                self._cache.put(head.room_id, head, head.size())

    def _find(self, room_id: str) -> RoomHead | None:
        cached = self._cache.get(room_id)
        head = self._busy.get(room_id) or cached
        return head if head is not None and not head.broken else None

    async def _read(self, room_id: str) -> RoomHead:
        found = await self._database.read(_read_head, room_id)
        if found is None:
            raise UnknownRoom(room_id)
        room, ends, state, servers = found
        head = RoomHead(room_id, ROOM_VERSIONS[room.version], self._is_local)
        head.extremities = ends
        if len(ends) == 1:
            head.same_state[ends[0].event_id] = None
        head.depth = room.depth
        head.unread = room.unread
        head.joined_count = room.joined_count
        head.invited_count = room.invited_count
        head.blocked = room.blocked
        head.stored_pos = room.last_pos
        head.servers = servers
        head.is_partial = room.state_completeness != "full"
        head.learn(_COMMON_KEYS, state)
        self._cache.put(room_id, head, head.size())
        return head

    async def _load_state(self, head: RoomHead, keys: list[StateKey]) -> None:
        head.learn(keys, await self._database.read(_read_state, head.room_id, keys))


def _read_head(
    tx: Transaction, room_id: str
) -> tuple[rooms.Room, tuple[Event, ...], dict[StateKey, Event], dict[str, int]] | None:
    room = rooms.by_id(tx, room_id)
    if room is None or not room.extremities:
        # Without an end a room is known by an invite or a knock only.
        return None
    ends = events.by_ids(tx, room.extremities)
    state = room_state.of_keys(tx, room.room_nid, _COMMON_KEYS)
    return (
        room,
        tuple(ends[event_id].event for event_id in room.extremities),
        {key: found.event for key, found in state.items()},
        room_servers.of_room(tx, room.room_nid),
    )


def _read_state(tx: Transaction, room_id: str, keys: list[StateKey]) -> dict[StateKey, Event]:
    room_nid = rooms.nid(tx, room_id)
    if room_nid is None:
        return {}
    return {key: found.event for key, found in room_state.of_keys(tx, room_nid, keys).items()}


def _local_joined(tx: Transaction, room_id: str) -> set[str]:
    room_nid = rooms.nid(tx, room_id)
    return {user_id for _, user_id in room_members.local_joined(tx, room_nid)} if room_nid is not None else set()
