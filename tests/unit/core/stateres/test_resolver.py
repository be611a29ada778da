"""How a resolution asks, and how it is answered."""

from __future__ import annotations

import pytest

from matrixd.core.stateres import (
    Events,
    InUnconflictedChain,
    Order,
    Reason,
    Resolver,
    UnconflictedState,
    conflicts,
    resolve_verbosely,
)
from matrixd.core.versions import ROOM_VERSIONS
from tests.unit.core.room_factory import ALICE, BOB, CAROL
from tests.unit.core.stateres.branches import Branches, branch
from tests.unit.core.stateres.test_v2 import POWER_LEVELS, TOPIC, levels, member, public_room, topic


def fork(room: Branches) -> Resolver:
    """Two topics."""
    states = [branch(room.state, topic(room, room.state, sender)) for sender in (ALICE, BOB)]
    return Resolver(room.version, conflicts(states)[0])


def test_nothing_is_needed_where_nothing_is_in_conflict() -> None:
    resolver = Resolver(ROOM_VERSIONS["11"], {})
    assert resolver.needed is None
    assert resolver.result().state == {}
    assert resolver.result().explanation is None


def test_it_asks_for_the_chain_then_events_then_the_state_it_checks_against() -> None:
    room = public_room("11")
    resolver = fork(room)
    first = resolver.needed
    assert isinstance(first, InUnconflictedChain)
    assert first.ids == {
        room.state[key].event_id
        for key in (("m.room.create", ""), POWER_LEVELS, ("m.room.member", ALICE), ("m.room.member", BOB))
    }
    resolver.feed_in_unconflicted_chain(first.ids)
    second = resolver.needed
    assert isinstance(second, UnconflictedState)
    assert second.keys == {POWER_LEVELS}
    resolver.feed_unconflicted_state({POWER_LEVELS: room.state[POWER_LEVELS]})
    third = resolver.needed
    assert isinstance(third, Events)
    resolver.feed_events(room.load(third.ids).values())
    fourth = resolver.needed
    assert isinstance(fourth, UnconflictedState)
    assert fourth.keys == {("m.room.create", ""), ("m.room.member", ALICE), ("m.room.member", BOB)}
    resolver.feed_unconflicted_state({key: room.state[key] for key in fourth.keys})
    assert resolver.needed is None
    assert resolver.result().state.keys() == {TOPIC}


def test_an_answer_to_another_question_is_refused() -> None:
    resolver = fork(public_room("12"))
    with pytest.raises(ValueError, match="is needed, not an answer to Events"):
        resolver.feed_events([])
    with pytest.raises(ValueError, match="is needed, not an answer to UnconflictedState"):
        resolver.feed_unconflicted_state({})
    with pytest.raises(ValueError, match="is still needed"):
        resolver.result()


def test_the_states_are_the_same_ones_for_every_key() -> None:
    room = public_room("11")
    with pytest.raises(ValueError, match="an entry for each"):
        Resolver(room.version, {TOPIC: (None, topic(room, room.state)), POWER_LEVELS: (None,)})


@pytest.mark.parametrize("version", ["1", "11", "12"])
def test_events_that_are_not_stored_are_no_reason_to_fail(version: str) -> None:
    room = public_room(version)
    resolver = fork(room)
    while resolver.needed is not None:
        if isinstance(resolver.needed, Events):
            resolver.feed_events([])
        elif isinstance(resolver.needed, UnconflictedState):
            resolver.feed_unconflicted_state({})
        else:
            resolver.feed_in_unconflicted_chain([])
    assert resolver.result().state == {TOPIC: None}


def test_conflicts_are_keys_that_differ_or_are_missing_somewhere() -> None:
    room = public_room("11")
    event = topic(room, room.state)
    conflicted, unconflicted = conflicts([branch(room.state, event), room.state])
    assert conflicted == {TOPIC: (event, None)}
    assert unconflicted == room.state


def test_an_explanation_names_candidates_order_rule_and_winner() -> None:
    room = public_room("11")
    by_bob = levels(room, room.state, BOB, alice=100, bob=50, carol=50)
    by_alice = levels(room, room.state, ALICE, alice=100, bob=0)
    states = [branch(room.state, by_bob, topic(room, room.state, BOB)), branch(room.state, by_alice)]
    explanation = resolve_verbosely(room.version, states, room.load)[0].explanation
    assert explanation is not None
    about = explanation.keys[POWER_LEVELS]
    assert (about.winner, about.reason) == (by_alice, Reason.LAST_ALLOWED)
    assert [candidate.event for candidate in about.candidates] == [by_alice, by_bob]
    assert [candidate.states for candidate in about.candidates] == [(1,), (0,)]
    trials = [candidate.trial for candidate in about.candidates]
    assert [(trial.number, trial.order, trial.rank) for trial in trials if trial] == [
        (0, Order.POWER, 100),
        (1, Order.POWER, 50),
    ]
    assert about.sentences() == [
        f"{by_alice.event_id} of {ALICE} stands in state 2; it was tried as number 1, among the power events, the"
        " sender's level being 100: it was allowed.",
        f"{by_bob.event_id} of {BOB} stands in state 1; it was tried as number 2, among the power events, the"
        f" sender's level being 50: it was not allowed (send_level): {BOB} has level 0, to send m.room.power_levels"
        " needs level 50.",
        f"{by_alice.event_id} won: it was the last one to be allowed.",
    ]
    nothing = explanation.keys[TOPIC]
    assert (nothing.winner, nothing.reason) == (None, Reason.NONE_ALLOWED)
    assert nothing.sentences()[-1] == "None was allowed: the state has no such event."


def test_an_explanation_shows_what_was_replayed_in_between() -> None:
    room = public_room("12")
    renamed = room.authorised(room.state, "m.room.member", CAROL, {"membership": "join", "displayname": "1"}, CAROL)
    again = room.authorised(
        branch(room.state, renamed), "m.room.member", CAROL, {"membership": "join", "displayname": "2"}, CAROL
    )
    states = [branch(room.state, again), room.state]
    explanation = resolve_verbosely(room.version, states, room.load)[0].explanation
    assert explanation is not None
    about = explanation.keys["m.room.member", CAROL]
    assert about.winner == again
    between = next(candidate for candidate in about.candidates if candidate.event == renamed)
    assert between.states == ()
    assert "stands in none of the states and was replayed in between" in " ".join(about.sentences())


def test_an_explanation_of_v1_tells_of_what_was_not_tried() -> None:
    room = public_room("1")
    first = room.state[POWER_LEVELS]
    second = levels(room, room.state, CAROL, carol=100)
    third = levels(room, room.state, ALICE, alice=100)
    shallow, deep = topic(room, room.state), topic(room, room.state)
    name = room.authorised(room.state, "m.room.name", ALICE, {"name": "N"})
    states = [
        branch(room.state, first, shallow),
        branch(room.state, second, deep),
        branch(room.state, third, deep, name),
    ]
    explanation = resolve_verbosely(room.version, states, room.load)[0].explanation
    assert explanation is not None
    keys = explanation.keys
    assert [keys[key].reason for key in (POWER_LEVELS, TOPIC, ("m.room.name", ""))] == [
        Reason.LAST_ALLOWED,
        Reason.FIRST_ALLOWED,
        Reason.UNOPPOSED,
    ]
    sentences = keys[POWER_LEVELS].sentences()
    assert "it was taken without a check, being the first" in sentences[0]
    assert "it was not allowed (send_level)" in sentences[1]
    assert sentences[2].endswith("its turn never came.")
    assert keys[TOPIC].winner == deep


def test_a_kick_is_a_power_event_and_leaving_is_none() -> None:
    room = public_room("12")
    kick, left = member(room, room.state, ALICE, "leave", CAROL), member(room, room.state, BOB, "leave")
    states = [branch(room.state, kick), branch(room.state, left)]
    explanation = resolve_verbosely(room.version, states, room.load)[0].explanation
    assert explanation is not None
    assert {trial.event: trial.order for trial in explanation.trials}[kick] is Order.POWER
    assert {trial.event: trial.order for trial in explanation.trials}[left] is Order.MAINLINE
