"""A room made of events that nobody checked: each test puts it into the state it is about, and asks the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.core.auth import EventForbidden, check_state_dependent
from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS, EventFormat, RoomVersion

ALICE = "@alice:one.example"
BOB = "@bob:one.example"
CAROL = "@carol:two.example"
DAVE = "@dave:three.example"

VERSIONS = tuple(ROOM_VERSIONS)


def versions(*, since: int = 1, until: int = 12) -> list[str]:
    """The identifiers of the versions from one to another, both included."""
    return [str(number) for number in range(since, until + 1)]


class RoomFactory:
    """A room of ALICE on one.example. Methods that put something into the state return the room."""

    def __init__(self, version: str = "12", *, sender: str = ALICE, **create_content: Any) -> None:
        self.version: RoomVersion = ROOM_VERSIONS[version]
        self.state: dict[tuple[str, str], Event] = {}
        self._count = 0
        content = {"room_version": version, **create_content}
        if not self.version.auth.creator_is_sender:
            content.setdefault("creator", sender)
        self.room_id = "!room:" + sender.partition(":")[2]
        self.create = self.event("m.room.create", sender, content, "", prev_events=[])
        self.room_id = self.create.room_id
        self.state["m.room.create", ""] = self.create

    def event(
        self,
        event_type: str,
        sender: str,
        content: Mapping[str, Any] | None = None,
        state_key: str | None = None,
        *,
        prev_events: Sequence[str] = ("$before:one.example",),
        auth_events: Sequence[Event] = (),
        **fields: Any,
    ) -> Event:
        """An event of the room, which stays outside its state. `fields` are further fields of the PDU."""
        self._count += 1
        domain = sender.partition(":")[2]
        with_ids = self.version.event_format is EventFormat.WITH_EVENT_ID
        event_id = f"$event{self._count}" + (f":{domain}" if with_ids else "")
        auth_ids = [auth_event.event_id for auth_event in auth_events]
        pdu: dict[str, Any] = {
            "type": event_type,
            "sender": sender,
            "content": dict(content or {}),
            "depth": self._count,
            "origin_server_ts": self._count,
            "prev_events": [[one, {}] for one in prev_events] if with_ids else list(prev_events),
            "auth_events": [[one, {}] for one in auth_ids] if with_ids else auth_ids,
            "hashes": {},
            "signatures": {},
        }
        if with_ids:
            pdu["event_id"] = event_id
        if not (self.version.room_id_is_create_hash and event_type == "m.room.create"):
            pdu["room_id"] = self.room_id
        if state_key is not None:
            pdu["state_key"] = state_key
        return Event.from_stored(self.version, {**pdu, **fields}, event_id)

    def member(self, sender: str, membership: str, target: str | None = None, **content: Any) -> Event:
        """A membership event outside the state; without a target the sender's own."""
        return self.event("m.room.member", sender, {"membership": membership, **content}, target or sender)

    def put(self, event: Event) -> RoomFactory:
        """The event becomes part of the state."""
        self.state[event.key] = event
        return self

    def with_state(self, event_type: str, content: Mapping[str, Any], state_key: str = "") -> RoomFactory:
        """State that the creator set."""
        return self.put(self.event(event_type, self.create.sender, content, state_key))

    def with_member(self, user_id: str, membership: str, **content: Any) -> RoomFactory:
        """The user has this membership."""
        return self.put(self.member(user_id, membership, **content))

    def joined(self, *user_ids: str) -> RoomFactory:
        """These users are in the room."""
        for user_id in user_ids:
            self.with_member(user_id, "join")
        return self

    def join_rule(self, join_rule: Any, **content: Any) -> RoomFactory:
        """The room has this join rule."""
        return self.with_state("m.room.join_rules", {"join_rule": join_rule, **content})

    def power(self, users: Mapping[str, Any] | None = None, **content: Any) -> RoomFactory:
        """The room has these power levels; `content` are the other members of the event."""
        return self.with_state("m.room.power_levels", {"users": dict(users or {}), **content})

    def verdict(self, event: Event) -> str | None:
        """What the rules that depend on the state say: None allows, else the name of the rule that rejects."""
        return verdict_of(check_state_dependent, event, self.state)


def verdict_of(check: Any, *args: Any, **kwargs: Any) -> str | None:
    """None when a check passes, else the name of the rule that rejects."""
    try:
        check(*args, **kwargs)
    except EventForbidden as error:
        return error.rule.name
    return None
