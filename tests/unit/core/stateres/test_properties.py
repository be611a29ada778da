"""What must hold in any room: the order of things does not matter, and the short ways lead where the long ones do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.event import Event
from matrixd.core.stateres import Loaded, Resolver, StateKey, conflicts, drive, resolve, resolve_verbosely
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion
from tests.unit.core.stateres.by_the_text import ByTheText
from tests.unit.core.stateres.random_rooms import (
    MOVE_LISTS,
    SOME_VERSIONS,
    Move,
    Server,
    State,
    any_order,
    build,
)

RANDOMS = st.integers(0, 10_000).map(Random)


def states_of(server: Server, random: Random, *, outdated: bool) -> list[State]:
    """The states after a few events; with `outdated` an entry is missing, and some are older than they should be."""
    ids = list(server.events)
    states = [dict(server.after[random.choice(ids)]) for _ in range(random.randint(2, 4))]
    for state in states if outdated else ():
        state.pop(random.choice([key for key in state if key[0] != "m.room.create"] or [("", "")]), None)
        for key in random.sample(sorted(state), k=min(2, len(state))):
            state[key] = random.choice(
                [event for event in server.events.values() if event.is_state and event.key == key]
            )
    return states


@settings(max_examples=150)
@given(SOME_VERSIONS, MOVE_LISTS, RANDOMS)
def test_any_delivery_order_converges(version: RoomVersion, moves: list[Move], random: Random) -> None:
    first = build(version, moves)
    second = Server(version, random)
    for event in any_order(first.events.values(), random):
        second.receive(event)
    assert second.current() == first.current()
    assert second.rejected == first.rejected
    assert second.after == first.after


@settings(max_examples=100)
@given(SOME_VERSIONS, MOVE_LISTS, RANDOMS, st.booleans())
def test_the_order_of_inputs_does_not_matter(
    version: RoomVersion, moves: list[Move], random: Random, outdated: bool
) -> None:
    server = build(version, moves)
    states = states_of(server, random, outdated=outdated)
    expected = resolve(version, states, server.load)
    turned = [server.shuffled(state) for state in [*reversed(states), random.choice(states)]]
    assert resolve(version, turned, server.load) == expected


@settings(max_examples=200)
@given(st.sampled_from(["2", "10", "11", "12"]), MOVE_LISTS, RANDOMS, st.booleans())
def test_it_does_what_the_text_says(number: str, moves: list[Move], random: Random, outdated: bool) -> None:
    version = ROOM_VERSIONS[number]
    server = build(version, moves)
    states = states_of(server, random, outdated=outdated)
    rejected = set(random.sample(list(server.events)[1:], k=2)) if outdated else set()
    by_the_text = ByTheText(version, server.events, rejected)
    resolution, unconflicted = resolve_verbosely(version, states, server.load, rejected)
    state = {**unconflicted, **resolution.state}
    assert {key: event for key, event in state.items() if event is not None} == by_the_text.resolve(states)
    assert resolution.explanation is not None
    tried = [(trial.event, trial.failure is None) for trial in resolution.explanation.trials]
    assert tried == by_the_text.tried


class Index:
    """Answers as a database does, by edges from auth events to those that name them; nothing but what was asked."""

    def __init__(self, server: Server, unconflicted: Mapping[StateKey, Event]) -> None:
        self.server = server
        self.unconflicted = unconflicted
        self.named_by: dict[str, list[str]] = {}
        self.keys: set[StateKey] = set()
        for event in server.events.values():
            for auth_id in event.auth_events if event.is_state else ():
                self.named_by.setdefault(auth_id, []).append(event.event_id)

    def events(self, ids: Collection[str]) -> Loaded:
        return Loaded(list(self.server.load(ids).values()), self.server.rejected)

    def unconflicted_state(self, keys: Collection[StateKey]) -> Mapping[StateKey, Event]:
        self.keys.update(keys)
        return {key: self.unconflicted[key] for key in keys if key in self.unconflicted}

    def in_unconflicted_chain(self, ids: Collection[str]) -> Collection[str]:
        return [event_id for event_id in ids if self._leads_to_state(event_id)]

    def _leads_to_state(self, event_id: str) -> bool:
        event = self.server.events[event_id]
        is_state = event.is_state and self.unconflicted.get(event.key) == event
        return is_state or any(self._leads_to_state(one) for one in self.named_by.get(event_id, ()))


@settings(max_examples=100)
@given(SOME_VERSIONS, MOVE_LISTS, RANDOMS, st.booleans())
def test_asking_an_index_is_as_good_as_walking_everything(
    version: RoomVersion, moves: list[Move], random: Random, outdated: bool
) -> None:
    server = build(version, moves)
    states = states_of(server, random, outdated=outdated)
    conflicted, unconflicted = conflicts(states)
    index = Index(server, unconflicted)
    resolution = drive(Resolver(version, conflicted, explain=random.random() < 0.5), index)
    state = {**unconflicted, **resolution.state}
    expected = resolve(version, states, server.load, server.rejected)
    assert {key: event for key, event in state.items() if event is not None} == expected
    assert not index.keys & conflicted.keys()
    if resolution.explanation is not None:
        assert {key: about.winner for key, about in resolution.explanation.keys.items()} == resolution.state
