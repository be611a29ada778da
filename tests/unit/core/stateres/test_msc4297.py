"""The problem cases that MSC4297 publishes: v2.0 resets state, v2.1 does not.

https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4297-state-resolution-v2_1.md

In both, a server learned the state of one branch by partial synchronisation, and one entry of it is outdated.
"""

from __future__ import annotations

import pytest

from matrixd.core.event import Event
from tests.unit.core.room_factory import ALICE, BOB
from tests.unit.core.stateres.branches import Branches, State, branch

CHARLIE = "@charlie:two.example"
EVE = "@eve:three.example"
ZARA = "@zara:three.example"

JOIN_RULES = ("m.room.join_rules", "")
POWER_LEVELS = ("m.room.power_levels", "")


def named(room: Branches, state: State, user_id: str) -> Event:
    """The user changes the display name."""
    return room.authorised(state, "m.room.member", user_id, {"membership": "join", "displayname": "New"}, user_id)


def problem_a(version: str) -> tuple[Branches, State, State, Event]:
    """Alice, who set the join rules, has left. The state of one branch has the join rules of before."""
    room = Branches(version)
    room.membership(ALICE)
    room.levels(alice=100)
    public = room.goes(JOIN_RULES[0], ALICE, {"join_rule": "public"})
    room.membership(BOB)
    room.membership(CHARLIE)
    invite = room.goes(JOIN_RULES[0], ALICE, {"join_rule": "invite"})
    room.membership(ALICE, "leave")
    ours = branch(room.state, named(room, room.state, BOB))
    theirs = branch(room.state, named(room, room.state, CHARLIE), public)
    return room, ours, theirs, invite


def problem_b(version: str) -> tuple[Branches, State, State, list[Event]]:
    """Alice promotes Bob, Bob promotes Charlie. The state of one branch has the power levels of before.

    The answer has the three power level events. Events name what the published picture has them name: Charlie's
    membership is of after the last of these.
    """
    room = Branches(version)
    room.membership(ALICE)
    first = room.levels(alice=100)
    room.goes(JOIN_RULES[0], ALICE, {"join_rule": "public"})
    room.membership(BOB)
    room.membership(CHARLIE)
    second = room.levels(alice=100, bob=50)
    third = room.levels(BOB, alice=100, bob=50, charlie=50)
    room.put(named(room, room.state, CHARLIE))
    eve = room.authorised(room.state, "m.room.member", EVE, {"membership": "join"}, EVE)
    eves_state = branch(room.state, eve)
    ours = branch(eves_state, named(room, eves_state, EVE), first)
    theirs = branch(room.state, room.authorised(room.state, "m.room.member", ZARA, {"membership": "join"}, ZARA))
    return room, ours, theirs, [first, second, third]


@pytest.mark.parametrize("version", ["2", "6", "10", "11"])
def test_problem_a_in_v2_0_the_join_rules_are_lost(version: str) -> None:
    room, ours, theirs, _ = problem_a(version)
    assert JOIN_RULES not in room.resolve(ours, theirs)


def test_problem_a_in_v2_1_the_newer_join_rules_stay() -> None:
    room, ours, theirs, invite = problem_a("12")
    resolved = room.resolve(ours, theirs)
    assert resolved[JOIN_RULES] == invite
    assert resolved["m.room.member", ALICE].content["membership"] == "leave"
    assert {resolved["m.room.member", user_id].content.get("displayname") for user_id in (BOB, CHARLIE)} == {"New"}


@pytest.mark.parametrize("version", ["2", "6", "10", "11"])
def test_problem_b_in_v2_0_the_power_levels_are_reset(version: str) -> None:
    room, ours, theirs, levels = problem_b(version)
    assert room.resolve(ours, theirs)[POWER_LEVELS] == levels[0]


def test_problem_b_in_v2_1_the_power_levels_stay() -> None:
    room, ours, theirs, levels = problem_b("12")
    resolved = room.resolve(ours, theirs)
    assert resolved[POWER_LEVELS] == levels[2]
    assert resolved["m.room.member", EVE].content["displayname"] == "New"
    assert resolved["m.room.member", ZARA].membership == "join"
