"""Gives an event of another server its place in the room.

Nearly every event follows the room's newest end, and is authorised by the current state: it takes the room's lane like
one of our own, without a look at the database. All others are decided about in one read, while nobody else builds on
the room.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred

from matrixd.core.auth import EventForbidden, check_state_dependent
from matrixd.core.auth.plan import auth_types_for_event, state_for_check
from matrixd.core.event import Event
from matrixd.core.relations import THREAD
from matrixd.queries.state_resolution import Inputs, Outcome, Remembered
from matrixd.services.event_effects import Audience, EventEffects, bumps, relation
from matrixd.services.persister import PendingEvent, PendingMove, Persister, RoomMoved
from matrixd.services.policy_servers import PolicyServers
from matrixd.services.receiving import stored_apart
from matrixd.services.receiving.auth_events import check_by_auth_events
from matrixd.services.receiving.decision import MAX_EXTREMITIES, Acceptance, Apartness, Known, Move, decide
from matrixd.services.receiving.ended_extremities import EndedExtremities
from matrixd.services.receiving.stored_apart import Apart
from matrixd.services.room_head import RoomHead, RoomHeads, UnknownRoom
from matrixd.storage import event_state, events, redactions, rooms, timeline_gaps
from matrixd.storage.database import Database
from matrixd.storage.event_state import EventState
from matrixd.storage.room_state import StateKey
from matrixd.storage.rows import EventRow
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget

logger = logging.getLogger(__name__)

#: Outcomes of state resolution that are remembered of a room, and what one takes at least.
_REMEMBERED = 20
_OUTCOME_BYTES = 500
_POWER_LEVELS = ("m.room.power_levels", "")


class NotInRoom(Exception):
    """This server takes no part in the room."""


@dataclass(frozen=True, slots=True)
class Received:
    """An event whose format, hash and signatures were checked."""

    event: Event
    signed_by: frozenset[str]
    #: The server that sent it, or that asked for it.
    origin: str
    #: We give it to the other servers of the room: it was made with our help.
    sends_on: bool = False
    #: By the room's policy server, if it has one.
    is_recommended: bool = True


@dataclass(frozen=True, slots=True)
class Placed:
    """What has become of an event. `verdict`: None (accepted), 'rejected' or 'soft_failed', with the reason."""

    verdict: str | None = None
    reason: str = ""
    row: EventRow | None = None


class Placing:
    """Places events, each once its prev_events and auth_events are here."""

    def __init__(
        self,
        database: Database,
        heads: RoomHeads,
        persister: Persister,
        effects: EventEffects,
        policies: PolicyServers,
        budget: CacheBudget,
    ) -> None:
        self._database = database
        self._heads = heads
        self._persister = persister
        self._effects = effects
        self._policies = policies
        self._ended = EndedExtremities(database, heads)
        self._resolved = budget.cache("resolved_states", str, dict[Inputs, Outcome])

    async def follow(self, received: Received) -> "Deferred[list[EventRow]] | None":
        """Put an event at the end of the room's timeline, if it follows that, is authorised by what is current, and is
        nothing out of the ordinary. What it returns fires when the event is stored, or fails (`RoomMoved`,
        `NotForeseen`). None: `place` has to look.
        """
        event = received.event
        if event.redacts is not None or event.type == "m.room.create" or self._heads.turns.is_taken(event.room_id):
            return None
        try:
            head = await self._heads.get(event.room_id)
        except UnknownRoom:
            raise NotInRoom(event.room_id) from None
        if not head.is_resident:
            raise NotInRoom(event.room_id)
        policy = self._policies.of(head)
        if head.is_partial or _ends_with(head, event) is None or (policy is not None and not policy.recommends(event)):
            return None
        self._heads.hold(head)
        try:
            return await self._follow(head, received)
        finally:
            self._heads.release(head)

    async def _follow(self, head: RoomHead, received: Received) -> "Deferred[list[EventRow]] | None":
        event = received.event
        keys = state_for_check(event.version, event.type, event.sender, event.state_key, event.content)
        loaded = {*keys, ("m.room.member", event.sender), _POWER_LEVELS, *([event.key] if event.is_state else ())}
        if await self._heads.get(event.room_id, loaded) is not head:
            return None
        audience = await self._audience(head, event)
        # From here on nothing waits.
        if head.broken or head.missing(loaded) or self._heads.turns.is_taken(event.room_id):
            return None
        ends = _ends_with(head, event)
        if ends is None or not _is_allowed(head, event, keys, received.signed_by):
            return None
        self._persister.check_capacity()
        changes = {event.key: event} if event.is_state else {}
        pending = self._advance(head, received, event, audience, ends, changes, ())
        return self._persister.submit([head], [pending])

    async def checked_by_policy(self, received: Received) -> Received:
        """The same with what the room's policy server says of it."""
        try:
            head = await self._heads.get(received.event.room_id)
        except UnknownRoom:
            raise NotInRoom(received.event.room_id) from None
        policy = self._policies.of(head)
        if policy is None:
            return received
        event, is_recommended = await self._policies.checked(policy, received.event)
        return replace(received, event=event, is_recommended=is_recommended)

    async def place(self, received: Received) -> Placed:
        """Decide about an event and store it.

        Raises `NotInRoom`, and of `decision`: `PrevEventsMissing` and `AuthEventsUnknown`.
        """
        event = received.event
        async with self._heads.exclusive(event.room_id) as head:
            if head is None or not head.is_resident:
                raise NotInRoom(event.room_id)
            if event.is_state:
                await self._database.write(_store_outlier, event)
            remembered = Remembered(self._resolved.get(event.room_id) or {})
            try:
                found = await self._database.read(_decide, received, remembered)
            except Known as known:
                return Placed(known.verdict)
            self._remember(event.room_id, remembered)
            if isinstance(found, Apartness):
                return await self._store_apart(received, found)
            placed = await self._accept(head, received, found)
            if found.pruned_by is not None:
                await self._release(head, found.pruned_by)
            return placed

    async def _release(self, head: RoomHead, redaction_nid: int) -> None:
        """A redaction that has waited for its event has taken effect: clients are told of it now.

        https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
        """
        waiting = await self._database.read(_waiting, redaction_nid)
        if waiting is None:
            return
        event, before = waiting
        if await self._heads.get(event.room_id, [("m.room.member", event.sender), _POWER_LEVELS]) is not head:
            raise RoomMoved
        audience = await self._audience(head, event)
        found = Acceptance(before, head.extremities, False, (), redaction_nid, None, None, False)
        received = Received(event, frozenset(), event.sender_domain)
        pending = self._advance(head, received, event, audience, head.extremities, {}, (), found)
        await self._persister.submit([head], [pending])

    async def _store_apart(self, received: Received, found: Apartness) -> Placed:
        event = received.event
        if found.verdict is not None:
            logger.info("%s of %s is %s: %s", event.event_id, received.origin, found.verdict, found.reason)
        await self._database.write(_store_apart, event, found)
        if found.verdict is None:
            await self._ended.drop(event.room_id, event.prev_events)
        return Placed(found.verdict, found.reason)

    async def _accept(self, head: RoomHead, received: Received, found: Acceptance) -> Placed:
        event = received.event if found.pruned_by is None else received.event.redacted()
        moved = {move.key: move.event for move in found.moves}
        keys = {*moved, ("m.room.member", event.sender), _POWER_LEVELS, *([event.key] if event.is_state else ())}
        if await self._heads.get(event.room_id, keys) is not head:
            raise RoomMoved
        audience = await self._audience(head, event)
        if head.missing(keys):
            # Others who read the head may have made it forget.
            raise RoomMoved
        changes = {**moved, event.key: event} if event.is_state and found.is_current else moved
        pending = self._advance(head, received, event, audience, found.extremities, changes, found.moves, found)
        rows = await self._persister.submit([head], [pending])
        return Placed(row=rows[0])

    async def _audience(self, head: RoomHead, event: Event) -> Audience:
        invited = [event.state_key] if event.membership == "invite" else []
        return await self._effects.audience(head, event.sender, invited)

    def _advance(
        self,
        head: RoomHead,
        received: Received,
        event: Event,
        audience: Audience,
        extremities: tuple[Event, ...],
        changes: Mapping[StateKey, Event | None],
        moves: Collection[Move],
        found: Acceptance | None = None,
    ) -> PendingEvent:
        """Make an event the newest of the timeline: what it is to be stored with."""
        is_current = event.is_state and event.key in changes and changes[event.key] == event
        replaces = head.state(event.key) if is_current else None
        membership = self._effects.membership(head, event) if is_current else None
        pending_moves = tuple(self._pending_move(head, move) for move in moves)
        related = relation(event)
        notifies, deltas = self._effects.notify(head, event, audience)
        in_thread = related is not None and related.rel_type == THREAD
        is_fork = found is not None and found.before is not None
        head.advance_received(
            event, head.unread + (notifies and not in_thread), extremities, changes, is_fork=is_fork
        )
        if found is not None and found.redaction is not None:
            head.replace(found.redaction.redacted)
        return PendingEvent(
            event=event,
            end=rooms.RoomEnd(
                tuple(extremity.event_id for extremity in head.extremities), head.depth, 0, None, head.unread,
                head.joined_count, head.invited_count,
            ),
            bumps=bumps(event),
            notifies=notifies,
            replaces=replaces,
            membership=membership,
            push_deltas=deltas,
            rel_type=related.rel_type if related is not None else None,
            parent_id=related.event_id if related is not None else None,
            redaction=found.redaction if found is not None else None,
            is_from_here=False,
            stored_nid=found.stored_nid if found is not None else None,
            state=found.before if found is not None else None,
            is_current=is_current,
            moves=pending_moves,
            redacted_by=found.pruned_by if found is not None else None,
            sends_on=received.sends_on,
            was_looked_for=found is not None,
            follows_break=found is not None and found.follows_break,
        )

    def _pending_move(self, head: RoomHead, move: Move) -> PendingMove:
        membership = None
        if move.key[0] == "m.room.member":
            if move.event is None:
                membership = self._effects.left_out(head, move.key[1])
            else:
                membership = self._effects.membership(head, move.event)
        return PendingMove(move.key, move.event, move.event_nid, membership)

    def _remember(self, room_id: str, remembered: Remembered) -> None:
        if not remembered.learned:
            return
        outcomes = {**remembered.known, **remembered.learned}
        for inputs in list(outcomes)[:-_REMEMBERED]:
            del outcomes[inputs]
        size = sum(_OUTCOME_BYTES + 100 * len(outcome) for outcome in outcomes.values())
        self._resolved.put(room_id, outcomes, size)


def _ends_with(head: RoomHead, event: Event) -> tuple[Event, ...] | None:
    """The room's forward extremities with an event, if the state before it is sure to be the current one, and the
    current state after it to be that with the event; else None.

    So it is if the event refers to all that the room's newest end consists of, and to nothing else. And so it is for a
    message if all that it refers to, and all other ends, have the current state: servers that talk at the same time
    fork a room all the time, but not its state.
    """
    rest = tuple(end for end in head.extremities if end.event_id not in event.prev_events)
    if not rest and len(set(event.prev_events)) == len(head.extremities):
        return (event,)
    same = head.same_state
    if event.event_id in same:
        # It is here: to find that out when it is stored would break the head, and cost all who build on it.
        return None
    is_same = all(event_id in same for event_id in (*event.prev_events, *(end.event_id for end in rest)))
    if event.is_state or not is_same or not event.prev_events or len(rest) >= MAX_EXTREMITIES:
        return None
    return (*rest, event)


def _is_allowed(head: RoomHead, event: Event, keys: Collection[StateKey], signed_by: frozenset[str]) -> bool:
    """Whether an event is allowed by the current state, and by auth events that are part of it.

    False may also mean that it is not known here.
    """
    state = head.state_map(keys)
    known = {item.event_id: item for item in state.values()}
    if any(auth_id not in known for auth_id in event.auth_events):
        return False
    try:
        check_by_auth_events(event, known, signed_by, ())
        expected = auth_types_for_event(event.version, event.type, event.sender, event.state_key, event.content)
        if len(set(event.auth_events)) != len(expected & state.keys()):
            check_state_dependent(event, state)
    except EventForbidden:
        return False
    return True


def _decide(tx: Transaction, received: Received, remembered: Remembered) -> Apartness | Acceptance:
    room = rooms.by_id(tx, received.event.room_id)
    if room is None:
        raise NotInRoom(received.event.room_id)
    return decide(
        tx, room, received.event, received.signed_by, remembered, is_recommended=received.is_recommended
    )


def _waiting(tx: Transaction, redaction_nid: int) -> tuple[Event, EventState] | None:
    """A redaction that waits, with the state before it."""
    stored = events.by_nids(tx, [redaction_nid]).get(redaction_nid)
    before = None if stored is None else event_state.before(tx, stored)
    if stored is None or before is None or stored.verdict != redactions.WAITING:
        return None
    return stored.event, before


def _store_outlier(tx: Transaction, event: Event) -> None:
    room_nid = rooms.nid(tx, event.room_id)
    if room_nid is None:
        raise NotInRoom(event.room_id)
    stored_apart.store(tx, room_nid, [Apart(event)])


def _store_apart(tx: Transaction, event: Event, found: Apartness) -> None:
    pruned = event if found.pruned_by is None else event.redacted()
    is_history = found.verdict is None
    apart = Apart(pruned, found.verdict, found.before, is_history, found.pruned_by)
    nids = stored_apart.store(tx, found.room_nid, [apart])
    if is_history:
        timeline_gaps.close(tx, [event.event_id])
    if found.redaction is not None:
        events.prune(tx, found.redaction.target_nid, found.redaction.redacted, nids[event.event_id])
