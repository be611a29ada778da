"""The lane of a room: where its next event is built, authorised, signed, and handed to the persister.

Building on a head takes no `await`: from reading the head to advancing it nothing else runs, so the events of a room
stand in one line and parallel senders never fork it. Waiting for the commit happens behind the lane; the next event is
built meanwhile.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matrixd.core import canonical_json
from matrixd.core.auth import check_state_dependent, check_state_independent
from matrixd.core.auth.plan import auth_types_for_event, state_for_check
from matrixd.core.auth.redaction import redaction_applies
from matrixd.core.builder import build_event, next_depth
from matrixd.core.errors import EventTooLarge, InvalidEvent, MatrixError, RuleViolation
from matrixd.core.event import Event
from matrixd.core.policy_server import PolicyServer
from matrixd.core.power import PowerLevels
from matrixd.core.relations import THREAD
from matrixd.core.signing import SigningKey
from matrixd.core.versions import EventIdFormat, RoomVersion
from matrixd.services.event_effects import Audience, EventEffects, bumps, relation
from matrixd.services.persister import (
    Also,
    DuplicateTransaction,
    PendingEvent,
    PendingRedaction,
    Persister,
    RoomMoved,
)
from matrixd.services.policy_servers import PolicyServers
from matrixd.services.room_head import RoomHead, RoomHeads, UnknownRoom
from matrixd.storage import events, rooms, transactions
from matrixd.storage.database import Database
from matrixd.storage.engines.base import Unavailable
from matrixd.storage.room_state import StateKey
from matrixd.storage.rows import EventRow
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

#: How often an event is built again when what it was built on was not stored.
_MAX_BUILDS = 5
#: Events that an event of ours names as the ones before it (server-server API, "prev_events").
_MAX_PREV_EVENTS = 20


class Redacts(enum.Enum):
    """Whose events a redaction may be for. https://spec.matrix.org/v1.19/client-server-api/#redactions"""

    OWN = "own"
    #: One's own, and with the redact level everybody's.
    BY_LEVEL = "by_level"
    #: As before, and those of all users of this server.
    OF_OUR_USERS = "of_our_users"


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody of this server wants to say in a room.

    `txn_id` names the endpoint and the client's transaction ID (`core.transaction_ids`); with `device_nid` it makes a
    retry answer the same event.
    """

    sender: str
    type: str
    content: Mapping[str, Any]
    state_key: str | None = None
    redacts: str | None = None
    #: Milliseconds since the epoch; None: now.
    origin_server_ts: int | None = None
    device_nid: int | None = None
    txn_id: str | None = None
    may_redact: Redacts = Redacts.BY_LEVEL
    #: Asked right before the event is built, when nothing can come between any more; raises to refuse the event.
    #: It may look at the state that decides about the event, at that of its own type and state key, and at `reads`.
    check: "Callable[[RoomHead], None] | None" = None
    reads: tuple[StateKey, ...] = ()
    #: Left out of its unit when a rule forbids it, instead of failing it.
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that was sent. `row` is None when it was there already."""

    event_id: str
    row: EventRow | None


#: What is stored with a new room: takes the transaction and the room's ID.
AlsoOfRoom = Callable[[Transaction, str], None]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What building needs and cannot wait for."""

    audience: Audience
    redacted: Mapping[str, StoredEvent]


@dataclass(frozen=True, slots=True)
class _Part:
    """What a unit adds to one room; `first` is its first event, if that is built already."""

    head: RoomHead
    drafts: Sequence[Draft]
    prepared: _Prepared
    first: Event | None = None


class RoomLanes:
    """Sends the events of this server's users."""

    def __init__(
        self,
        server_name: str,
        signing_key: SigningKey,
        heads: RoomHeads,
        persister: Persister,
        database: Database,
        effects: EventEffects,
        policies: PolicyServers,
        clock: Clock,
        new_event_id: Callable[[], str],
    ) -> None:
        self._server_name = server_name
        self._signing_key = signing_key
        self._heads = heads
        self._persister = persister
        self._database = database
        self._effects = effects
        self._policies = policies
        self._clock = clock
        self._new_event_id = new_event_id
        self._last_creation_ts = 0

    async def send(self, room_id: str, drafts: Sequence[Draft]) -> list[Sent]:
        """Send events to a room, as one unit: all of them or none.

        A state event that would change nothing is not sent; the one that stands is answered. Raises RuleViolation when
        a rule forbids one of them, M_FORBIDDEN for an unknown room, M_BAD_JSON or M_TOO_LARGE for a content that no
        event can have, what a draft's `check` raises, and `Unavailable` while the database is away.
        """
        for _ in range(_MAX_BUILDS):
            head = await self._hold(room_id, drafts[0].sender)
            # A policy server is asked between building and sending: nobody else may build meanwhile.
            if self._heads.turns.is_taken(room_id) or self._policies.of(head) is not None:
                self._heads.release(head)
                async with self._heads.turns.take(room_id):
                    head = await self._hold(room_id, drafts[0].sender)
                    sent = await self._try_to_send(head, drafts, has_turn=True)
            else:
                sent = await self._try_to_send(head, drafts, has_turn=False)
            if sent is not None:
                return sent
        raise _busy()

    async def _try_to_send(self, head: RoomHead, drafts: Sequence[Draft], *, has_turn: bool) -> list[Sent] | None:
        """None if the room has moved meanwhile. The head is released."""
        try:
            prepared = await self._prepared(head, drafts)
            if prepared is None or (not has_turn and self._needs_turn(head)):
                return None
            return await self._submit([_Part(head, drafts, prepared)])
        except RoomMoved:
            # When many retry what a lost connection has left unanswered, each would cost the others a build.
            known = await self._known(drafts)
            return None if known is None else [Sent(known, None)]
        except DuplicateTransaction as duplicate:
            return [Sent(duplicate.event_id, None)]
        finally:
            self._heads.release(head)

    def _needs_turn(self, head: RoomHead) -> bool:
        return self._heads.turns.is_taken(head.room_id) or self._policies.of(head) is not None

    async def build(self, room_id: str, draft: Draft) -> Event:
        """An event as `send` would send it now, authorised and signed, that is not sent: another server has to see it
        first. Raises as `send`.
        """
        head = await self._hold(room_id, draft.sender)
        try:
            await self._heads.get(head.room_id, _needed_keys(head.version, [draft]))
            if draft.check is not None:
                draft.check(head)
            event = self._build(head, head.version, draft, None, with_origin=True)
            self._authorise(head, draft, event)
            return event
        finally:
            self._heads.release(head)

    async def _known(self, drafts: Sequence[Draft]) -> str | None:
        """The event that a draft's transaction ID has made already."""
        draft = drafts[0]
        if len(drafts) > 1 or draft.device_nid is None or draft.txn_id is None:
            return None
        return await self._database.read(transactions.event_id, draft.device_nid, draft.txn_id)

    async def create(
        self, version: RoomVersion, room_id: str | None, drafts: Sequence[Draft], also: "AlsoOfRoom | None" = None
    ) -> tuple[str, list[Sent]]:
        """Make a room of which `drafts` are the first events, the first of them m.room.create; all of them or none.

        `room_id` is None where the room version makes it from the create event. `also(tx, room ID)` is run in the
        transaction that stores the room; what it raises undoes the room. Answers the room ID. Raises as `send`.
        """
        part = await self._new_room(version, room_id, drafts)
        try:
            return part.head.room_id, await self._submit([part], _of_room(also, part.head.room_id))
        finally:
            self._heads.release(part.head)

    async def replace(
        self,
        room_id: str,
        farewell: Callable[[str], Sequence[Draft]],
        version: RoomVersion,
        new_room_id: str | None,
        beginning: Callable[[str | None], Sequence[Draft]],
        also: "AlsoOfRoom | None" = None,
    ) -> str:
        """Make a room that takes the place of another; both rooms change together or not at all. The new room's ID.

        `farewell(new room's ID)` are the old room's last events, `beginning(ID of the first of these)` the new room's
        first. Where the room version makes the new ID from the create event, that cannot know the farewell: `beginning`
        gets None. `new_room_id` and `also` as for `create`. Raises as `send`.
        """
        async with self._heads.turns.take(room_id):
            return await self._replace(room_id, farewell, version, new_room_id, beginning, also)

    async def _replace(
        self,
        room_id: str,
        farewell: Callable[[str], Sequence[Draft]],
        version: RoomVersion,
        new_room_id: str | None,
        beginning: Callable[[str | None], Sequence[Draft]],
        also: "AlsoOfRoom | None",
    ) -> str:
        planned = farewell(new_room_id or "!")
        for _ in range(_MAX_BUILDS):
            old = await self._hold(room_id, planned[0].sender)
            try:
                prepared = await self._prepared(old, planned)
                if prepared is None:
                    continue
                first = None if new_room_id is None else self._build(old, old.version, planned[0], None)
                part = await self._new_room(
                    version, new_room_id, beginning(None if first is None else first.event_id)
                )
                try:
                    end = _ids(old.extremities[-_MAX_PREV_EVENTS:])
                    if old.broken or (first is not None and first.prev_events != end):
                        # Something else was sent to the old room meanwhile.
                        part.head.broken = True
                        continue
                    last = _Part(old, farewell(part.head.room_id), prepared, first)
                    await self._submit([last, part], _of_room(also, part.head.room_id))
                    return part.head.room_id
                finally:
                    self._heads.release(part.head)
            except RoomMoved:
                continue
            finally:
                self._heads.release(old)
        raise _busy()

    async def _hold(self, room_id: str, sender: str) -> RoomHead:
        try:
            head = await self._heads.get(room_id)
        except UnknownRoom:
            # The same as for a room that the sender is not in: nobody learns from it which rooms there are.
            raise MatrixError(403, "M_FORBIDDEN", f"{sender} is not in {room_id}.") from None
        self._heads.hold(head)
        return head

    async def _prepared(self, head: RoomHead, drafts: Sequence[Draft]) -> "_Prepared | None":
        """What `drafts` need beside the head, whose state is loaded; None if the head is no good any more."""
        needed = _needed_keys(head.version, drafts)
        if await self._heads.get(head.room_id, needed) is not head:
            return None
        prepared = await self._prepare(head, drafts)
        return None if head.broken or head.missing(needed) else prepared

    async def _prepare(self, head: RoomHead, drafts: Sequence[Draft]) -> "_Prepared":
        invited = {draft.state_key for draft in drafts if draft.content.get("membership") == "invite"}
        targets = [draft.redacts for draft in drafts if draft.redacts is not None]
        return _Prepared(
            await self._effects.audience(head, drafts[0].sender, invited),
            await self._database.read(events.by_ids, targets) if targets else {},
        )

    async def _new_room(self, version: RoomVersion, room_id: str | None, drafts: Sequence[Draft]) -> "_Part":
        """A room that is there only in memory so far. To be released."""
        create = self._build(None, version, drafts[0], room_id)
        head = self._heads.make(create.room_id, version)
        head.learn(_needed_keys(version, drafts), {})
        self._heads.hold(head)
        try:
            return _Part(head, drafts, await self._prepare(head, drafts), create)
        except BaseException:
            head.broken = True
            self._heads.release(head)
            raise

    async def _submit(self, parts: "Sequence[_Part]", also: Also | None = None) -> list[Sent]:
        self._persister.check_capacity()
        policies = {part.head.room_id: policy for part in parts if (policy := self._policies.of(part.head)) is not None}
        may_fail = len(parts) > 1 or len(parts[0].drafts) > 1 or policies
        checkpoints = [part.head.checkpoint() for part in parts] if may_fail else ()
        pending: list[PendingEvent] = []
        sent: list[str] = []
        try:
            for part in parts:
                self._advance_all(part, pending, sent)
            if policies:
                pending = [await self._recommended(policies, item) for item in pending]
        except BaseException:
            for part, checkpoint in zip(parts, checkpoints, strict=False):
                part.head.restore(checkpoint)
            for part in parts:
                # A room that has no events must not be found.
                part.head.broken = part.head.broken or not part.head.extremities
            raise
        if not pending:
            return [Sent(event_id, None) for event_id in sent]
        stored = await self._persister.submit([part.head for part in parts], pending, also)
        by_id = {row.event.event_id: row for row in stored}
        return [Sent(event_id, by_id.get(event_id)) for event_id in sent]

    async def _recommended(self, policies: Mapping[str, PolicyServer], item: PendingEvent) -> PendingEvent:
        """The event with the signature of its room's policy server. Raises MatrixError if it does not give one."""
        policy = policies.get(item.event.room_id)
        return item if policy is None else replace(item, event=await self._policies.signed(policy, item.event))

    def _advance_all(self, part: "_Part", pending: list[PendingEvent], sent: list[str]) -> None:
        head = part.head
        for draft in part.drafts:
            try:
                if draft.check is not None:
                    draft.check(head)
                standing = _standing(head, draft)
                if standing is not None:
                    sent.append(standing.event_id)
                    continue
                first = part.first if draft is part.drafts[0] else None
                event = self._build(head, head.version, draft, None) if first is None else first
                pending.append(self._advance(head, draft, event, part.prepared))
                sent.append(event.event_id)
            except RuleViolation:
                if not draft.is_optional:
                    raise

    def _build(
        self,
        head: RoomHead | None,
        version: RoomVersion,
        draft: Draft,
        room_id: str | None,
        *,
        with_origin: bool = False,
    ) -> Event:
        prev_events = head.extremities[-_MAX_PREV_EVENTS:] if head is not None else ()
        auth_events: list[Event] = []
        if head is not None:
            keys = auth_types_for_event(version, draft.type, draft.sender, draft.state_key, draft.content)
            auth_events = list(head.state_map(keys).values())
        try:
            return build_event(
                version,
                room_id=head.room_id if head is not None else room_id,
                event_type=draft.type,
                sender=draft.sender,
                content=draft.content,
                prev_events=prev_events,
                auth_events=auth_events,
                depth=next_depth(version, [event.depth for event in prev_events]),
                origin_server_ts=self._time(draft, is_creation=head is None),
                server_name=self._server_name,
                signing_key=self._signing_key,
                state_key=draft.state_key,
                redacts=draft.redacts,
                event_id=self._new_event_id() if version.event_id_format is EventIdFormat.CHOSEN else None,
                with_origin=with_origin,
            )
        except EventTooLarge as error:
            raise MatrixError(413, "M_TOO_LARGE", f"{error}.") from error
        except InvalidEvent as error:
            raise MatrixError(400, "M_BAD_JSON", f"{error}.") from error

    def _time(self, draft: Draft, is_creation: bool) -> int:
        now_ms = self._clock.now_ms() if draft.origin_server_ts is None else draft.origin_server_ts
        if is_creation:
            # Where the room ID is the hash of the create event, the time alone makes two rooms of one user differ.
            now_ms = self._last_creation_ts = max(now_ms, self._last_creation_ts + 1)
        return now_ms

    def _advance(self, head: RoomHead, draft: Draft, event: Event, prepared: _Prepared) -> PendingEvent:
        """Authorise an event and make it the newest of its room."""
        state = self._authorise(head, draft, event)
        redaction = _redaction(event, draft, state, prepared)
        replaces = head.state(event.key) if event.is_state else None
        membership = self._effects.membership(head, event)
        related = relation(event)
        notifies, deltas = self._effects.notify(head, event, prepared.audience)
        in_thread = related is not None and related.rel_type == THREAD
        head.advance(
            event, head.unread + (notifies and not in_thread), (*head.extremities[:-_MAX_PREV_EVENTS], event)
        )
        if redaction is not None:
            head.replace(redaction.redacted)
        return PendingEvent(
            event=event,
            end=rooms.RoomEnd(
                _ids(head.extremities), head.depth, 0, None, head.unread, head.joined_count, head.invited_count
            ),
            bumps=bumps(event),
            notifies=notifies,
            replaces=replaces,
            membership=membership,
            push_deltas=deltas,
            rel_type=related.rel_type if related is not None else None,
            parent_id=related.event_id if related is not None else None,
            redaction=redaction,
            device_nid=draft.device_nid,
            txn_id=draft.txn_id,
            is_from_here=event.sender_domain == self._server_name,
        )

    def _authorise(self, head: RoomHead, draft: Draft, event: Event) -> dict[StateKey, Event]:
        """The state that decides about an event. Raises RuleViolation if a rule forbids it."""
        keys = state_for_check(head.version, draft.type, draft.sender, draft.state_key, draft.content)
        state = head.state_map(keys)
        auth_types = auth_types_for_event(head.version, draft.type, draft.sender, draft.state_key, draft.content)
        check_state_independent(
            event,
            [state[key] for key in auth_types if key in state],
            create=state.get(("m.room.create", "")),
            signed_by={self._server_name},
        )
        check_state_dependent(event, state)
        return state


def _needed_keys(version: RoomVersion, drafts: Sequence[Draft]) -> set[StateKey]:
    keys = set()
    for draft in drafts:
        keys |= state_for_check(version, draft.type, draft.sender, draft.state_key, draft.content)
        keys.add(("m.room.member", draft.sender))
        if draft.state_key is not None:
            keys.add((draft.type, draft.state_key))
        keys.update(draft.reads)
    keys.add(("m.room.power_levels", ""))
    return keys


def _standing(head: RoomHead, draft: Draft) -> Event | None:
    """The state event that already says what the draft would."""
    if draft.state_key is None or draft.type == "m.room.create":
        return None
    current = head.state((draft.type, draft.state_key))
    if current is None or current.sender != draft.sender or current.content != draft.content:
        return None
    # To Python, 1, 1.0 and True are equal.
    is_same = canonical_json.encode(current.content) == canonical_json.encode(draft.content)
    return current if is_same else None


def _of_room(also: AlsoOfRoom | None, room_id: str) -> Also | None:
    return None if also is None else lambda tx: also(tx, room_id)


def _ids(found: Sequence[Event]) -> tuple[str, ...]:
    return tuple(event.event_id for event in found)


def _busy() -> Unavailable:
    return Unavailable("the room is busy")


#: To redact the first would close the room to every server; to redact the second, in older versions, end it.
_NEVER_REDACTED = ("m.room.server_acl", "m.room.create")


def _redaction(
    event: Event, draft: Draft, state: Mapping[StateKey, Event], prepared: _Prepared
) -> PendingRedaction | None:
    if draft.redacts is None:
        return None
    found = prepared.redacted.get(draft.redacts)
    if found is None or found.event.room_id != event.room_id:
        raise MatrixError(400, "M_INVALID_PARAM", f"There is no event {draft.redacts} in this room.")
    target = found.event
    if target.is_state and target.type in _NEVER_REDACTED:
        raise MatrixError(403, "M_FORBIDDEN", f"{target.type} events cannot be redacted.")
    powers = PowerLevels.in_state(state)
    is_allowed = (
        target.sender == event.sender
        or (draft.may_redact is Redacts.OF_OUR_USERS and target.sender_domain == event.sender_domain)
        or (draft.may_redact is not Redacts.OWN and powers.of(event.sender) >= powers.redact)
    )
    if not is_allowed or not redaction_applies(event, target, powers):
        raise MatrixError(403, "M_FORBIDDEN", f"{event.sender} may not redact {draft.redacts}.")
    return PendingRedaction(found.event_nid, target.redacted())
