"""Random small rooms: people do things on top of random events, and servers hear of it in some order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st

from matrixd.core.auth import EventForbidden, auth_types_for_event, check_state_dependent
from matrixd.core.builder import build_event, next_depth
from matrixd.core.event import Event
from matrixd.core.stateres import StateKey, resolve
from matrixd.core.versions import ROOM_VERSIONS, EventIdFormat, RoomVersion
from tests.unit.core.build import KEY

State = dict[StateKey, Event]

USERS = tuple(f"@{name}:domain" for name in ("alice", "bob", "carol", "dave"))
LEVELS = (0, 50, 100)


@dataclass(frozen=True)
class Move:
    """Somebody does something, on top of some events (counted from the newest), at some time."""

    kind: str
    actor: int
    target: int
    value: int
    on: tuple[int, ...]
    ts: int


MOVES = st.builds(
    Move,
    st.sampled_from(["join", "leave", "kick", "ban", "invite", "levels", "rules", "topic", "topic", "message"]),
    st.integers(0, len(USERS) - 1),
    st.integers(0, len(USERS) - 1),
    st.integers(0, 2),
    st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple),
    st.integers(0, 6),
)
#: Enough to fork and to merge again; every room begins with what `beginning` makes.
MOVE_LISTS = st.lists(MOVES, min_size=4, max_size=22)


@dataclass
class Server:
    """Knows the state after each event that it has; of the rejected ones that before them."""

    version: RoomVersion
    random: Random
    events: dict[str, Event] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    after: dict[str, State] = field(default_factory=dict)

    def load(self, ids: Collection[str]) -> Mapping[str, Event]:
        """Those of the events that it has."""
        return {event_id: self.events[event_id] for event_id in ids if event_id in self.events}

    def state_of(self, prev_events: Iterable[str]) -> State:
        """The resolution of the states after some events, which are taken in any order."""
        ids = list(dict.fromkeys(prev_events))
        self.random.shuffle(ids)
        states = [self.shuffled(self.after[event_id]) for event_id in ids]
        return resolve(self.version, states, self.load, self.rejected) if states else {}

    def shuffled(self, state: State) -> State:
        """The same state in another order."""
        items = list(state.items())
        self.random.shuffle(items)
        return dict(items)

    def receive(self, event: Event) -> None:
        """Take an event all of whose `prev_events` are here."""
        before = self.state_of(event.prev_events)
        self.events[event.event_id] = event
        if forbidden(event, before):
            self.rejected.add(event.event_id)
        elif event.is_state:
            before[event.key] = event
        self.after[event.event_id] = before

    def current(self) -> State:
        """The state after everything that is here."""
        return self.state_of(extremities(self.events.values()))


def forbidden(event: Event, state: Mapping[StateKey, Event]) -> bool:
    """Whether the rules do not allow an event in a state."""
    try:
        check_state_dependent(event, state)
    except EventForbidden:
        return True
    return False


def extremities(events: Collection[Event]) -> list[str]:
    """The events that no other one follows."""
    followed = {event_id for event in events for event_id in event.prev_events}
    return [event.event_id for event in events if event.event_id not in followed]


def any_order(events: Collection[Event], random: Random) -> list[Event]:
    """An order in which the events can come: each after its `prev_events`."""
    waiting = list(events)
    random.shuffle(waiting)
    ordered: list[Event] = []
    seen: set[str] = set()
    while waiting:
        event = next(one for one in waiting if seen.issuperset(one.prev_events))
        waiting.remove(event)
        ordered.append(event)
        seen.add(event.event_id)
    return ordered


def build(version: RoomVersion, moves: Sequence[Move]) -> Server:
    """The server of a room in which the moves were made, but for those that the rules did not allow."""
    server = Server(version, Random(0))
    beginning(server)
    for move in moves:
        ids = list(server.events)
        prev_events = list(dict.fromkeys(ids[-1 - min(back, len(ids) - 5)] for back in move.on))
        state = server.state_of(prev_events)
        event = made(server, state, prev_events, USERS[move.actor], *_content(state, move), ts=move.ts)
        if not forbidden(event, state):
            server.receive(event)
    return server


def beginning(server: Server) -> None:
    """Alice creates a public room that bob is in, with level 50."""
    alice, bob, *_ = USERS
    users = {bob: 50} if server.version.auth.privileged_creators else {alice: 100, bob: 50}
    create = {"room_version": server.version.identifier}
    if not server.version.auth.creator_is_sender:
        create["creator"] = alice
    for sender, event_type, state_key, content in (
        (alice, "m.room.create", "", create),
        (alice, "m.room.member", alice, {"membership": "join"}),
        (alice, "m.room.power_levels", "", {"users": users}),
        (alice, "m.room.join_rules", "", {"join_rule": "public"}),
        (bob, "m.room.member", bob, {"membership": "join"}),
    ):
        prev_events = extremities(server.events.values())
        state = server.state_of(prev_events)
        server.receive(made(server, state, prev_events, sender, event_type, state_key, content, ts=0))


def _content(state: State, move: Move) -> tuple[str, str | None, dict[str, Any]]:
    """Type, state key and content of what a move sends."""
    target = USERS[move.target]
    match move.kind:
        case "join" | "leave":
            return "m.room.member", USERS[move.actor], {"membership": move.kind, "displayname": str(move.value)}
        case "kick" | "ban" | "invite":
            return "m.room.member", target, {"membership": move.kind.replace("kick", "leave")}
        case "rules":
            return "m.room.join_rules", "", {"join_rule": ("public", "invite", "public")[move.value]}
        case "levels":
            # v2.0 can lose the power levels, where who has set them leaves on one branch and goes on on another.
            before = state.get(("m.room.power_levels", ""))
            levels = {} if before is None else before.content["users"]
            return "m.room.power_levels", "", {"users": {**levels, target: LEVELS[move.value]}}
        case "topic":
            return "m.room.topic", "", {"topic": str(move.value)}
        case _:
            return "m.room.message", None, {"body": str(move.value)}


def made(
    server: Server,
    state: State,
    prev_events: Sequence[str],
    sender: str,
    event_type: str,
    state_key: str | None,
    content: Mapping[str, Any],
    *,
    ts: int,
) -> Event:
    """An event after some others, authorised by a state, which none of the server's states becomes."""
    version, number = server.version, len(server.events)
    before = [server.events[event_id] for event_id in prev_events]
    keys = sorted(auth_types_for_event(version, event_type, sender, state_key, content))
    is_hashed_create = version.room_id_is_create_hash and event_type == "m.room.create"
    room_id = "!room:domain"
    if version.room_id_is_create_hash and not is_hashed_create:
        room_id = state["m.room.create", ""].room_id
    return build_event(
        version,
        room_id=None if is_hashed_create else room_id,
        event_type=event_type,
        sender=sender,
        state_key=state_key,
        content=content,
        prev_events=before,
        auth_events=[state[key] for key in keys if key in state],
        depth=next_depth(version, [event.depth for event in before]),
        origin_server_ts=ts,
        server_name="domain",
        signing_key=KEY,
        event_id=f"${number}:domain" if version.event_id_format is EventIdFormat.CHOSEN else None,
    )


#: One for each algorithm and kind of creator.
SOME_VERSIONS = st.sampled_from([ROOM_VERSIONS[number] for number in ("1", "2", "6", "10", "11", "12")])
