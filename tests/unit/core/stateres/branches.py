"""Rooms that fork: events are made after a state of the test's choice, whose entries authorise them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from matrixd.core.auth import auth_types_for_event
from matrixd.core.event import Event
from matrixd.core.stateres import StateKey, resolve
from tests.unit.core.room_factory import ALICE, RoomFactory

State = Mapping[StateKey, Event]


class Branches(RoomFactory):
    """A room whose events are kept; `state` is what the branches have in common."""

    def __init__(self, version: str = "11", **create_content: Any) -> None:
        self.events: dict[str, Event] = {}
        self.rejected: set[str] = set()
        super().__init__(version, **create_content)

    def event(self, *args: Any, **kwargs: Any) -> Event:
        """Kept, whatever becomes of it."""
        event = super().event(*args, **kwargs)
        self.events[event.event_id] = event
        return event

    def authorised(
        self, state: State, event_type: str, sender: str, content: Mapping[str, Any], state_key: str = "", **fields: Any
    ) -> Event:
        """An event that names in its `auth_events` what it should, from a state."""
        keys = sorted(auth_types_for_event(self.version, event_type, sender, state_key, content))
        auth_events = [state[key] for key in keys if key in state]
        return self.event(event_type, sender, content, state_key, auth_events=auth_events, **fields)

    def goes(
        self, event_type: str, sender: str, content: Mapping[str, Any], state_key: str = "", **fields: Any
    ) -> Event:
        """An event that becomes part of what the branches have in common."""
        event = self.authorised(self.state, event_type, sender, content, state_key, **fields)
        self.put(event)
        return event

    def membership(self, user_id: str, membership: str = "join", sender: str | None = None, **fields: Any) -> Event:
        """A membership that the branches have in common."""
        return self.goes("m.room.member", sender or user_id, {"membership": membership}, user_id, **fields)

    def levels(self, sender: str = ALICE, **users: int) -> Event:
        """Power levels that the branches have in common; the users by the first part of their names."""
        return self.goes("m.room.power_levels", sender, self.level_content(**users))

    def level_content(self, **users: int) -> dict[str, Any]:
        """The content of power levels; v12 does not let its creator be named."""
        named = {f"@{name}:{_SERVERS[name]}": level for name, level in users.items()}
        if self.version.auth.privileged_creators:
            named.pop(self.create.sender, None)
        return {"users": named}

    def load(self, ids: Collection[str]) -> dict[str, Event]:
        """Those of the events that were made."""
        return {event_id: self.events[event_id] for event_id in ids if event_id in self.events}

    def resolve(self, *states: State) -> dict[StateKey, Event]:
        """The resolution of some states."""
        return resolve(self.version, states, self.load, self.rejected)


_SERVERS = {
    "alice": "one.example",
    "bob": "one.example",
    "carol": "two.example",
    "charlie": "two.example",
    "dave": "three.example",
    "eve": "three.example",
    "zara": "three.example",
}


def branch(state: State, *events: Event) -> dict[StateKey, Event]:
    """A state after some events."""
    return {**state, **{event.key: event for event in events}}
