"""A room of other servers with a great many members, its events hashed and signed. Runs with matrixd's code."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.core.auth import auth_types_for_event
from matrixd.core.builder import build_event
from matrixd.core.event import Event
from matrixd.core.signing import SigningKey
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion

#: As the rooms that both servers make (`bench.pair`).
VERSION = ROOM_VERSIONS["11"]
_FIRST = ("m.room.create", "m.room.power_levels", "m.room.join_rules")
MEMBERSHIP = "m.room.member"


@dataclass(frozen=True, slots=True)
class OtherServer:
    """A name, and the key that its events are signed with."""

    name: str
    key: SigningKey

    @classmethod
    def named(cls, name: str) -> "OtherServer":
        """Always with the same key."""
        return cls(name, SigningKey.from_seed("a", name.encode().ljust(32, b".")[:32]))


class LargeRoom:
    """The room: its creator is of the first of the servers, the members come from the others in turn.

    The first two members after the creator are moderators. The last event is a message.
    """

    version: RoomVersion = VERSION

    def __init__(self, name: str, servers: Sequence[OtherServer], members: int) -> None:
        self.servers = {server.name: server for server in servers}
        self.room_id = f"!{name}:{servers[0].name}"
        self.creator = f"@creator:{servers[0].name}"
        names = [server.name for server in servers[1:] or servers]
        self.members = [f"@member{n}:{names[n % len(names)]}" for n in range(members - 1)]
        self.moderators = self.members[:2]
        self.events: list[Event] = []
        self.state: dict[tuple[str, str], Event] = {}
        self._now_ms = int(time.time() * 1000) - 1_000_000
        for event in self._beginning():
            self._add(event)
        for member in self.members:
            self._add(self.build(member, MEMBERSHIP, _joined(member), state_key=member))
        self._add(self.build(self.creator, "m.room.message", {"msgtype": "m.text", "body": "Welcome."}))

    @property
    def newest(self) -> Event:
        """The room's end."""
        return self.events[-1]

    def build(
        self,
        sender: str,
        event_type: str,
        content: Mapping[str, Any],
        *,
        state_key: str | None = None,
        after: Sequence[Event] | None = None,
        state: Mapping[tuple[str, str], Event] | None = None,
    ) -> Event:
        """An event after the room's end, or after others with the state there."""
        after = self.events[-1:] if after is None else after
        state = self.state if state is None else state
        server = self.servers[sender.partition(":")[2]]
        self._now_ms += 1
        return build_event(
            self.version,
            room_id=self.room_id,
            event_type=event_type,
            sender=sender,
            content=content,
            prev_events=after,
            auth_events=self.auth_events(sender, event_type, state_key, content, state),
            depth=max((event.depth for event in after), default=0) + 1,
            origin_server_ts=self._now_ms,
            server_name=server.name,
            signing_key=server.key,
            state_key=state_key,
        )

    def auth_events(
        self,
        sender: str,
        event_type: str,
        state_key: str | None,
        content: Mapping[str, Any],
        state: Mapping[tuple[str, str], Event] | None = None,
    ) -> list[Event]:
        """What an event is authorised by."""
        state = self.state if state is None else state
        keys = auth_types_for_event(self.version, event_type, sender, state_key, content)
        return [state[key] for key in sorted(keys) if key in state]

    def auth_chain(self) -> list[Event]:
        """Of the whole state."""
        return [self.state[name, ""] for name in _FIRST] + [self.state[MEMBERSHIP, self.creator]]

    def state_events(self, *, members: bool = True) -> Iterable[Event]:
        """The state, with or without the members."""
        return [event for event in self.state.values() if members or event.type != MEMBERSHIP]

    def _beginning(self) -> Iterable[Event]:
        yield self.build(self.creator, _FIRST[0], {"room_version": self.version.identifier}, state_key="")
        yield self.build(self.creator, MEMBERSHIP, _joined(self.creator), state_key=self.creator)
        levels = {"users": {self.creator: 100, **dict.fromkeys(self.moderators, 50)}, "users_default": 0}
        yield self.build(self.creator, _FIRST[1], levels, state_key="")
        yield self.build(self.creator, _FIRST[2], {"join_rule": "public"}, state_key="")
        yield self.build(self.creator, "m.room.history_visibility", {"history_visibility": "shared"}, state_key="")
        yield self.build(self.creator, "m.room.name", {"name": "A large room"}, state_key="")

    def _add(self, event: Event) -> None:
        self.events.append(event)
        if event.is_state:
            self.state[event.key] = event


def _joined(user_id: str) -> Mapping[str, str]:
    name = user_id[1:].partition(":")[0]
    return {"membership": "join", "displayname": name.capitalize(), "avatar_url": f"mxc://example.org/{name}"}
