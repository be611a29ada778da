"""core/push/conditions: each condition of the specification, with the specification's own examples."""

from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels
from matrixd.core.push.conditions import (
    MAX_KEY_LENGTH,
    MAX_PATTERN_LENGTH,
    EventView,
    RoomContext,
    check_condition,
    compile_condition,
    never,
)
from tests.unit.core.room_factory import ALICE, BOB, RoomFactory

ROOM = RoomFactory()
ME = "@me:one.example"


def context(member_count: int = 3, names: dict[str, str] | None = None) -> RoomContext:
    return RoomContext(member_count, PowerLevels(ROOM.create, None), (names or {}).get)


def message(**content: Any) -> Event:
    return ROOM.event("m.room.message", BOB, content)


def holds(condition: dict[str, Any], event: Event, room: RoomContext | None = None, user: str | None = ME) -> bool:
    check_condition(condition, "condition")
    return compile_condition(condition)(EventView(event, room or context()), user)


def match(key: str, pattern: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


class TestEventMatch:
    @pytest.mark.parametrize(
        ("topic", "expected"),
        [("Lunch plans", True), ("LUNCH", True), (" lunch", False), ("lunc", False), (None, False), (1, False)],
    )
    def test_example(self, topic: object, expected: bool) -> None:
        event = ROOM.event("m.room.topic", ALICE, {"topic": topic}, "")
        assert holds(match("content.topic", "lunc?*"), event) is expected

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ("An example event.", True),
            ("exple", True),
            ("An exciting triple-whammy", True),
            ("EXAMPLE", True),
            ("examples", False),
            (3, False),
        ],
    )
    def test_body_example(self, body: object, expected: bool) -> None:
        assert holds(match("content.body", "ex*ple"), message(body=body)) is expected

    def test_absent_is_not_matched_by_a_star(self) -> None:
        assert not holds(match("content.nothing", "*"), message())
        assert not holds(match("content.body", "*"), message())
        assert not holds(match("state_key", ""), message())

    @pytest.mark.parametrize("key", ["type", "sender", "room_id", "event_id", "state_key"])
    def test_top_level(self, key: str) -> None:
        assert holds(match(key, "*"), ROOM.event("m.room.topic", ALICE, {}, ""))

    def test_what_clients_do_not_see_is_absent(self) -> None:
        for key in ("depth", "hashes", "prev_events", "unsigned.age"):
            assert not holds({"kind": "event_property_is", "key": key, "value": 1}, message())

    def test_redacts(self) -> None:
        redaction = ROOM.event("m.room.redaction", ALICE, {"redacts": "$x"})
        assert holds(match("redacts", "$x"), redaction)


class TestPropertyConditions:
    @pytest.mark.parametrize(
        ("value", "expected"), [(True, True), ("true", False), (1, False), (False, False), ({}, False), (None, False)]
    )
    def test_is(self, value: object, expected: bool) -> None:
        event = message(**{"m.federate": value})
        assert holds({"kind": "event_property_is", "key": "content.m\\.federate", "value": True}, event) is expected

    def test_null_is_not_absent(self) -> None:
        condition = {"kind": "event_property_is", "key": "content.x", "value": None}
        assert holds(condition, message(x=None))
        assert not holds(condition, message())

    @pytest.mark.parametrize(
        ("values", "expected"),
        [(["#a:b", "#c:d"], True), ([":d"], False), ([["#c:d"], {}], False), ("#c:d", False), ([], False)],
    )
    def test_contains(self, values: object, expected: bool) -> None:
        condition = {"kind": "event_property_contains", "key": "content.alt_aliases", "value": "#c:d"}
        assert holds(condition, message(alt_aliases=values)) is expected
        assert not holds(condition, message())

    def test_contains_does_not_cast(self) -> None:
        assert not holds({"kind": "event_property_contains", "key": "content.x", "value": 1}, message(x=[True, 1.0]))
        assert holds({"kind": "event_property_contains", "key": "content.x", "value": 1}, message(x=[True, 1]))


class TestRoomConditions:
    @pytest.mark.parametrize(
        ("text", "counts"),
        [
            ("3", [3]),
            ("==3", [3]),
            ("<3", [1, 2]),
            (">3", [4, 5]),
            ("<=3", [1, 2, 3]),
            (">=3", [3, 4, 5]),
            ("03", [3]),
        ],
    )
    def test_member_count(self, text: str, counts: list[int]) -> None:
        condition = {"kind": "room_member_count", "is": text}
        assert [n for n in range(1, 6) if holds(condition, message(), context(n))] == counts

    def test_sender_notification_permission(self) -> None:
        condition = {"kind": "sender_notification_permission", "key": "room"}
        assert holds(condition, ROOM.event("m.room.message", ALICE))
        assert not holds(condition, ROOM.event("m.room.message", BOB))

    @pytest.mark.parametrize(
        ("body", "name", "expected"),
        [
            ("hello Zoë!", "zoë", True),
            ("hello zoëy", "Zoë y", False),
            ("a*c", "a*c", True),
            ("abc", "a*c", False),
            ("hello", "", False),
            (None, "zoë", False),
        ],
    )
    def test_display_name(self, body: object, name: str, expected: bool) -> None:
        condition = {"kind": "contains_display_name"}
        assert holds(condition, message(body=body), context(names={ME: name})) is expected

    def test_display_name_of_nobody(self) -> None:
        assert not holds({"kind": "contains_display_name"}, message(body="x"))
        assert not holds({"kind": "contains_display_name"}, message(body="x"), user=None)
        nameless = RoomContext(3, PowerLevels(ROOM.create, None))
        assert not holds({"kind": "contains_display_name"}, message(body="x"), nameless)


class TestMentions:
    @pytest.mark.parametrize(
        ("mentions", "users"),
        [
            ({"user_ids": [BOB, 3, None, [], BOB]}, {BOB}),
            ({"user_ids": BOB}, set()),
            ({}, set()),
            ([BOB], set()),
        ],
    )
    def test_users(self, mentions: object, users: set[str]) -> None:
        view = EventView(message(**{"m.mentions": mentions}), context())
        assert view.mentioned_users == users
        assert view.mentioned_users == users


class TestChecks:
    @pytest.mark.parametrize(
        ("condition", "field"),
        [
            ("x", "'c'"),
            ({}, "'c.kind'"),
            ({"kind": 1}, "'c.kind'"),
            ({"kind": "event_match", "pattern": "a"}, "'c.key'"),
            ({"kind": "event_match", "key": "a"}, "'c.pattern'"),
            ({"kind": "event_match", "key": "a", "pattern": 1}, "'c.pattern'"),
            ({"kind": "event_match", "key": "a", "pattern": "x" * (MAX_PATTERN_LENGTH + 1)}, "'c.pattern'"),
            ({"kind": "event_match", "key": "x" * (MAX_KEY_LENGTH + 1), "pattern": ""}, "'c.key'"),
            ({"kind": "event_property_is", "key": "a"}, "'c.value'"),
            ({"kind": "event_property_is", "key": "a", "value": 1.5}, "'c.value'"),
            ({"kind": "event_property_is", "key": "a", "value": 2**53}, "'c.value'"),
            ({"kind": "event_property_contains", "key": "a", "value": []}, "'c.value'"),
            ({"kind": "room_member_count"}, "'c.is'"),
            ({"kind": "room_member_count", "is": "=2"}, "'c.is'"),
            ({"kind": "room_member_count", "is": "-1"}, "'c.is'"),
            ({"kind": "room_member_count", "is": "\u0663"}, "'c.is'"),
            ({"kind": "sender_notification_permission"}, "'c.key'"),
        ],
    )
    def test_refused_and_never_matching(self, condition: Any, field: str) -> None:
        with pytest.raises(MatrixError) as caught:
            check_condition(condition, "c")
        assert (caught.value.status, caught.value.errcode) == (400, "M_BAD_JSON")
        assert field in caught.value.error
        assert compile_condition(condition) is never

    def test_unknown_kind(self) -> None:
        assert not holds({"kind": "org.example.moon_is_full"}, message(body="x"))
