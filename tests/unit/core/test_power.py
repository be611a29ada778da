"""Power levels as questions are asked about them."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.event import Event
from matrixd.core.power import CREATOR_LEVEL, PowerLevels, creators, is_creator, level_map, level_text, read_level
from matrixd.core.versions import PowerLevelFormat
from tests.unit.core.room_factory import ALICE, BOB, CAROL, VERSIONS, RoomFactory, versions

FLOAT, TEXT, INTEGER = PowerLevelFormat.INTEGER_STRING_FLOAT, PowerLevelFormat.INTEGER_STRING, PowerLevelFormat.INTEGER


def _levels(room: RoomFactory) -> PowerLevels:
    return PowerLevels.in_state(room.state)


@pytest.mark.parametrize("form", PowerLevelFormat)
@pytest.mark.parametrize("value", [0, 50, -1, 2**53 - 1])
def test_integers_are_levels_everywhere(form: PowerLevelFormat, value: int) -> None:
    assert read_level(form, value) == value


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("100", 100),
        ("000100", 100),
        ("+100", 100),
        ("-100", -100),
        (" 100 ", 100),
        ("\t 00100\n", 100),
        (" -00100 ", -100),
        ("0", 0),
        ("-0", 0),
        ("0" * 60_000 + "7", 7),
        ("", None),
        (" ", None),
        ("+", None),
        ("--1", None),
        ("+ 1", None),
        ("1_000", None),
        ("1.0", None),
        ("1e3", None),
        ("٣", None),
        ("²", None),
        ("0x10", None),
        ("9" * 309, None),
        ("9" * 60_000, None),
    ],
)
def test_strings_until_version_9(text: str, level: int | None) -> None:
    assert read_level(FLOAT, text) == level
    assert read_level(TEXT, text) == level
    assert read_level(INTEGER, text) is None


@pytest.mark.parametrize(
    ("value", "level"),
    [(5.114698e4, 51146), (50.57, 50), (-50.57, -50), (-0.5, 0), (1e308, int(1e308)), (math.inf, None)],
)
def test_floats_until_version_5(value: float, level: int | None) -> None:
    assert read_level(FLOAT, value) == level
    assert read_level(TEXT, value) is None
    assert read_level(INTEGER, value) is None


@pytest.mark.parametrize("form", PowerLevelFormat)
@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_odd_floats_are_no_levels(form: PowerLevelFormat, value: float) -> None:
    assert read_level(form, value) is None


def test_integers_beyond_a_double_are_no_levels() -> None:
    assert read_level(FLOAT, 10**400) is None
    assert read_level(TEXT, -(10**400)) is None


@pytest.mark.parametrize("form", PowerLevelFormat)
@pytest.mark.parametrize("value", [True, False, None, [], {}, [50], {"level": 50}])
def test_other_json_is_no_level(form: PowerLevelFormat, value: Any) -> None:
    assert read_level(form, value) is None


def test_level_map_skips_what_it_cannot_read() -> None:
    assert level_map(TEXT, {"a": 1, "b": "2", "c": None, "d": 1.5}) == {"a": 1, "b": 2}
    assert level_map(TEXT, ["a"]) == {}
    assert level_map(TEXT, None) == {}


@pytest.mark.parametrize("version", versions(until=10))
def test_creator_is_named_until_10(version: str) -> None:
    room = RoomFactory(version, additional_creators=[CAROL])
    other = RoomFactory(version, creator=BOB)
    assert creators(room.create) == {ALICE}
    assert creators(other.create) == {BOB}
    assert is_creator(other.create, BOB)
    assert not is_creator(other.create, ALICE)
    assert not is_creator(room.create, CAROL)


@pytest.mark.parametrize("creator", [17, None, ["@alice:one.example"]])
def test_a_creator_that_is_no_string_is_nobody(creator: Any) -> None:
    room = RoomFactory("10", creator=creator)
    assert creators(room.create) == frozenset()
    assert not is_creator(room.create, ALICE)


def test_creator_is_the_sender_in_11() -> None:
    room = RoomFactory("11", creator=BOB, additional_creators=[CAROL])
    assert creators(room.create) == {ALICE}
    assert is_creator(room.create, ALICE)
    assert not is_creator(room.create, BOB)
    assert not is_creator(room.create, CAROL)


def test_additional_creators_in_12() -> None:
    room = RoomFactory("12", additional_creators=[CAROL, 17])
    assert creators(room.create) == {ALICE, CAROL}
    assert is_creator(room.create, ALICE)
    assert is_creator(room.create, CAROL)
    assert not is_creator(room.create, BOB)
    odd = RoomFactory("12", additional_creators={CAROL: 1})
    assert creators(odd.create) == {ALICE}
    assert not is_creator(odd.create, CAROL)


@pytest.mark.parametrize("version", VERSIONS)
def test_defaults_without_power_levels(version: str) -> None:
    levels = _levels(RoomFactory(version))
    assert (levels.invite, levels.kick, levels.ban, levels.redact) == (0, 50, 50, 50)
    assert levels.to_send("m.room.message", is_state=False) == 0
    assert levels.to_send("m.room.topic", is_state=True) == 50
    assert levels.to_notify("room") == 50
    assert levels.of(ALICE) == (CREATOR_LEVEL if version == "12" else 100)
    assert levels.of(BOB) == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_defaults_with_empty_power_levels(version: str) -> None:
    levels = _levels(RoomFactory(version).power())
    assert (levels.invite, levels.kick, levels.ban, levels.redact) == (0, 50, 50, 50)
    assert levels.to_send("m.room.message", is_state=False) == 0
    assert levels.to_send("m.room.topic", is_state=True) == 50
    assert levels.of(ALICE) == (CREATOR_LEVEL if version == "12" else 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_levels_that_are_set(version: str) -> None:
    room = RoomFactory(version).power(
        {BOB: 70, CAROL: -5},
        users_default=3,
        invite=10,
        kick=20,
        ban=30,
        redact=40,
        events={"m.room.topic": 60, "m.reaction": 4},
        events_default=1,
        state_default=80,
        notifications={"room": 25},
    )
    levels = _levels(room)
    assert (levels.invite, levels.kick, levels.ban, levels.redact) == (10, 20, 30, 40)
    assert [levels.of(user_id) for user_id in (BOB, CAROL, "@new:one.example")] == [70, -5, 3]
    assert levels.to_send("m.room.topic", is_state=True) == 60
    assert levels.to_send("m.reaction", is_state=False) == 4
    assert levels.to_send("m.room.message", is_state=False) == 1
    assert levels.to_send("m.room.name", is_state=True) == 80
    assert (levels.to_notify("room"), levels.to_notify("other")) == (25, 50)


def test_questions_about_what_a_user_can_do() -> None:
    room = RoomFactory("11").power({ALICE: 100, BOB: 50, CAROL: 50}, invite=50, notifications={"room": 50})
    levels = _levels(room)
    assert levels.can_send(BOB, "m.room.topic", is_state=True)
    assert not levels.can_send("@new:one.example", "m.room.topic", is_state=True)
    assert levels.can_invite(BOB)
    assert not levels.can_invite("@new:one.example")
    for can in (levels.can_kick, levels.can_ban):
        assert can(ALICE, BOB)
        assert can(BOB, "@new:one.example")
        assert not can(BOB, CAROL)
        assert not can("@new:one.example", "@newer:one.example")
    assert levels.can_notify(BOB, "room")
    assert not levels.can_notify("@new:one.example", "room")


def test_creators_are_above_all_but_each_other() -> None:
    levels = _levels(RoomFactory("12", additional_creators=[CAROL]).power({BOB: 2**53 - 1}))
    assert levels.can_ban(ALICE, BOB)
    assert levels.can_ban(CAROL, BOB)
    assert not levels.can_ban(ALICE, CAROL)
    assert not levels.can_ban(BOB, ALICE)


@pytest.mark.parametrize("version", versions(until=9))
def test_strings_count(version: str) -> None:
    levels = _levels(RoomFactory(version).power({BOB: " +070 "}, ban="30", events={"m.room.topic": "60"}))
    assert (levels.of(BOB), levels.ban, levels.to_send("m.room.topic", is_state=True)) == (70, 30, 60)


def test_state_without_creation_is_no_room() -> None:
    with pytest.raises(KeyError):
        PowerLevels.in_state({})


def test_levels_in_sentences() -> None:
    assert level_text(CREATOR_LEVEL) == "infinite"
    assert level_text(50) == "50"
    assert level_text(-2) == "-2"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
NAMES = ("users", "events", "notifications", "users_default", "events_default", "state_default", "ban", "invite")


@settings(max_examples=150, deadline=None)
@given(version=st.sampled_from(VERSIONS), content=st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_json_gives_levels(version: str, content: dict[str, Any]) -> None:
    room = RoomFactory(version)
    event: Event = room.event("m.room.power_levels", ALICE, content, "")
    levels = PowerLevels(room.create, event)
    answers = [
        levels.of(BOB),
        levels.invite,
        levels.kick,
        levels.ban,
        levels.redact,
        levels.to_send("m.room.message", is_state=False),
        levels.to_send("m.room.topic", is_state=True),
        levels.to_notify("room"),
    ]
    assert all(type(answer) is int for answer in answers)
    assert json.dumps(answers)
