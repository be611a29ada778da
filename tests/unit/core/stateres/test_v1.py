"""https://spec.matrix.org/v1.19/rooms/v1/#state-resolution"""

from __future__ import annotations

from hashlib import sha1

import pytest

from matrixd.core.event import Event
from tests.unit.core.room_factory import ALICE, BOB, CAROL, DAVE
from tests.unit.core.stateres.branches import Branches, branch

TOPIC = ("m.room.topic", "")
POWER_LEVELS = ("m.room.power_levels", "")


@pytest.fixture
def room() -> Branches:
    """Public; alice has level 100, bob 50, carol none."""
    room = Branches("1")
    room.membership(ALICE)
    room.levels(alice=100, bob=50)
    room.goes("m.room.join_rules", ALICE, {"join_rule": "public"})
    room.membership(BOB)
    room.membership(CAROL)
    return room


def topic(room: Branches, sender: str = ALICE, depth: int = 10) -> Event:
    return room.authorised(room.state, "m.room.topic", sender, {"topic": "T"}, depth=depth)


def levels(room: Branches, sender: str, depth: int, **users: int) -> Event:
    return room.authorised(room.state, "m.room.power_levels", sender, room.level_content(**users), depth=depth)


def by_hash(*events: Event) -> list[Event]:
    return sorted(events, key=lambda event: sha1(event.event_id.encode()).hexdigest())


def test_states_that_agree_stay_as_they_are(room: Branches) -> None:
    assert room.resolve(room.state, dict(room.state)) == room.state


def test_a_key_that_one_state_lacks_is_in_no_conflict(room: Branches) -> None:
    event = topic(room)
    assert room.resolve(room.state, branch(room.state, event))[TOPIC] == event


def test_the_deepest_event_wins(room: Branches) -> None:
    shallow, deep = topic(room, depth=10), topic(room, depth=11)
    assert room.resolve(branch(room.state, deep), branch(room.state, shallow))[TOPIC] == deep


def test_of_equally_deep_ones_the_lowest_hash_wins(room: Branches) -> None:
    events = [topic(room) for _ in range(8)]
    assert room.resolve(*(branch(room.state, event) for event in events))[TOPIC] == by_hash(*events)[0]


def test_what_the_rules_do_not_allow_is_passed_over(room: Branches) -> None:
    allowed, forbidden = topic(room, depth=10), topic(room, sender=CAROL, depth=11)
    assert room.resolve(branch(room.state, forbidden), branch(room.state, allowed))[TOPIC] == allowed


def test_nothing_is_added_when_nothing_is_allowed(room: Branches) -> None:
    state = room.resolve(branch(room.state, topic(room, CAROL)), branch(room.state, topic(room, DAVE)))
    assert TOPIC not in state


def test_power_levels_go_up_from_the_least_deep_until_one_is_not_allowed(room: Branches) -> None:
    first = room.state[POWER_LEVELS]
    second = levels(room, ALICE, 20, alice=100, bob=0)
    by_the_demoted = levels(room, BOB, 21, alice=100, bob=50, carol=50)
    after_that = levels(room, ALICE, 22, alice=100, bob=50, carol=25)
    states = [branch(room.state, event) for event in (second, by_the_demoted, after_that, first)]
    assert room.resolve(*states)[POWER_LEVELS] == second
    assert room.resolve(*states[::2])[POWER_LEVELS] == after_that


def test_the_first_power_levels_are_taken_unchecked(room: Branches) -> None:
    by_nobody = levels(room, DAVE, 1, dave=100)
    later = levels(room, ALICE, 2, alice=100)
    resolved = room.resolve(branch(room.state, by_nobody), branch(room.state, later))
    assert resolved[POWER_LEVELS] == by_nobody


def test_equally_deep_power_levels_go_by_descending_hash(room: Branches) -> None:
    events = [levels(room, ALICE, 20, alice=100, bob=number) for number in range(6)]
    assert room.resolve(*(branch(room.state, event) for event in events))[POWER_LEVELS] == by_hash(*events)[0]


def test_join_rules_are_settled_before_members_and_members_before_the_rest(room: Branches) -> None:
    private = room.authorised(room.state, "m.room.join_rules", ALICE, {"join_rule": "invite"}, depth=20)
    left = room.authorised(room.state, "m.room.member", DAVE, {"membership": "leave"}, DAVE, depth=21)
    joined = room.authorised(room.state, "m.room.member", DAVE, {"membership": "join"}, DAVE, depth=22)
    banned = room.authorised(room.state, "m.room.member", ALICE, {"membership": "ban"}, BOB, depth=23)
    by_banned, by_alice = topic(room, BOB, depth=25), topic(room, ALICE, depth=24)
    resolved = room.resolve(branch(room.state, private, left, banned, by_banned), branch(room.state, joined, by_alice))
    assert resolved["m.room.join_rules", ""] == private
    assert resolved["m.room.member", DAVE] == left
    assert resolved["m.room.member", BOB] == banned
    assert resolved[TOPIC] == by_alice
