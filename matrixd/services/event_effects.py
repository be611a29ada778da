"""What an event does beside changing state when it joins a room's timeline: memberships, notifications, relations."""

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from matrixd.core.event import Event
from matrixd.core.identifiers import fits, is_event_id
from matrixd.core.merge_event import MERGE_EVENT
from matrixd.core.power import PowerLevels
from matrixd.core.push.conditions import RoomContext
from matrixd.core.push.evaluation import CompiledRuleset
from matrixd.core.push.fanout import room_outcome
from matrixd.core.relations import Relation, relation_of
from matrixd.services.persister import Membership
from matrixd.services.room_head import RoomHead, RoomHeads

#: What moves a room up in a client's list (MSC4186, "bump_stamp").
_BUMP_TYPES = frozenset(
    ("m.room.create", "m.room.message", "m.room.encrypted", "m.sticker", "m.call.invite", "m.poll.start",
     "m.beacon_info")
)


class PushRulesets(Protocol):
    """The push rules of those who have their own."""

    async def for_room(self, room_id: str, members: Collection[str]) -> Mapping[str, CompiledRuleset]:
        """The rules of those of `members` who have rules that affect the room."""

    async def ignoring(self, sender: str, members: Collection[str]) -> Collection[str]:
        """Those of `members` who ignore `sender`."""


@dataclass(frozen=True, slots=True)
class Audience:
    """Those of this server who get a room's events, as far as their rules differ from the default ones."""

    rulesets: Mapping[str, CompiledRuleset]
    ignored_by: Collection[str]


class EventEffects:
    """Finds what events of a room do."""

    def __init__(self, server_name: str, heads: RoomHeads, push_rulesets: PushRulesets) -> None:
        self._server_name = server_name
        self._heads = heads
        self._push_rulesets = push_rulesets

    async def audience(self, head: RoomHead, sender: str, invited: Collection[str | None]) -> Audience:
        """Who gets what `sender` sends to a room, with those who are invited by it."""
        members: Collection[str] = await self._heads.local_joined(head)
        ours = {user_id for user_id in invited if user_id is not None and self.is_ours(user_id)}
        if ours:
            members = {*members, *ours}
        return Audience(
            await self._push_rulesets.for_room(head.room_id, members),
            await self._push_rulesets.ignoring(sender, members),
        )

    def is_ours(self, user_id: str) -> bool:
        """Whether a user is of this server."""
        return user_id.partition(":")[2] == self._server_name

    def membership(self, head: RoomHead, event: Event) -> Membership | None:
        """What an m.room.member event that becomes the current state changes."""
        if event.type != "m.room.member" or event.state_key is None:
            return None
        before = head.membership(event.state_key)
        return Membership(event.state_key, event.membership or "leave", before, self.is_ours(event.state_key))

    def left_out(self, head: RoomHead, user_id: str) -> Membership:
        """What it changes when no event says any more what a user's membership is."""
        return Membership(user_id, "leave", head.membership(user_id), self.is_ours(user_id))

    def notify(self, head: RoomHead, event: Event, audience: Audience) -> tuple[bool, tuple[tuple[str, int, int], ...]]:
        """Whether an event notifies by default, and for whom it is different: (user ID, notify delta, highlight)."""
        if event.type == MERGE_EVENT:
            return False, ()
        create = event if event.type == "m.room.create" else head.state(("m.room.create", ""))
        assert create is not None, "every room has been created"
        context = RoomContext(
            head.joined_count,
            PowerLevels(create, head.state(("m.room.power_levels", ""))),
            functools.partial(_display_name, head),
        )
        recipients: Collection[str] = head.local_joined or ()
        if event.membership == "invite" and event.state_key is not None and self.is_ours(event.state_key):
            recipients = {*recipients, event.state_key}
        outcome = room_outcome(
            event, context, recipients=recipients, rulesets=audience.rulesets, ignored_by=audience.ignored_by
        )
        default = outcome.default.notify
        return default, tuple(
            (user_id, int(actions.notify) - int(default), int(actions.highlight))
            for user_id, actions in outcome.differing.items()
        )


def bumps(event: Event) -> bool:
    """Whether an event moves its room up in a client's list."""
    return event.type in _BUMP_TYPES


def relation(event: Event) -> Relation | None:
    """The event's relation, if it can be looked up."""
    related = relation_of(event)
    return related if related is not None and fits(related.rel_type) and is_event_id(related.event_id) else None


def _display_name(head: RoomHead, user_id: str) -> str | None:
    if head.missing([("m.room.member", user_id)]):
        return None
    event = head.state(("m.room.member", user_id))
    name = event.content.get("displayname") if event is not None else None
    return name if isinstance(name, str) else None
