"""Changes of power levels: nobody gives or takes more power than they have."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.auth.power_levels import NAMED_LEVELS
from matrixd.core.power import PowerLevels
from tests.unit.core.room_factory import ALICE, BOB, CAROL, DAVE, VERSIONS, RoomFactory, versions

EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS)
NEW = "@new:two.example"


def _room(version: str, **content: Any) -> RoomFactory:
    """ALICE has 100 or created the room, BOB and CAROL have 50, DAVE 60; 50 suffices to change power levels."""
    users = {BOB: 50, CAROL: 50, DAVE: 60} | ({} if version == "12" else {ALICE: 100})
    return RoomFactory(version).joined(ALICE, BOB, CAROL).power(users, **content)


def _change(room: RoomFactory, sender: str = BOB, /, **changes: Any) -> str | None:
    """The verdict on the room's power levels with some members of the content replaced, or (None) removed."""
    content = {**room.state["m.room.power_levels", ""].content, **changes}
    content = {key: value for key, value in content.items() if value is not None}
    return room.verdict(room.event("m.room.power_levels", sender, content, ""))


def _users(room: RoomFactory, sender: str = BOB, /, **users: Any) -> str | None:
    """The same for entries of `users`, by localpart."""
    ids = {"alice": ALICE, "bob": BOB, "carol": CAROL, "dave": DAVE, "new": NEW}
    merged = {**room.state["m.room.power_levels", ""].content["users"], **{ids[key]: users[key] for key in users}}
    return _change(room, sender, users={key: value for key, value in merged.items() if value is not None})


@EVERY_VERSION
def test_no_change_is_allowed(version: str) -> None:
    assert _change(_room(version, ban=100, events={"m.room.name": 100})) is None


@EVERY_VERSION
def test_the_first_levels_can_be_anything(version: str) -> None:
    room = RoomFactory(version).joined(ALICE)
    event = room.event("m.room.power_levels", ALICE, {"users": {BOB: 10**6}, "ban": 10**6}, "")
    assert room.verdict(event) is None


class TestFormat:
    @pytest.mark.parametrize("name", NAMED_LEVELS)
    @pytest.mark.parametrize("value", ["50", 50.0, 50.5, True, [], {}, "x"])
    @EVERY_VERSION
    def test_named_levels(self, version: str, name: str, value: Any) -> None:
        expected = "POWER_LEVELS_FORMAT" if version in versions(since=10) else None
        assert _change(_room(version), ALICE, **{name: value}) == expected

    @pytest.mark.parametrize("name", ["events", "notifications"])
    @pytest.mark.parametrize("value", ["50", 50, True, [], [50], {"a": "50"}, {"a": 50.0}, {"a": None}, {"a": True}])
    @EVERY_VERSION
    def test_objects_of_levels(self, version: str, name: str, value: Any) -> None:
        expected = "POWER_LEVELS_FORMAT" if version in versions(since=10) else None
        assert _change(_room(version), ALICE, **{name: value}) == expected

    @pytest.mark.parametrize("name", ["ban", "users_default"])
    @EVERY_VERSION
    def test_null_is_no_level(self, version: str, name: str) -> None:
        room = _room(version)
        event = room.event("m.room.power_levels", ALICE, {"users": {}, name: None}, "")
        if version != "12":
            room.power({ALICE: 100})
            event = room.event("m.room.power_levels", ALICE, {"users": {ALICE: 100}, name: None}, "")
        assert room.verdict(event) == ("POWER_LEVELS_FORMAT" if version in versions(since=10) else None)

    @pytest.mark.parametrize("value", ["x", 50, True, [], [BOB]])
    @EVERY_VERSION
    def test_users_is_an_object(self, version: str, value: Any) -> None:
        assert _change(_room(version), ALICE, users=value) == "POWER_LEVELS_FORMAT"

    @pytest.mark.parametrize("level", [None, True, "x", "", "1.5", [], {}, math.inf, math.nan])
    @EVERY_VERSION
    def test_levels_of_users_can_be_read(self, version: str, level: Any) -> None:
        room = RoomFactory(version).joined(ALICE)
        event = room.event("m.room.power_levels", ALICE, {"users": {BOB: level}}, "")
        assert room.verdict(event) == "POWER_LEVELS_FORMAT"

    @EVERY_VERSION
    def test_strings_are_levels_of_users_until_9(self, version: str) -> None:
        expected = None if version in versions(until=9) else "POWER_LEVELS_FORMAT"
        assert _users(_room(version), ALICE, bob=" +060 ") == expected

    @EVERY_VERSION
    def test_floats_are_levels_of_users_until_5(self, version: str) -> None:
        expected = None if version in versions(until=5) else "POWER_LEVELS_FORMAT"
        assert _users(_room(version), ALICE, bob=60.9) == expected

    @pytest.mark.parametrize("user_id", ["", "bob", "@bob", "@bob:", "bob:one.example", "#bob:one.example", "@a:b c"])
    @EVERY_VERSION
    def test_keys_of_users_are_user_ids(self, version: str, user_id: str) -> None:
        room = RoomFactory(version).joined(ALICE)
        event = room.event("m.room.power_levels", ALICE, {"users": {user_id: 0}}, "")
        assert room.verdict(event) == "POWER_LEVELS_FORMAT"

    @pytest.mark.parametrize("user_id", ["@:one.example", "@Old Name!:one.example", "@bob:[::1]:8448"])
    @EVERY_VERSION
    def test_historical_user_ids_are_user_ids(self, version: str, user_id: str) -> None:
        room = RoomFactory(version).joined(ALICE)
        assert room.verdict(room.event("m.room.power_levels", ALICE, {"users": {user_id: 0}}, "")) is None

    @pytest.mark.parametrize("place", ["ban", "events", "notifications"])
    @pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 10**400])
    @pytest.mark.parametrize("version", versions(until=5))
    def test_numbers_beyond_a_double_are_rejected_until_5(self, version: str, place: str, value: float) -> None:
        content = {place: value if place == "ban" else {"a": value}}
        assert _change(_room(version), ALICE, **content) == "POWER_LEVELS_FORMAT"

    @EVERY_VERSION
    def test_users_may_be_missing(self, version: str) -> None:
        room = RoomFactory(version).joined(ALICE)
        assert room.verdict(room.event("m.room.power_levels", ALICE, {"ban": 60}, "")) is None


class TestCreators:
    @pytest.mark.parametrize("user_id", [ALICE, CAROL])
    @pytest.mark.parametrize("first", [True, False])
    @EVERY_VERSION
    def test_are_not_named_in_12(self, version: str, user_id: str, first: bool) -> None:
        room = RoomFactory(version, additional_creators=[CAROL]).joined(ALICE)
        if not first:
            room.power({} if version == "12" else {ALICE: 100})
        users = {ALICE: 100} if version != "12" else {}
        event = room.event("m.room.power_levels", ALICE, {"users": {**users, user_id: 100}}, "")
        assert room.verdict(event) == ("POWER_LEVELS_NAME_CREATOR" if version == "12" else None)

    def test_give_any_level_in_12(self) -> None:
        assert _users(_room("12"), ALICE, bob=2**53 - 1, dave=None) is None
        assert _change(_room("12"), ALICE, ban=2**53 - 1) is None


class TestNamedLevels:
    @pytest.mark.parametrize("name", NAMED_LEVELS)
    @EVERY_VERSION
    def test_up_to_the_own(self, version: str, name: str) -> None:
        # The level is added, changed, and removed.
        assert _change(_room(version), **{name: 50}) is None
        assert _change(_room(version), **{name: 51}) == "POWER_LEVELS_ABOVE_SENDER"
        assert _change(_room(version), ALICE, **{name: 51}) is None
        if name not in ("state_default", "users_default"):
            assert _change(_room(version, **{name: 50}), **{name: 20}) is None
            assert _change(_room(version, **{name: 50}), **{name: 51}) == "POWER_LEVELS_ABOVE_SENDER"
            assert _change(_room(version, **{name: 51}), **{name: 20}) == "POWER_LEVELS_ABOVE_SENDER"
            assert _change(_room(version, **{name: 51}), **{name: None}) == "POWER_LEVELS_ABOVE_SENDER"
            assert _change(_room(version, **{name: 50}), **{name: None}) is None

    @pytest.mark.parametrize("version", versions(until=9))
    def test_another_spelling_is_no_change(self, version: str) -> None:
        assert _change(_room(version, ban="100"), ban=100) is None
        assert _change(_room(version, ban=100), ban=" 0100 ") is None


class TestEntries:
    @pytest.mark.parametrize(("name", "since"), [("events", 1), ("notifications", 6)])
    @pytest.mark.parametrize(
        ("old", "new", "allowed"),
        [
            (None, 50, True),
            (None, 51, False),
            (50, 20, True),
            (50, 51, False),
            (51, 20, False),
            (50, None, True),
            (51, None, False),
            (51, 51, True),
        ],
    )
    @EVERY_VERSION
    def test_up_to_the_own(
        self, version: str, name: str, since: int, old: int | None, new: int | None, allowed: bool
    ) -> None:
        def entries(level: int | None) -> dict[str, int]:
            return {"other": 20} | ({} if level is None else {"room": level})

        expected = None if allowed or version not in versions(since=since) else "POWER_LEVELS_ABOVE_SENDER"
        assert _change(_room(version, **{name: entries(old)}), **{name: entries(new)}) == expected

    @EVERY_VERSION
    def test_the_object_itself_may_come_and_go(self, version: str) -> None:
        assert _change(_room(version), events={"m.room.name": 51}) == "POWER_LEVELS_ABOVE_SENDER"
        assert _change(_room(version, events={"m.room.name": 51}), events=None) == "POWER_LEVELS_ABOVE_SENDER"
        assert _change(_room(version, events={"m.room.name": 50}), events=None) is None


class TestUsers:
    @EVERY_VERSION
    def test_new_entries_up_to_the_own(self, version: str) -> None:
        assert _users(_room(version), new=50) is None
        assert _users(_room(version), new=51) == "POWER_LEVELS_ABOVE_SENDER"

    @EVERY_VERSION
    def test_own_entry_only_down(self, version: str) -> None:
        assert _users(_room(version), bob=20) is None
        assert _users(_room(version), bob=None) is None
        assert _users(_room(version), bob=51) == "POWER_LEVELS_ABOVE_SENDER"

    @pytest.mark.parametrize("level", [None, 0, 55, 60, 100])
    @EVERY_VERSION
    def test_equals_and_betters_stay(self, version: str, level: int | None) -> None:
        assert _users(_room(version), carol=level) == "POWER_LEVELS_OF_EQUAL_USER"
        expected = None if level == 60 else "POWER_LEVELS_OF_EQUAL_USER"
        assert _users(_room(version), dave=level) == expected

    @EVERY_VERSION
    def test_those_below_move_up_to_the_own(self, version: str) -> None:
        room = RoomFactory(version).joined(BOB).power({BOB: 50, NEW: 49})
        assert _users(room, new=50) is None
        assert _users(room, new=None) is None
        assert _users(room, new=51) == "POWER_LEVELS_ABOVE_SENDER"

    @pytest.mark.parametrize("version", versions(until=9))
    def test_unreadable_old_levels_do_not_stop_anybody(self, version: str) -> None:
        room = RoomFactory(version).joined(ALICE).power({ALICE: 100}, events=[], ban=None, notifications="x")
        assert _change(room, ALICE, events={"m.room.name": 100}, ban=100, notifications={"room": 100}) is None


LEVEL = st.integers(min_value=0, max_value=3)
LEVELS = st.fixed_dictionaries(
    {"users": st.dictionaries(st.sampled_from([BOB, CAROL, DAVE, NEW]), LEVEL)},
    optional={
        "ban": LEVEL,
        "kick": LEVEL,
        "users_default": LEVEL,
        "events": st.dictionaries(st.sampled_from(["a", "m.room.power_levels"]), LEVEL),
        "notifications": st.dictionaries(st.just("room"), LEVEL),
    },
)


@settings(max_examples=200, deadline=None)
@given(version=st.sampled_from(VERSIONS), old=LEVELS, new=LEVELS, sender=st.sampled_from([BOB, CAROL]))
def test_nobody_rises_by_an_own_change(version: str, old: Any, new: Any, sender: str) -> None:
    """Whatever change is allowed: its sender gains nothing, and whoever was above the sender loses nothing."""
    room = RoomFactory(version).joined(sender).with_state("m.room.power_levels", {"state_default": 0, **old})
    before = PowerLevels.in_state(room.state)
    change = room.event("m.room.power_levels", sender, {"state_default": 0, **new}, "")
    if room.verdict(change) is None:
        after = PowerLevels(room.create, change)
        own = before.of(sender)
        # users_default may rise up to the own level, and raises whoever has no entry of their own. Whose entry is taken
        # away gets what everybody has.
        default = before.of("@stranger:elsewhere.example")
        assert after.of(sender) <= max(own, default)
        for user_id in (BOB, CAROL, DAVE, NEW):
            assert after.of(user_id) <= max(own, before.of(user_id), default)
            if user_id != sender and before.of(user_id) >= own and user_id in old["users"]:
                assert after.of(user_id) == before.of(user_id)
