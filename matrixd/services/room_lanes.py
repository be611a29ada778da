"""The lane of a room: where its next event is built, authorised, signed, and handed to the persister.

Building on a head takes no `await`: from reading the head to advancing it nothing else runs, so the events of a room
stand in one line and parallel senders never fork it. Waiting for the commit happens behind the lane; the next event is
built meanwhile.
"""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from matrixd.core.auth import check_state_dependent, check_state_independent
from matrixd.core.auth.plan import auth_types_for_event, state_for_check
from matrixd.core.auth.redaction import redaction_applies
from matrixd.core.builder import build_event, next_depth
from matrixd.core.content import relation
from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels
from matrixd.core.push.conditions import RoomContext
from matrixd.core.push.evaluation import CompiledRuleset
from matrixd.core.push.fanout import room_outcome
from matrixd.core.signing import SigningKey
from matrixd.core.versions import EventIdFormat, RoomVersion
from matrixd.services.persister import (
    DuplicateTransaction,
    Membership,
    PendingEvent,
    PendingRedaction,
    Persister,
    RoomMoved,
)
from matrixd.services.room_head import RoomHead, RoomHeads, UnknownRoom
from matrixd.storage import events, rooms
from matrixd.storage.database import Database
from matrixd.storage.room_state import StateKey
from matrixd.storage.rows import EventRow
from matrixd.storage.stored_event import StoredEvent
from matrixd.util.clock import Clock

#: How often an event is built again when what it was built on was not stored.
_MAX_BUILDS = 5
#: Events that an event of ours names as the ones before it (server-server API, "prev_events").
_MAX_PREV_EVENTS = 20
#: What moves a room up in a client's list (MSC4186, "bump_stamp").
_BUMP_TYPES = frozenset(
    ("m.room.create", "m.room.message", "m.room.encrypted", "m.sticker", "m.call.invite", "m.poll.start",
     "m.beacon_info")
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody of this server wants to say in a room.

    `txn_id` names the endpoint and the client's transaction ID; with `device_nid` it makes a retry answer the same
    event.
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


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that was sent. `row` is None when it was there already."""

    event_id: str
    row: EventRow | None


class PushRulesets(Protocol):
    """The push rules of those who have their own."""

    async def for_room(self, room_id: str, members: Collection[str]) -> Mapping[str, CompiledRuleset]:
        """The rules of those of `members` who have rules that affect the room."""

    async def ignoring(self, sender: str, members: Collection[str]) -> Collection[str]:
        """Those of `members` who ignore `sender`."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What building needs and cannot wait for."""

    rulesets: Mapping[str, CompiledRuleset]
    ignored_by: Collection[str]
    redacted: Mapping[str, StoredEvent]


class RoomLanes:
    """Sends the events of this server's users."""

    def __init__(
        self,
        server_name: str,
        signing_key: SigningKey,
        heads: RoomHeads,
        persister: Persister,
        database: Database,
        push_rulesets: PushRulesets,
        clock: Clock,
        new_event_id: Callable[[], str],
    ) -> None:
        self._server_name = server_name
        self._signing_key = signing_key
        self._heads = heads
        self._persister = persister
        self._database = database
        self._push_rulesets = push_rulesets
        self._clock = clock
        self._new_event_id = new_event_id

    async def send(self, room_id: str, drafts: Sequence[Draft]) -> list[Sent]:
        """Send events to a room, as one unit: all of them or none.

        A state event that would change nothing is not sent; the one that stands is answered. Raises RuleViolation when
        a rule forbids one of them, M_NOT_FOUND for an unknown room, `Unavailable` while the database is away.
        """
        for _ in range(_MAX_BUILDS):
            head = await self._head(room_id, drafts)
            prepared = await self._prepare(head, drafts)
            if head.broken or head.missing(_needed_keys(head.version, drafts)):
                continue
            try:
                return await self._submit(head, drafts, prepared)
            except RoomMoved:
                continue
            except DuplicateTransaction as duplicate:
                return [Sent(duplicate.event_id, None)]
        raise MatrixError(503, "M_UNKNOWN", "The room is busy. Try again.")

    async def create(
        self, version: RoomVersion, room_id: str | None, drafts: Sequence[Draft]
    ) -> tuple[str, list[Sent]]:
        """Make a room of which `drafts` are the first events, the first of them m.room.create; all of them or none.

        `room_id` is None where the room version makes it from the create event. Answers the room ID.
        """
        create = self._build(None, version, drafts[0], room_id)
        head = self._heads.make(create.room_id, version)
        head.learn(_needed_keys(version, drafts), {})
        prepared = _Prepared({}, (), {})
        try:
            return create.room_id, await self._submit(head, drafts, prepared, create)
        except BaseException:
            head.broken = True
            self._heads.settle(head)
            raise

    async def _head(self, room_id: str, drafts: Sequence[Draft]) -> RoomHead:
        try:
            head = await self._heads.get(room_id)
            return await self._heads.get(room_id, _needed_keys(head.version, drafts))
        except UnknownRoom:
            raise MatrixError(404, "M_NOT_FOUND", f"This server does not know the room {room_id}.") from None

    async def _prepare(self, head: RoomHead, drafts: Sequence[Draft]) -> _Prepared:
        members = await self._heads.local_joined(head)
        targets = [draft.redacts for draft in drafts if draft.redacts is not None]
        return _Prepared(
            await self._push_rulesets.for_room(head.room_id, members),
            await self._push_rulesets.ignoring(drafts[0].sender, members),
            await self._database.read(events.by_ids, targets) if targets else {},
        )

    async def _submit(
        self, head: RoomHead, drafts: Sequence[Draft], prepared: _Prepared, create: Event | None = None
    ) -> list[Sent]:
        self._persister.check_capacity()
        checkpoint = head.checkpoint() if len(drafts) > 1 else None
        pending: list[PendingEvent] = []
        sent: list[str] = []
        try:
            for draft in drafts:
                standing = _standing(head, draft)
                if standing is not None:
                    sent.append(standing.event_id)
                    continue
                event = create if create is not None and not pending else self._build(head, head.version, draft, None)
                pending.append(self._advance(head, draft, event, prepared))
                sent.append(event.event_id)
        except Exception:
            if checkpoint is not None:
                head.restore(checkpoint)
            raise
        if not pending:
            return [Sent(event_id, None) for event_id in sent]
        self._heads.hold(head)
        try:
            stored = await self._persister.submit(head, pending)
        finally:
            self._heads.settle(head)
        by_id = {row.event.event_id: row for row in stored}
        return [Sent(event_id, by_id.get(event_id)) for event_id in sent]

    def _build(self, head: RoomHead | None, version: RoomVersion, draft: Draft, room_id: str | None) -> Event:
        prev_events = head.extremities[-_MAX_PREV_EVENTS:] if head is not None else ()
        auth_events: list[Event] = []
        if head is not None:
            keys = auth_types_for_event(version, draft.type, draft.sender, draft.state_key, draft.content)
            auth_events = list(head.state_map(keys).values())
        return build_event(
            version,
            room_id=head.room_id if head is not None else room_id,
            event_type=draft.type,
            sender=draft.sender,
            content=draft.content,
            prev_events=prev_events,
            auth_events=auth_events,
            depth=next_depth(version, [event.depth for event in prev_events]),
            origin_server_ts=self._clock.now_ms() if draft.origin_server_ts is None else draft.origin_server_ts,
            server_name=self._server_name,
            signing_key=self._signing_key,
            state_key=draft.state_key,
            redacts=draft.redacts,
            event_id=self._new_event_id() if version.event_id_format is EventIdFormat.CHOSEN else None,
        )

    def _advance(self, head: RoomHead, draft: Draft, event: Event, prepared: _Prepared) -> PendingEvent:
        """Authorise an event and make it the newest of its room."""
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
        redaction = _redaction(event, state, prepared)
        replaces = head.state(event.key) if event.is_state else None
        membership = self._membership(head, event)
        related = relation(event.content)
        notifies, deltas = self._notify(head, event, state, prepared)
        in_thread = related is not None and related.rel_type == "m.thread"
        head.advance(event, head.unread + (notifies and not in_thread), (event,))
        if redaction is not None:
            head.replace(redaction.redacted)
        return PendingEvent(
            event=event,
            end=rooms.RoomEnd(
                (event.event_id,), head.depth, 0, None, head.unread, head.joined_count, head.invited_count
            ),
            bumps=event.type in _BUMP_TYPES,
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

    def _membership(self, head: RoomHead, event: Event) -> Membership | None:
        if event.type != "m.room.member" or event.state_key is None:
            return None
        is_local = event.state_key.partition(":")[2] == self._server_name
        return Membership(
            event.state_key, event.membership or "leave", head.membership(event.state_key), is_local
        )

    def _notify(
        self, head: RoomHead, event: Event, state: Mapping[StateKey, Event], prepared: _Prepared
    ) -> tuple[bool, tuple[tuple[str, int, int], ...]]:
        """Whether an event notifies by default, and for whom it is different: (user ID, notify delta, highlight)."""
        create = event if event.type == "m.room.create" else state[("m.room.create", "")]
        context = RoomContext(
            head.joined_count,
            PowerLevels(create, head.state(("m.room.power_levels", ""))),
            functools.partial(_display_name, head),
        )
        recipients: Collection[str] = head.local_joined or ()
        if event.membership == "invite" and event.state_key is not None:
            recipients = {*recipients, event.state_key}
        outcome = room_outcome(
            event, context, recipients=recipients, rulesets=prepared.rulesets, ignored_by=prepared.ignored_by
        )
        default = outcome.default.notify
        return default, tuple(
            (user_id, int(actions.notify) - int(default), int(actions.highlight))
            for user_id, actions in outcome.differing.items()
        )


def _needed_keys(version: RoomVersion, drafts: Sequence[Draft]) -> set[StateKey]:
    keys = set()
    for draft in drafts:
        keys |= state_for_check(version, draft.type, draft.sender, draft.state_key, draft.content)
        keys.add(("m.room.member", draft.sender))
        if draft.state_key is not None:
            keys.add((draft.type, draft.state_key))
    keys.add(("m.room.power_levels", ""))
    return keys


def _standing(head: RoomHead, draft: Draft) -> Event | None:
    """The state event that already says what the draft would."""
    if draft.state_key is None or draft.type == "m.room.create":
        return None
    current = head.state((draft.type, draft.state_key))
    if current is not None and current.sender == draft.sender and current.content == draft.content:
        return current
    return None


def _redaction(event: Event, state: Mapping[StateKey, Event], prepared: _Prepared) -> PendingRedaction | None:
    if event.redacts is None:
        return None
    target = prepared.redacted.get(event.redacts)
    if target is None or target.event.room_id != event.room_id:
        return None
    if not redaction_applies(event, target.event, PowerLevels.in_state(state)):
        raise MatrixError(403, "M_FORBIDDEN", f"{event.sender} may not redact {event.redacts}.")
    return PendingRedaction(target.event_nid, target.event.redacted())


def _display_name(head: RoomHead, user_id: str) -> str | None:
    if head.missing([("m.room.member", user_id)]):
        return None
    event = head.state(("m.room.member", user_id))
    name = event.content.get("displayname") if event is not None else None
    return name if isinstance(name, str) else None
