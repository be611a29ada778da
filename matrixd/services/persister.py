"""The persister: everything that waits is written in one transaction, all rooms together.

What is submitted together is one unit, of one room or of several: it is stored whole or not at all. Units of one room
are stored in the order of their submission. A batch that fails is halved until the unit at fault stands alone; what was
built on that unit's rooms fails with `RoomMoved`, and its builder builds it again. So does what was built on an end
that is not the stored room's: when the database goes away during a commit, a head may be read before it is known
whether the commit was made.
"""

import itertools
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from matrixd.core.event import Event
from matrixd.services.room_head import RoomHead
from matrixd.storage import (
    auth_edges,
    event_relations,
    event_state,
    events,
    outgoing_events,
    push_deltas,
    read_marks,
    redactions,
    room_members,
    room_servers,
    room_state,
    rooms,
    stripped_state,
    timeline_breaks,
    timeline_gaps,
    transactions,
    users,
)
from matrixd.storage.database import Database
from matrixd.storage.engines.base import Unavailable
from matrixd.storage.event_state import EventState
from matrixd.storage.rows import EventRow, MembershipChange, StateMove
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

#: Events in one commit.
MAX_BATCH = 500
#: Units that may wait; beyond it the sender is told to come back later.
MAX_WAITING = 5_000
#: Types of state that most events name in their auth_events: their numbers are remembered.
_COMMON_AUTH_TYPES = frozenset(("m.room.create", "m.room.power_levels", "m.room.join_rules"))


class RoomMoved(Exception):
    """What the event was built on was not stored: build it again."""


class NotForeseen(Exception):
    """An event of another server is stored already, or was redacted before it came: it has to be looked at."""


class DuplicateTransaction(Exception):
    """The device has used the transaction ID already."""

    def __init__(self, event_id: str) -> None:
        super().__init__(event_id)
        self.event_id = event_id


@dataclass(frozen=True, slots=True)
class Membership:
    """What an m.room.member event does to its state key."""

    user_id: str
    membership: str
    before: str
    is_local: bool


@dataclass(frozen=True, slots=True)
class PendingRedaction:
    """The target of a redaction that takes effect, if it is stored."""

    target_nid: int
    redacted: Event


@dataclass(frozen=True, slots=True)
class PendingMove:
    """A place in the current state that changes with an event, other than by it."""

    key: tuple[str, str]
    #: None: nothing holds the place any more.
    event: Event | None
    event_nid: int | None
    membership: Membership | None


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event on its way, with all that its commit writes."""

    event: Event
    end: rooms.RoomEnd
    bumps: bool
    notifies: bool
    replaces: Event | None = None
    membership: Membership | None = None
    #: (user ID, notify delta, highlight) where it differs from the default outcome of the push rules
    push_deltas: tuple[tuple[str, int, int], ...] = ()
    rel_type: str | None = None
    parent_id: str | None = None
    redaction: PendingRedaction | None = None
    device_nid: int | None = None
    txn_id: str | None = None
    #: The sender is a user of this server.
    is_from_here: bool = False
    #: The number of the event, if it is stored already, by itself.
    stored_nid: int | None = None
    #: The state before it; None: the timeline's own.
    state: EventState | None = None
    #: False: a state event that does not become the current state.
    is_current: bool = True
    moves: tuple[PendingMove, ...] = ()
    #: The number of the redaction that pruned it before it came.
    redacted_by: int | None = None
    #: What comes before it in the room was not here when it came, and is no part of the timeline.
    follows_break: bool = False
    #: The event is of another server, and we give it to the others.
    sends_on: bool = False
    #: It cannot be stored already, nor be redacted.
    was_looked_for: bool = True

    @property
    def thread_id(self) -> str | None:
        """The root of the thread that the event is in."""
        return self.parent_id if self.rel_type == "m.thread" else None


#: What is to be stored in the same transaction as a unit's events, after them.
Also = Callable[[Transaction], None]


@dataclass(slots=True, eq=False)
class _Unit:
    heads: Sequence[RoomHead]
    pending: Sequence[PendingEvent]
    also: Also | None
    stored: "Deferred[list[EventRow]]" = field(default_factory=Deferred)

    @property
    def is_broken(self) -> bool:
        return any(head.broken for head in self.heads)

    def succeed(self, rows: list[EventRow]) -> None:
        newest = {row.event.room_id: row.pos for row in rows}
        for head in self.heads:
            head.stored_pos = newest.get(head.room_id, head.stored_pos)
            head.landed()
        self.stored.callback(rows)

    def fail(self, error: Exception) -> None:
        """The heads are ahead of what is stored: nothing more may be built on them."""
        for head in self.heads:
            head.broken = True
            head.landed()
        self.stored.errback(error)


class Persister:
    """Writes events, one commit after the other."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: deque[_Unit] = deque()
        self._writing = False

    def submit(
        self, heads: Sequence[RoomHead], pending: Sequence[PendingEvent], also: Also | None = None
    ) -> "Deferred[list[EventRow]]":
        """Store events of some rooms as a unit; fires with their rows when they are durable and announced.

        Fails with `RoomMoved`, `DuplicateTransaction`, `Unavailable`, or what `also` raises.
        """
        unit = _Unit(heads, pending, also)
        for head in heads:
            head.in_flight += 1
        self._waiting.append(unit)
        if not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write_all())
        return unit.stored

    @property
    def waiting(self) -> int:
        """How many units wait to be stored."""
        return len(self._waiting)

    def check_capacity(self) -> None:
        """Raise `Unavailable` if too much waits; to be asked before a head is advanced."""
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many events wait to be stored")

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await self._write(self._take())
        finally:
            self._writing = False

    def _take(self) -> list[_Unit]:
        batch = [self._waiting.popleft()]
        size = len(batch[0].pending)
        while self._waiting and size + len(self._waiting[0].pending) <= MAX_BATCH:
            size += len(self._waiting[0].pending)
            batch.append(self._waiting.popleft())
        return batch

    def _take_all(self) -> list[_Unit]:
        batch = list(self._waiting)
        self._waiting.clear()
        return batch

    async def _write(self, batch: list[_Unit]) -> None:
        """Store a batch. When the database stays away, what waits behind it has waited as well, and fails with it."""
        try:
            await self._write_alive(batch)
        except Unavailable as error:
            for unit in [*batch, *self._take_all()]:
                if not unit.stored.called:
                    unit.fail(error)

    async def _write_alive(self, batch: list[_Unit]) -> None:
        alive = []
        for unit in batch:
            if unit.is_broken:
                unit.fail(RoomMoved())
            else:
                alive.append(unit)
        if not alive:
            return
        try:
            work = [(unit.pending, unit.also) for unit in alive]
            ends = {head.room_id: head.stored_pos for unit in alive for head in unit.heads}
            stored = await self._database.write(_store, work, ends, self._clock.now_ms())
        except Unavailable:
            raise
        except Exception as error:  # whatever is wrong with one unit, its sender gets it
            if len(alive) == 1:
                alive[0].fail(error)
                return
            middle = len(alive) // 2
            await self._write_alive(alive[:middle])
            await self._write_alive(alive[middle:])
        else:
            for unit, rows in zip(alive, stored, strict=True):
                unit.succeed(rows)


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A pending event with its numbers."""

    pending: PendingEvent
    room_nid: int
    event_nid: int
    pos: int
    sender_nid: int
    key_nid: int | None
    #: (number of the key, move)
    moves: tuple[tuple[int, PendingMove], ...]


def _store(
    tx: Transaction,
    units: Sequence[tuple[Sequence[PendingEvent], Also | None]],
    ends: Mapping[str, int],
    now_ms: int,
) -> list[list[EventRow]]:
    pending = list(itertools.chain.from_iterable(events_of_unit for events_of_unit, _ in units))
    _refuse_duplicates(tx, pending)
    _refuse_unforeseen(tx, pending)
    numbered = _number(tx, pending)
    events.insert(tx, [_new_event(tx, n) for n in numbered if n.pending.stored_nid is None])
    for n in numbered:
        if n.pending.stored_nid is not None:
            events.place(tx, _new_event(tx, n))
    _store_state(tx, numbered)
    _store_auth_edges(tx, numbered)
    timeline_gaps.settle(tx, [n.event_nid for n in numbered if n.pending.stored_nid is not None])
    timeline_breaks.insert(tx, [(n.room_nid, n.pos) for n in numbered if n.pending.follows_break])
    user_nids = _store_members(tx, numbered)
    _store_relations(tx, numbered)
    _store_push_deltas(tx, numbered, user_nids)
    _store_read_marks(tx, numbered)
    _apply_redactions(tx, numbered)
    transactions.insert(
        tx,
        [
            (n.pending.device_nid, n.pending.txn_id, n.event_nid, now_ms)
            for n in numbered
            if n.pending.device_nid is not None and n.pending.txn_id is not None
        ],
    )
    _move_ends(tx, numbered, ends)
    outgoing_events.note_sent_on(tx, [n.pos for n in numbered if n.pending.sends_on])
    for _, also in units:
        if also is not None:
            also(tx)
    rows = [_row(n, user_nids) for n in numbered]
    for row in rows:
        tx.announce(row)
    following = iter(rows)
    return [list(itertools.islice(following, len(events_of_unit))) for events_of_unit, _ in units]


def _refuse_duplicates(tx: Transaction, pending: Sequence[PendingEvent]) -> None:
    """With one unit alone its duplicate can be told; in a batch the insert fails, and the batch is halved."""
    if len(pending) == 1 and pending[0].device_nid is not None and pending[0].txn_id is not None:
        known = transactions.event_id(tx, pending[0].device_nid, pending[0].txn_id)
        if known is not None:
            raise DuplicateTransaction(known)


def _refuse_unforeseen(tx: Transaction, pending: Sequence[PendingEvent]) -> None:
    event_ids = [p.event.event_id for p in pending if not p.was_looked_for]
    if event_ids and (events.nids(tx, event_ids) or redactions.targets(tx, event_ids)):
        raise NotForeseen


def _number(tx: Transaction, pending: Sequence[PendingEvent]) -> list[_Numbered]:
    senders = users.nids(tx, (p.event.sender for p in pending))
    keys = room_state.key_nids(
        tx, (*(p.event.key for p in pending if p.event.is_state), *(move.key for p in pending for move in p.moves))
    )
    event_nids = iter(range(tx.next_id("event_nids", len(pending)), sys.maxsize))
    pos = tx.next_id("events", len(pending))
    numbered = []
    for offset, p in enumerate(pending):
        room_nid = rooms.nid(tx, p.event.room_id)
        if room_nid is None:
            room_nid = rooms.create(tx, p.event.room_id, p.event.version.identifier)
        key_nid = keys[p.event.key] if p.event.is_state else None
        moves = tuple((keys[move.key], move) for move in p.moves)
        event_nid = next(event_nids) if p.stored_nid is None else p.stored_nid
        numbered.append(
            _Numbered(p, room_nid, event_nid, pos + offset, senders[p.event.sender], key_nid, moves)
        )
    return numbered


def _new_event(tx: Transaction, n: _Numbered) -> events.NewEvent:
    p = n.pending
    state_nid = None if p.state is None else event_state.store(tx, p.state)
    return events.NewEvent(
        n.event_nid, n.room_nid, n.pos, n.sender_nid, n.key_nid, p.end.unread, None, p.event, state_nid, p.redacted_by
    )


def _store_state(tx: Transaction, numbered: Sequence[_Numbered]) -> None:
    changes = []
    for n in numbered:
        if n.key_nid is not None and n.pending.is_current:
            replaces = n.pending.replaces is not None
            changes.append(room_state.StateChange(n.room_nid, n.key_nid, n.pos, n.event_nid, replaces))
        for key_nid, move in n.moves:
            changes.append(room_state.StateChange(n.room_nid, key_nid, n.pos, move.event_nid, replaces=True))
    room_state.apply(tx, changes)
    event_state.note_moves(tx, [(n.room_nid, n.pos, key_nid) for n in numbered for key_nid, _ in n.moves])


def _store_auth_edges(tx: Transaction, numbered: Sequence[_Numbered]) -> None:
    """Note which state names which; m.room.create, which all name, is left out, and remembered as 0."""
    naming = [n for n in numbered if n.key_nid is not None]
    if not naming:
        return
    known = {n.pending.event.event_id: 0 if n.pending.event.type == "m.room.create" else n.event_nid for n in naming}
    for n in naming:
        event = n.pending.event
        if event.type in _COMMON_AUTH_TYPES:
            tx.learn(("event_nids", event.event_id), known[event.event_id])
        for auth_id in event.auth_events:
            number = tx.recall(("event_nids", auth_id))
            if number is not None:
                known[auth_id] = number
    missing = {auth_id for n in naming for auth_id in n.pending.event.auth_events if auth_id not in known}
    for auth_id, (event_nid, event_type) in events.nids_and_types(tx, missing).items():
        known[auth_id] = 0 if event_type == "m.room.create" else event_nid
        if event_type in _COMMON_AUTH_TYPES:
            tx.learn(("event_nids", auth_id), known[auth_id])
    auth_edges.insert(
        tx,
        [
            (known[auth_id], n.event_nid)
            for n in naming
            for auth_id in dict.fromkeys(n.pending.event.auth_events)
            if known.get(auth_id)
        ],
    )


def _store_members(tx: Transaction, numbered: Sequence[_Numbered]) -> dict[str, int]:
    """Store memberships; the numbers of all users whom the events concern."""
    changes = [(n, None, n.pending.membership) for n in numbered if n.pending.membership is not None] + [
        (n, move, move.membership) for n in numbered for _, move in n.moves if move.membership is not None
    ]
    concerned = [m.user_id for _, _, m in changes]
    concerned += [move.event.sender for _, move, _ in changes if move is not None and move.event is not None]
    concerned += [user_id for n in numbered for user_id, _, _ in n.pending.push_deltas]
    user_nids = users.nids(tx, concerned) if concerned else {}
    members, servers = [], Counter[tuple[int, str]]()
    for n, move, m in sorted(changes, key=lambda change: change[0].pos):
        event_nid, sender_nid = n.event_nid, n.sender_nid
        if move is not None and move.event is not None and move.event_nid is not None:
            event_nid, sender_nid = move.event_nid, user_nids[move.event.sender]
        user_nid = user_nids[m.user_id]
        members.append(
            room_members.Member(user_nid, n.room_nid, m.membership, event_nid, n.pos, sender_nid, m.is_local)
        )
        if m.is_local:
            _forget_of_member(tx, n.room_nid, user_nid, m)
        else:
            servers[n.room_nid, m.user_id.partition(":")[2]] += (m.membership == "join") - (m.before == "join")
    room_members.set_many(tx, members)
    room_servers.change(tx, servers)
    return user_nids


def _forget_of_member(tx: Transaction, room_nid: int, user_nid: int, m: Membership) -> None:
    """Delete what is kept only for those who have the membership that ends."""
    if m.before == "join" and m.membership != "join":
        push_deltas.remove_member(tx, room_nid, user_nid)
        read_marks.remove_member(tx, room_nid, user_nid)
    elif m.before in ("invite", "knock"):
        stripped_state.remove(tx, room_nid, [user_nid])


def _store_relations(tx: Transaction, numbered: Sequence[_Numbered]) -> None:
    event_relations.insert(
        tx,
        [
            event_relations.Relation(
                n.event_nid, n.room_nid, n.pending.parent_id, n.pending.rel_type, n.pending.event.type, n.sender_nid,
                n.pending.notifies, n.pos,
            )
            for n in numbered
            if n.pending.rel_type is not None and n.pending.parent_id is not None
        ],
    )


def _store_push_deltas(tx: Transaction, numbered: Sequence[_Numbered], user_nids: dict[str, int]) -> None:
    push_deltas.insert(
        tx,
        [
            push_deltas.PushDelta(
                user_nids[user_id], n.room_nid, n.pos, n.pending.thread_id or "", notify, highlight
            )
            for n in numbered
            for user_id, notify, highlight in n.pending.push_deltas
        ],
    )


def _store_read_marks(tx: Transaction, numbered: Sequence[_Numbered]) -> None:
    """Who sends has read: client-server API, "Marking notifications as read"."""
    marks = []
    for n in numbered:
        if n.pending.is_from_here:
            m = n.pending.membership
            thread_id = read_marks.thread_read_by_sending(
                n.pending.thread_id, None if m is None else (m.before, m.membership)
            )
            if thread_id is not None:
                marks.append(read_marks.ReadMark(n.sender_nid, n.room_nid, thread_id, n.pos, n.pending.end.unread))
    read_marks.advance(tx, marks)


def _apply_redactions(tx: Transaction, numbered: Sequence[_Numbered]) -> None:
    for n in numbered:
        if n.pending.event.redacts is None:
            continue
        redactions.insert(tx, n.event_nid, n.pending.event.redacts)
        if n.pending.redaction is not None:
            events.prune(tx, n.pending.redaction.target_nid, n.pending.redaction.redacted, n.event_nid)
            event_relations.remove(tx, n.pending.redaction.target_nid)


def _move_ends(tx: Transaction, numbered: Sequence[_Numbered], ends: Mapping[str, int]) -> None:
    newest: dict[int, _Numbered] = {}
    bumps: dict[int, int] = {}
    for n in numbered:
        newest[n.room_nid] = n
        if n.pending.bumps:
            bumps[n.room_nid] = n.pos
    for room_nid, n in newest.items():
        end = n.pending.end
        moved = rooms.move_end(
            tx,
            room_nid,
            ends[n.pending.event.room_id],
            rooms.RoomEnd(
                end.extremities, end.depth, n.pos, bumps.get(room_nid), end.unread, end.joined_count, end.invited_count
            ),
        )
        if not moved:
            raise RoomMoved


def _row(n: _Numbered, user_nids: dict[str, int]) -> EventRow:
    p = n.pending
    return EventRow(
        pos=n.pos,
        event_nid=n.event_nid,
        room_nid=n.room_nid,
        event=p.event,
        sender_nid=n.sender_nid,
        unread=p.end.unread,
        notifies=p.notifies,
        replaces=p.replaces,
        member=_change(p.membership, user_nids),
        device_nid=p.device_nid,
        txn_id=p.txn_id,
        thread_id=p.thread_id,
        push_deltas=tuple((user_nids[user_id], notify, highlight) for user_id, notify, highlight in p.push_deltas),
        redacted=p.redaction.redacted if p.redaction is not None else None,
        joined_count=p.end.joined_count,
        invited_count=p.end.invited_count,
        moves=tuple(_moved(move, user_nids) for move in p.moves),
        is_current=p.is_current,
        sends_on=p.sends_on,
        follows_break=p.follows_break,
    )


def _moved(move: PendingMove, user_nids: Mapping[str, int]) -> StateMove:
    sender_nid = None if move.event is None or move.membership is None else user_nids[move.event.sender]
    return StateMove(move.key, move.event, move.event_nid, sender_nid, _change(move.membership, user_nids))


def _change(m: Membership | None, user_nids: Mapping[str, int]) -> MembershipChange | None:
    if m is None:
        return None
    return MembershipChange(m.user_id, user_nids[m.user_id], m.membership, m.before, m.is_local)
