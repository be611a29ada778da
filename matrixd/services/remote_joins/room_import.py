"""Making a room usable that was joined through another server: one commit puts the user, and the state, into it.

Until then nothing of the answer shows. The join event is the first of the room's timeline here (or the first after an
earlier stay); the state before it is what the other server told. Where that has more members than one commit should
hold, or where the answer left them out, the room begins as 'partial', and `filling` adds them.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from matrixd.core.event import Event
from matrixd.core.identifiers import domain_of
from matrixd.services.remote_joins.states import State
from matrixd.services.room_head import RoomHeads
from matrixd.storage import (
    auth_edges,
    event_state,
    events,
    read_marks,
    remote_join_state,
    remote_joins,
    room_members,
    room_servers,
    room_state,
    rooms,
    stripped_state,
    timeline_breaks,
    timeline_gaps,
    users,
)
from matrixd.storage.database import Database
from matrixd.storage.event_state import EventState
from matrixd.storage.events import NewEvent
from matrixd.storage.read_marks import ReadMark
from matrixd.storage.remote_join_state import Place
from matrixd.storage.room_members import Member
from matrixd.storage.rows import EventRow, MembershipChange, StateMove
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

#: Places of the state that one commit fills.
MAX_AT_ONCE = 2_000


class AlreadyInRoom(Exception):
    """A user of this server is in the room: there is nothing to import."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is to be imported; the state is in `remote_join_state`."""

    #: The join, as the room has it.
    join: Event
    #: Not all members are in the state.
    members_omitted: bool
    #: The servers that are in the room, as far as the other server said.
    servers: Sequence[str]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it."""

    row: EventRow
    is_partial: bool
    #: Users of this server who have left, declined an invite, or taken a knock back, of which the room does not know.
    gone: Sequence[str]


class RoomImport:
    """Imports rooms."""

    def __init__(
        self, database: Database, heads: RoomHeads, clock: Clock, is_local: Callable[[str], bool]
    ) -> None:
        self._database = database
        self._heads = heads
        self._clock = clock
        self._is_local = is_local

    async def run(self, snapshot: Snapshot) -> Imported:
        """Put the user into the room. Raises AlreadyInRoom if a user of this server is in it by now."""
        room_id = snapshot.join.room_id
        async with self._heads.exclusive(room_id):
            imported = await self._database.write(_import, snapshot, self._is_local, self._clock.now_ms())
            self._heads.forget(room_id)
        return imported


def _import(
    tx: Transaction, snapshot: Snapshot, is_local: Callable[[str], bool], now_ms: int
) -> Imported:
    return _Import(tx, snapshot, is_local, now_ms).run()


class _Import:
    """The commit."""

    def __init__(
        self, tx: Transaction, snapshot: Snapshot, is_local: Callable[[str], bool], now_ms: int
    ) -> None:
        self._tx = tx
        self._snapshot = snapshot
        self._is_local = is_local
        self._now_ms = now_ms
        self._join = snapshot.join
        room = rooms.by_id(tx, snapshot.join.room_id)
        assert room is not None, "the answer's events are stored"
        self._room = room
        self._room_nid = room.room_nid
        assert self._join.state_key is not None, "a membership is state"
        self._user_nid = users.nid(tx, self._join.state_key)
        self._key_nid = room_state.key_nids(tx, [self._join.key])[self._join.key]

    def run(self) -> Imported:
        """Do all of it."""
        tx, room_nid = self._tx, self._room_nid
        if room_members.local_joined(tx, room_nid):
            raise AlreadyInRoom
        places, is_partial = self._places()
        held = {place.key_nid: place.event_nid for place in places}
        stored = events.by_nids(tx, held.values())
        before = room_members.one(tx, room_nid, self._user_nid)
        replaced = room_state.of_keys(tx, room_nid, [self._join.key]).get(self._join.key)
        if replaced is None and self._key_nid in held:
            replaced = stored[held[self._key_nid]]
        pos, event_nid = tx.next_id("events"), self._join_nid()
        self._move_state(pos, {**held, self._key_nid: event_nid}, is_partial)
        self._place_join(pos, event_nid, held.get(self._key_nid))
        others = [item for item in stored.values() if item.key_nid != self._key_nid]
        gone = self._store_members(pos, event_nid, others)
        counts = self._store_servers(others)
        self._move_end(pos, counts, is_partial)
        remote_join_state.remove(tx, room_nid, held.keys())
        state = State.FILLING if is_partial else State.COMPLETE
        remote_joins.move(tx, self._room.room_id, state.value, self._now_ms)
        change = MembershipChange(
            self._join.key[1], self._user_nid, "join", before.membership if before is not None else "leave", True
        )
        row = self._row(pos, event_nid, replaced, change, counts, self._moves(others))
        tx.announce(row)
        return Imported(row, is_partial, gone)

    def _places(self) -> tuple[list[Place], bool]:
        """What of the state is imported now, and whether something is left for later."""
        tx, room_nid = self._tx, self._room_nid
        if remote_join_state.count(tx, room_nid) <= MAX_AT_ONCE:
            return remote_join_state.first(tx, room_nid, MAX_AT_ONCE), self._snapshot.members_omitted
        return [
            *remote_join_state.without_members(tx, room_nid),
            *remote_join_state.of_keys(tx, room_nid, [self._key_nid]),
        ], True

    def _join_nid(self) -> int:
        known = events.nids(self._tx, [self._join.event_id]).get(self._join.event_id)
        return self._tx.next_id("event_nids") if known is None else known

    def _move_state(self, pos: int, held: Mapping[int, int], is_partial: bool) -> None:
        """End what held the places during an earlier stay, and let `held` hold them from a position on.

        Of a state that is not whole nothing can be said about the users of this server that it does not have.
        """
        tx, room_nid = self._tx, self._room_nid
        before = room_state.current_nids(tx, room_nid)
        kept = room_state.current_local_members(tx, room_nid) if is_partial and before else set()
        same = {key_nid for key_nid, nid in before.items() if held.get(key_nid) == nid}
        ended = before.keys() - same - (kept - held.keys())
        begun = held.keys() - same
        room_state.end(tx, room_nid, pos, ended)
        room_state.insert(tx, room_nid, [room_state.Span(key, pos, None, held[key]) for key in begun])
        moved = (ended | begun) - {self._key_nid}
        event_state.note_moves(tx, [(room_nid, pos, key_nid) for key_nid in sorted(moved)])

    def _place_join(self, pos: int, event_nid: int, own_before: int | None) -> None:
        """Store the event: the state before it is the timeline's own from its position on, but for its own place."""
        tx = self._tx
        state = EventState(self._room_nid, pos, {self._key_nid: own_before})
        new = NewEvent(
            event_nid, self._room_nid, pos, self._user_nid, self._key_nid, self._room.unread, None, self._join,
            event_state.store(tx, state),
        )
        if events.nids(tx, [self._join.event_id]):
            events.place(tx, new)
        else:
            events.insert(tx, [new])
        named = events.nids_and_types(tx, self._join.auth_events)
        auth_edges.insert(
            tx, [(nid, event_nid) for nid, event_type in named.values() if event_type != "m.room.create"]
        )
        known = events.by_ids(tx, self._join.prev_events)
        missing = [
            event_id
            for event_id in self._join.prev_events
            if event_id not in known or known[event_id].is_outlier or known[event_id].room_nid != self._room_nid
        ]
        timeline_gaps.open_all(tx, [(self._room_nid, event_id, event_nid) for event_id in missing], self._now_ms)
        timeline_breaks.insert(tx, [(self._room_nid, pos)])
        read_marks.advance(
            tx, [ReadMark(self._user_nid, self._room_nid, read_marks.UNTHREADED, pos, self._room.unread)]
        )

    def _store_members(self, pos: int, event_nid: int, state: Collection[StoredEvent]) -> list[str]:
        """Store who is in the room; those of this server who have left it, of which the room does not know.

        What an earlier stay has left of other servers' users is dropped: nobody has kept it up to date.
        """
        tx, room_nid = self._tx, self._room_nid
        room_members.remove_remote(tx, room_nid)
        members = [item for item in state if item.event.type == "m.room.member"]
        user_nids = users.nids(tx, (item.event.key[1] for item in members))
        local = {member.user_nid: member for member in room_members.local_of_room(tx, room_nid)}
        rows, gone = [], []
        for item in members:
            user_id, membership = item.event.key[1], item.event.membership or "leave"
            user_nid = user_nids[user_id]
            known = local.get(user_nid)
            if known is not None and known.event_nid == item.event_nid:
                continue
            if known is not None and is_gone(tx, room_nid, user_nid, membership):
                gone.append(user_id)
                continue
            is_local = self._is_local(user_id)
            rows.append(Member(user_nid, room_nid, membership, item.event_nid, pos, item.sender_nid, is_local))
        rows.append(Member(self._user_nid, room_nid, "join", event_nid, pos, self._user_nid, True))
        room_members.set_many(tx, rows)
        stripped_state.remove(tx, room_nid, [self._user_nid])
        return gone

    def _store_servers(self, state: Collection[StoredEvent]) -> tuple[int, int]:
        """Store which servers are in the room; how many users have joined, and how many are invited.

        Of a server that is said to be in the room one member is assumed at least.
        """
        joined = [item.event.key[1] for item in state if item.event.membership == "join"]
        servers = Counter(domain_of(user_id) for user_id in joined if not self._is_local(user_id))
        known = sum(servers.values())
        for server in self._snapshot.servers if self._snapshot.members_omitted else ():
            if server != domain_of(self._join.sender):
                servers.setdefault(server, 1)
        room_servers.replace(self._tx, self._room_nid, servers)
        invited = sum(item.event.membership == "invite" for item in state)
        return 1 + len(joined) + sum(servers.values()) - known, invited

    def _move_end(self, pos: int, counts: tuple[int, int], is_partial: bool) -> None:
        end = rooms.RoomEnd((self._join.event_id,), self._join.depth, pos, pos, self._room.unread, *counts)
        rooms.move_end(self._tx, self._room_nid, self._room.last_pos, end)
        rooms.set_completeness(self._tx, self._room_nid, "partial" if is_partial else "full")

    def _moves(self, state: Collection[StoredEvent]) -> tuple[StateMove, ...]:
        """What those have to hear who keep something of the room's state, from an earlier stay; not the members."""
        return tuple(
            StateMove(item.event.key, item.event, item.event_nid, item.sender_nid, None)
            for item in state
            if item.event.type != "m.room.member"
        )

    def _row(
        self,
        pos: int,
        event_nid: int,
        replaced: StoredEvent | None,
        change: MembershipChange,
        counts: tuple[int, int],
        moves: tuple[StateMove, ...],
    ) -> EventRow:
        return EventRow(
            pos=pos,
            event_nid=event_nid,
            room_nid=self._room_nid,
            event=self._join,
            sender_nid=self._user_nid,
            unread=self._room.unread,
            notifies=False,
            replaces=replaced.event if replaced is not None else None,
            member=change,
            device_nid=None,
            txn_id=None,
            thread_id=None,
            push_deltas=(),
            redacted=None,
            joined_count=counts[0],
            invited_count=counts[1],
            follows_break=True,
            moves=moves,
            is_given_on=True,
        )


def is_gone(tx: Transaction, room_nid: int, user_nid: int, membership: str) -> bool:
    """Whether a user of this server has left, although the room still has the user with a membership.

    The others may not have heard of it, when no server of theirs could be reached then. Nobody of this server joins
    without this server's doing; invites, on the other hand, may have been missed.
    """
    known = room_members.one(tx, room_nid, user_nid)
    if known is None:
        return False
    if membership == "join":
        return known.membership != "join"
    if known.membership != "leave" or membership not in ("invite", "knock"):
        return False
    stored = events.by_nids(tx, [known.event_nid])[known.event_nid]
    return stored.event.sender == stored.event.state_key and stored.verdict == stripped_state.OUT_OF_BAND
