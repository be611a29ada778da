"""core/filters: what a filter lets through, and that a wrong one is refused by the name of its field."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.errors import MatrixError
from matrixd.core.filters import (
    EMPTY_FILTER,
    MAX_FILTER_BYTES,
    MAX_LIST_LENGTH,
    EventFilter,
    parse_filter,
    parse_json,
    parse_room_event_filter,
    stored_form,
)
from tests.unit.core.room_factory import ALICE, BOB, RoomFactory

ROOM = RoomFactory()
EXAMPLE: dict[str, Any] = {
    "room": {
        "state": {"types": ["m.room.*"], "not_rooms": ["!726s6s6q:example.com"]},
        "timeline": {
            "limit": 10,
            "types": ["m.room.message"],
            "not_rooms": ["!726s6s6q:example.com"],
            "not_senders": ["@spam:example.com"],
        },
        "ephemeral": {
            "types": ["m.receipt", "m.typing"],
            "not_rooms": ["!726s6s6q:example.com"],
            "not_senders": ["@spam:example.com"],
        },
    },
    "presence": {"types": ["m.presence"], "not_senders": ["@alice:example.com"]},
    "event_format": "client",
    "event_fields": ["type", "content", "sender", "content.m\\.relates_to.key"],
}


def refusal(value: object) -> MatrixError:
    with pytest.raises(MatrixError) as caught:
        parse_filter(value)
    return caught.value


class TestParse:
    def test_example_of_the_specification(self) -> None:
        parsed = parse_filter(EXAMPLE)
        assert parsed.event_fields == (("type",), ("content",), ("sender",), ("content", "m.relates_to", "key"))
        assert not parsed.federation_format
        assert parsed.presence == EventFilter(types=("m.presence",), not_senders=frozenset({"@alice:example.com"}))
        assert parsed.room.timeline.limit == 10
        assert parsed.room.state.not_rooms == {"!726s6s6q:example.com"}
        assert parsed.room.account_data == EventFilter()
        assert not parsed.is_passthrough
        assert not parsed.shares_bytes

    def test_all_fields(self) -> None:
        parsed = parse_filter(
            {
                "event_format": "federation",
                "account_data": {"senders": ["@a:b"], "limit": 0},
                "room": {
                    "rooms": ["!a:b"],
                    "not_rooms": ["!c"],
                    "include_leave": True,
                    "account_data": {"contains_url": False},
                    "timeline": {
                        "lazy_load_members": True,
                        "include_redundant_members": True,
                        "unread_thread_notifications": True,
                        "contains_url": True,
                        "rooms": ["!a:b"],
                    },
                },
            }
        )
        assert parsed.federation_format
        assert parsed.account_data == EventFilter(limit=0, senders=frozenset({"@a:b"}))
        room = parsed.room
        assert (room.include_leave, room.account_data.contains_url) == (True, False)
        assert [room.matches_room(room_id) for room_id in ("!a:b", "!c", "!d")] == [True, False, False]
        timeline = room.timeline
        assert timeline.lazy_load_members
        assert timeline.include_redundant_members
        assert timeline.unread_thread_notifications
        assert not timeline.is_passthrough

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"event_format": "client"},
            {"room": {"timeline": {"lazy_load_members": False, "not_types": []}}},
            {"org.example.unknown": 7, "room": {"org.example": []}},
        ],
    )
    def test_nothing_asked_for(self, value: object) -> None:
        parsed = parse_filter(value)
        assert parsed is EMPTY_FILTER
        assert parsed.is_passthrough
        assert parsed.shares_bytes

    @pytest.mark.parametrize(
        ("value", "field"),
        [
            ([], "'filter'"),
            ("x", "'filter'"),
            ({"presence": "x"}, "'presence'"),
            ({"account_data": None}, "'account_data'"),
            ({"room": []}, "'room'"),
            *(({"room": {part: "x"}}, f"'room.{part}'") for part in ("timeline", "state", "ephemeral", "account_data")),
            *(
                ({"room": {"timeline": {key: "x"}}}, f"'room.timeline.{key}'")
                for key in (
                    *("rooms", "not_rooms", "senders", "not_senders", "types", "not_types", "limit", "contains_url"),
                    *("lazy_load_members", "include_redundant_members", "unread_thread_notifications"),
                )
            ),
            ({"room": {"timeline": {"types": [0]}}}, "'room.timeline.types[0]'"),
            ({"room": {"timeline": {"rooms": ["!a:b", "#a:b"]}}}, "'room.timeline.rooms[1]'"),
            ({"room": {"timeline": {"senders": ["a"]}}}, "'room.timeline.senders[0]'"),
            ({"room": {"timeline": {"limit": -1}}}, "'room.timeline.limit'"),
            ({"room": {"timeline": {"limit": True}}}, "'room.timeline.limit'"),
            ({"room": {"timeline": {"limit": 1.0}}}, "'room.timeline.limit'"),
            ({"room": {"timeline": {"types": None}}}, "'room.timeline.types'"),
            ({"room": {"rooms": "x"}}, "'room.rooms'"),
            ({"room": {"include_leave": 1}}, "'room.include_leave'"),
            ({"presence": {"senders": ["bob"]}}, "'presence.senders[0]'"),
            ({"presence": {"types": ["x"] * (MAX_LIST_LENGTH + 1)}}, "'presence.types'"),
            ({"event_format": "other"}, "'event_format'"),
            ({"event_format": 1}, "'event_format'"),
            ({"event_fields": "type"}, "'event_fields'"),
            ({"event_fields": [1]}, "'event_fields[0]'"),
        ],
    )
    def test_refused(self, value: object, field: str) -> None:
        error = refusal(value)
        assert (error.status, error.errcode) == (400, "M_BAD_JSON")
        assert field in error.error

    def test_room_event_filter(self) -> None:
        assert parse_room_event_filter({"limit": 3}) == EventFilter(limit=3)
        with pytest.raises(MatrixError, match=r"'search_categories\.filter\.types'"):
            parse_room_event_filter({"types": 1}, "search_categories.filter")


class TestText:
    def test_parse_json(self) -> None:
        assert parse_json('{"room": {}}') == {"room": {}}

    @pytest.mark.parametrize("text", ["", "{", "{'a':1}", "NaN", "[" * 5000])
    def test_not_json(self, text: str) -> None:
        with pytest.raises(MatrixError) as caught:
            parse_json(text)
        assert caught.value.errcode == "M_NOT_JSON"

    def test_too_long(self) -> None:
        for act in (lambda: parse_json(" " * (MAX_FILTER_BYTES + 1)), lambda: stored_form(["x" * MAX_FILTER_BYTES])):
            with pytest.raises(MatrixError) as caught:
                act()
            assert caught.value.errcode == "M_TOO_LARGE"

    @pytest.mark.parametrize("value", [{"a": "\ud800"}, {"a": 2**70}])
    def test_what_cannot_be_stored(self, value: object) -> None:
        with pytest.raises(MatrixError) as caught:
            stored_form(value)
        assert caught.value.errcode == "M_BAD_JSON"

    def test_equal_filters_have_equal_bytes(self) -> None:
        shuffled = dict(reversed(EXAMPLE.items()))
        assert stored_form(shuffled) == stored_form(EXAMPLE)
        assert json.loads(stored_form(EXAMPLE)) == EXAMPLE


class TestMatches:
    @pytest.mark.parametrize(
        ("types", "not_types", "passing"),
        [
            (None, [], ["a.b", "a.c", "d?"]),
            (["a.b"], [], ["a.b"]),
            (["a.*"], [], ["a.b", "a.c"]),
            (["a.*", "d?"], ["a.c"], ["a.b", "d?"]),
            (["*"], ["a.*"], ["d?"]),
            (None, ["*.b", "d?"], ["a.c"]),
            (["a?b"], [], []),
            ([], [], []),
        ],
    )
    def test_types(self, types: list[str] | None, not_types: list[str], passing: list[str]) -> None:
        given_types = {} if types is None else {"types": types}
        parsed = parse_room_event_filter({**given_types, "not_types": not_types})
        assert [one for one in ("a.b", "a.c", "d?") if parsed.matches_fields(one, None)] == passing
        assert parsed.is_blocked == (types == [])

    def test_senders(self) -> None:
        parsed = parse_room_event_filter({"senders": [ALICE, BOB], "not_senders": [BOB]})
        assert [user for user in (ALICE, BOB, "@x:y", None) if parsed.matches_fields("t", user)] == [ALICE]

    @pytest.mark.parametrize("contains", [True, False])
    def test_url(self, contains: bool) -> None:
        parsed = parse_room_event_filter({"contains_url": contains})
        assert parsed.matches(ROOM.event("m.room.message", ALICE, {"url": None})) is contains
        assert parsed.matches(ROOM.event("m.room.message", ALICE, {"body": "url"})) is not contains
        assert parsed.matches_fields("m.tag", None) is not contains

    def test_rooms(self) -> None:
        event = ROOM.event("m.room.message", ALICE)
        assert parse_room_event_filter({"rooms": [event.room_id]}).matches(event)
        assert not parse_room_event_filter({"rooms": ["!other:x"]}).matches(event)
        assert not parse_room_event_filter({"not_rooms": [event.room_id]}).matches(event)

    def test_limit(self) -> None:
        assert EventFilter().capped_limit(10, 100) == 10
        assert EventFilter(limit=0).capped_limit(10, 100) == 0
        assert EventFilter(limit=1000).capped_limit(10, 100) == 100

    @settings(max_examples=200)
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "types": st.lists(st.sampled_from(["m.room.*", "m.room.message", "x"]), max_size=2),
                "not_types": st.lists(st.sampled_from(["m.*", "m.room.message", "x"]), max_size=2),
                "senders": st.lists(st.sampled_from([ALICE, BOB]), max_size=2),
                "not_senders": st.lists(st.sampled_from([ALICE, BOB]), max_size=1),
                "contains_url": st.booleans(),
                "limit": st.integers(0, 10),
            },
        ),
        st.sampled_from(["m.room.message", "m.room.name", "x", "y"]),
        st.sampled_from([ALICE, BOB]),
        st.sampled_from([{}, {"url": "mxc://a/b"}]),
    )
    def test_shortcuts_agree_with_the_rule(
        self, definition: dict[str, Any], event_type: str, sender: str, content: dict[str, Any]
    ) -> None:
        parsed = parse_room_event_filter(definition)
        passes = parsed.matches(ROOM.event(event_type, sender, content))

        def listed(key: str, value: str) -> bool:
            return any(value == one or (one.endswith("*") and value.startswith(one[:-1])) for one in definition[key])

        expected = (
            ("types" not in definition or listed("types", event_type))
            and not ("not_types" in definition and listed("not_types", event_type))
            and ("senders" not in definition or listed("senders", sender))
            and not ("not_senders" in definition and listed("not_senders", sender))
            and ("contains_url" not in definition or definition["contains_url"] == ("url" in content))
        )
        assert passes == expected
        assert expected or not parsed.is_passthrough
        assert not (expected and parsed.is_blocked)
