"""What versions 2 and 2.1 have in common. https://spec.matrix.org/v1.19/rooms/v2/#state-resolution"""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.core.event import Event
from matrixd.core.stateres import Order, resolve_verbosely
from matrixd.core.stateres.mainline import mainline_ordering
from matrixd.core.stateres.power_order import reverse_topological_power_ordering
from matrixd.core.stateres.requests import Known, Steps, T
from tests.unit.core.room_factory import ALICE, BOB, CAROL, DAVE
from tests.unit.core.stateres.branches import Branches, State, branch

TOPIC = ("m.room.topic", "")
POWER_LEVELS = ("m.room.power_levels", "")
JOIN_RULES = ("m.room.join_rules", "")
BOTH = pytest.mark.parametrize("version", ["2", "6", "10", "11", "12"])


def public_room(version: str) -> Branches:
    """Alice has level 100 (in v12 an infinite one), bob 50, carol none."""
    room = Branches(version)
    room.membership(ALICE)
    room.levels(alice=100, bob=50)
    room.goes("m.room.join_rules", ALICE, {"join_rule": "public"})
    room.membership(BOB)
    room.membership(CAROL)
    return room


def topic(room: Branches, state: State, sender: str = ALICE, **fields: Any) -> Event:
    return room.authorised(state, "m.room.topic", sender, {"topic": "T"}, **fields)


def levels(room: Branches, state: State, sender: str, **users: int) -> Event:
    return room.authorised(state, "m.room.power_levels", sender, room.level_content(**users))


def member(room: Branches, state: State, sender: str, membership: str, target: str | None = None) -> Event:
    return room.authorised(state, "m.room.member", sender, {"membership": membership}, target or sender)


def finished(room: Branches, known: Known, steps: Steps[T]) -> T:
    """What a part of the algorithm comes to when it gets all events that it asks for."""
    try:
        while True:
            known.events.update(room.load(next(steps).ids))  # type: ignore[union-attr]
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


@BOTH
def test_states_that_agree_stay_as_they_are(version: str) -> None:
    room = public_room(version)
    assert room.resolve(room.state, dict(room.state)) == room.state


@BOTH
def test_what_only_one_branch_has_is_in_conflict_and_stays_when_it_is_allowed(version: str) -> None:
    room = public_room(version)
    allowed, forbidden = topic(room, room.state), room.authorised(room.state, "m.room.name", CAROL, {"name": "N"})
    resolved = room.resolve(room.state, branch(room.state, allowed, forbidden))
    assert resolved[TOPIC] == allowed
    assert ("m.room.name", "") not in resolved


@BOTH
def test_the_later_one_of_two_topics_wins_and_then_the_greater_id(version: str) -> None:
    room = public_room(version)
    earlier, later = topic(room, room.state, origin_server_ts=50), topic(room, room.state, BOB, origin_server_ts=60)
    greater = max(topic(room, room.state, origin_server_ts=60), later, key=lambda event: event.event_id)
    assert room.resolve(branch(room.state, later), branch(room.state, earlier))[TOPIC] == later
    states = [branch(room.state, event) for event in (greater, earlier, later)]
    assert room.resolve(*states)[TOPIC] == greater


@BOTH
def test_what_rests_on_newer_power_levels_wins_over_what_claims_to_be_later(version: str) -> None:
    room = public_room(version)
    old = topic(room, room.state, origin_server_ts=1000)
    newer = branch(room.state, levels(room, room.state, ALICE, alice=100, bob=50, carol=50))
    new = topic(room, newer, CAROL, origin_server_ts=1)
    assert room.resolve(branch(room.state, old), branch(newer, new))[TOPIC] == new


@BOTH
def test_a_ban_comes_before_what_the_banned_did_meanwhile(version: str) -> None:
    room = public_room(version)
    ban = member(room, room.state, ALICE, "ban", BOB)
    states = [branch(room.state, topic(room, room.state, BOB)), branch(room.state, ban)]
    resolved = room.resolve(*states)
    assert resolved["m.room.member", BOB] == ban
    assert TOPIC not in resolved


@BOTH
def test_of_two_power_level_changes_that_of_the_mightier_comes_first(version: str) -> None:
    room = public_room(version)
    by_bob = levels(room, room.state, BOB, alice=100, bob=50, carol=50)
    by_alice = levels(room, room.state, ALICE, alice=100, bob=0)
    resolved = room.resolve(branch(room.state, by_bob), branch(room.state, by_alice))
    assert resolved[POWER_LEVELS] == by_alice


@BOTH
def test_a_join_does_not_pass_rules_that_were_closed_meanwhile(version: str) -> None:
    room = public_room(version)
    closed = room.authorised(room.state, "m.room.join_rules", ALICE, {"join_rule": "invite"})
    joined = member(room, room.state, DAVE, "join")
    resolved = room.resolve(branch(room.state, joined), branch(room.state, closed))
    assert resolved[JOIN_RULES] == closed
    assert ("m.room.member", DAVE) not in resolved


@BOTH
def test_a_ban_evaded_on_an_old_branch_stays_a_ban(version: str) -> None:
    room = public_room(version)
    before = room.state
    banned = branch(before, member(room, before, ALICE, "ban", CAROL))
    renamed = room.authorised(before, "m.room.member", CAROL, {"membership": "join", "displayname": "N"}, CAROL)
    assert room.resolve(banned, branch(before, renamed))["m.room.member", CAROL].membership == "ban"


@BOTH
def test_two_moderators_ban_each_other_and_the_mightier_stays(version: str) -> None:
    room = public_room(version)
    room.levels(alice=100, bob=50, carol=75)
    by_bob = member(room, room.state, BOB, "ban", CAROL)
    by_carol = member(room, room.state, CAROL, "ban", BOB)
    resolved = room.resolve(branch(room.state, by_bob), branch(room.state, by_carol))
    assert resolved["m.room.member", BOB] == by_carol
    assert resolved["m.room.member", CAROL].membership == "join"


@BOTH
def test_what_was_never_in_conflict_stays_whatever_is_replayed(version: str) -> None:
    room = public_room(version)
    old = room.state[POWER_LEVELS]
    name = topic(room, room.state)
    new = room.levels(alice=100)
    state = branch(room.state, topic(room, branch(room.state, old)))
    assert room.resolve(state, branch(room.state, name))[POWER_LEVELS] == new


@BOTH
@pytest.mark.parametrize("is_rejected", [False, True])
def test_a_rejected_auth_event_authorises_nothing(version: str, is_rejected: bool) -> None:
    room = public_room(version)
    promotion = levels(room, room.state, ALICE, alice=100, carol=100)
    if is_rejected:
        room.rejected.add(promotion.event_id)
    promoted = branch(room.state, promotion)
    name = room.authorised(promoted, "m.room.name", ALICE, {"name": "N"})
    # No state has the promotion, nor is it in conflict: it counts only because the topic names it.
    state = {key: event for key, event in branch(room.state, name).items() if key != POWER_LEVELS}
    resolved = room.resolve(branch(state, topic(room, promoted, CAROL)), state)
    assert (TOPIC in resolved) is not is_rejected


def test_creators_of_v12_come_first_and_lose_to_nobody() -> None:
    room = Branches("12", additional_creators=[CAROL])
    room.membership(ALICE)
    room.levels(bob=100)
    room.goes("m.room.join_rules", ALICE, {"join_rule": "public"})
    room.membership(BOB)
    room.membership(CAROL)
    kick = member(room, room.state, BOB, "leave", CAROL)
    demotion = levels(room, room.state, CAROL, bob=0)
    ban = member(room, room.state, BOB, "ban", DAVE)
    resolved = room.resolve(branch(room.state, kick, ban), branch(room.state, demotion))
    assert resolved[POWER_LEVELS] == demotion
    assert resolved["m.room.member", CAROL].membership == "join"
    assert ("m.room.member", DAVE) not in resolved


def test_power_events_take_their_auth_chain_along_even_through_what_is_in_all_states() -> None:
    room = public_room("11")
    room.goes("m.room.join_rules", ALICE, {"join_rule": "invite"})
    room.levels(alice=100, bob=50, dave=75)
    joined = room.state["m.room.member", BOB]
    room.membership(DAVE, "invite", BOB)
    room.membership(DAVE)
    by_dave = levels(room, room.state, DAVE, alice=100, bob=50, carol=25, dave=75)
    left = member(room, room.state, BOB, "leave")
    assert joined.event_id not in by_dave.auth_events
    states = [branch(room.state, by_dave), branch(room.state, left)]
    explanation = resolve_verbosely(room.version, states, room.load)[0].explanation
    assert explanation is not None
    orders = {trial.event: trial.order for trial in explanation.trials}
    assert orders[joined] is Order.POWER
    assert orders[left] is Order.MAINLINE


@BOTH
def test_reverse_topological_power_ordering(version: str) -> None:
    room = public_room(version)
    by_bob = [member(room, room.state, BOB, "ban", f"@{name}:one.example") for name in "abc"]
    by_alice = levels(room, room.state, ALICE, alice=100, bob=75)
    later = levels(room, branch(room.state, by_alice), ALICE, alice=100, bob=60)
    by_mightier_bob = member(room, branch(room.state, by_alice), BOB, "ban", "@d:one.example")
    first = room.authorised(
        room.state, "m.room.member", BOB, {"membership": "ban"}, "@e:one.example", origin_server_ts=1
    )
    tie = room.authorised(room.state, "m.room.member", BOB, {"membership": "ban"}, "@f:one.example", origin_server_ts=1)
    events = [later, *by_bob, by_mightier_bob, first, tie, by_alice]
    known = Known({event.event_id: event for event in events})
    steps = reverse_topological_power_ordering(known, known.events.keys())
    ordered = finished(room, known, steps)
    ties = sorted([first, tie], key=lambda event: event.event_id)
    assert [event for event, _ in ordered] == [by_alice, later, by_mightier_bob, *ties, *by_bob]
    assert [level for _, level in ordered[2:]] == [75, 50, 50, 50, 50, 50]


def test_events_in_a_cycle_are_not_ordered_and_hold_up_nothing() -> None:
    room = public_room("1")
    one = room.event("m.room.join_rules", ALICE, {}, "", auth_events=[room.create], event_id="$one:one.example")
    two = room.event("m.room.join_rules", ALICE, {}, "", auth_events=[one])
    forged = Event.from_stored(room.version, {**one.pdu, "auth_events": [[two.event_id, {}]]}, one.event_id)
    good = levels(room, room.state, ALICE, alice=100)
    known = Known({event.event_id: event for event in (forged, two, good)})
    ordered = finished(room, known, reverse_topological_power_ordering(known, known.events.keys()))
    assert [event for event, _ in ordered] == [good]


def line_of(room: Branches, length: int) -> list[State]:
    """States with one power level event more in each."""
    states: list[State] = []
    for number in range(length):
        room.levels(alice=100, bob=number)
        states.append(dict(room.state))
    return states


@pytest.mark.parametrize("length", [1, 2, 3, 8, 30])
def test_mainline_ordering(length: int) -> None:
    room = public_room("11")
    states = line_of(room, length)
    beside = branch(states[length // 2], levels(room, states[length // 2], ALICE, alice=100, carol=1))
    further = branch(beside, levels(room, beside, ALICE, alice=100, carol=2))
    head = room.state[POWER_LEVELS]
    topics = [topic(room, state, origin_server_ts=1000 - number) for number, state in enumerate(states)]
    off = [topic(room, further, origin_server_ts=1), topic(room, beside, origin_server_ts=2)]
    never = topic(room, {key: event for key, event in room.state.items() if key != POWER_LEVELS})
    known = Known({event.event_id: event for event in (head, never, *topics, *off)})
    ordered = dict(finished(room, known, mainline_ordering(known, head, [never, *topics, *off])))
    assert [ordered[event] for event in topics] == [length - 1 - number for number in range(length)]
    assert [ordered[event] for event in off] == [length - 1 - length // 2] * 2
    assert next(iter(ordered)) == never
    assert ordered[never] == float("inf")


def test_the_mainline_is_followed_only_as_far_as_it_is_needed() -> None:
    room = public_room("11")
    states = line_of(room, 60)
    head = room.state[POWER_LEVELS]
    beside = branch(states[57], levels(room, states[57], ALICE, alice=100, carol=1))
    events = [topic(room, states[54]), topic(room, beside)]
    known = Known({event.event_id: event for event in (head, *events)})
    ordered = finished(room, known, mainline_ordering(known, head, events))
    assert [position for _, position in ordered] == [5, 2]
    assert sum(event.type == "m.room.power_levels" for event in known.events.values()) < 25


def test_without_power_levels_the_time_decides() -> None:
    room = public_room("11")
    events = [topic(room, room.state, origin_server_ts=ts) for ts in (3, 1, 2)]
    ordered = finished(room, Known(), mainline_ordering(Known(), None, events))
    assert [event.origin_server_ts for event, _ in ordered] == [1, 2, 3]


def test_a_mainline_that_is_a_cycle_comes_to_an_end() -> None:
    room = public_room("1")
    one = levels(room, room.state, ALICE, alice=100)
    two = levels(room, branch(room.state, one), ALICE, alice=100)
    forged = Event.from_stored(room.version, {**one.pdu, "auth_events": [[two.event_id, {}]]}, one.event_id)
    room.events[one.event_id] = forged
    events = [topic(room, room.state), topic(room, branch(room.state, two))]
    known = Known({event.event_id: event for event in (forged, *events)})
    ordered = finished(room, known, mainline_ordering(known, forged, events))
    assert [position for _, position in ordered] == [float("inf"), 1]
