"""core/client_event: clients get the fields of the specification, in every room version, and no others."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.client_event import (
    MAX_STRIPPED_EVENTS,
    ClientBody,
    age_of,
    identifying_state,
    projected,
    pruned_stripped_state,
    stripped,
    stripped_state,
    unsigned_json,
    unsigned_members,
)
from matrixd.core.event import Event
from matrixd.core.property_paths import parse_path
from tests.unit.core.room_factory import ALICE, BOB, VERSIONS, RoomFactory

REQUIRED = {"event_id", "type", "sender", "origin_server_ts", "content"}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def shown(event: Event, unsigned: bytes = b"", room_id: bool = True) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(ClientBody.of(event).json(unsigned, room_id=room_id))
    return value


class TestBody:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_fields(self, version: str) -> None:
        room = RoomFactory(version)
        message = room.event("m.room.message", ALICE, {"body": "é"}, origin="x", age=1, prev_content={}, unknown=1)
        assert shown(message) == {
            "type": "m.room.message",
            "sender": ALICE,
            "content": {"body": "é"},
            "event_id": message.event_id,
            "origin_server_ts": message.origin_server_ts,
            "room_id": room.room_id,
        }
        assert set(shown(message, room_id=False)) == REQUIRED
        assert shown(room.create)["room_id"] == room.room_id
        assert shown(room.create)["state_key"] == ""

    @settings(max_examples=100)
    @given(st.dictionaries(st.text(max_size=5), json_values, max_size=4), st.booleans())
    def test_any_content(self, content: dict[str, Any], room_id: bool) -> None:
        event = RoomFactory("1").event("x", ALICE, content, "")
        unsigned = unsigned_json(age=-5)
        assert shown(event, unsigned, room_id) == {
            **shown(event, room_id=room_id),
            "content": content,
            "unsigned": {"age": -5},
        }

    @pytest.mark.parametrize("version", VERSIONS)
    def test_redactions_say_their_target_twice(self, version: str) -> None:
        room = RoomFactory(version)
        in_content = room.version.redacts_in_content
        given_content = {"redacts": "$x"} if in_content else {}
        fields: dict[str, Any] = {} if in_content else {"redacts": "$x"}
        redaction = room.event("m.room.redaction", ALICE, {"reason": "spam", **given_content}, **fields)
        assert shown(redaction)["redacts"] == "$x"
        assert shown(redaction)["content"] == {"reason": "spam", "redacts": "$x"}
        assert redaction.content == {"reason": "spam", **given_content}

    def test_redacts_from_the_wrong_place(self) -> None:
        v10, v11 = RoomFactory("10"), RoomFactory("11")
        assert "redacts" not in shown(v11.event("m.room.redaction", ALICE, {}, redacts="$x"))
        contradicting = v10.event("m.room.redaction", ALICE, {"redacts": "$y"}, redacts="$x")
        assert shown(contradicting)["content"] == {"redacts": "$x"}
        assert "redacts" not in shown(v10.event("m.room.message", ALICE, {}, redacts="$x"))

    @pytest.mark.parametrize("version", VERSIONS)
    def test_federation_form(self, version: str) -> None:
        room = RoomFactory(version)
        for event in (room.create, room.event("m.room.message", ALICE, {"body": "x"})):
            for room_id in (True, False):
                body = json.loads(ClientBody.federation(event).json(unsigned_json(age=3), room_id=room_id))
                assert body.pop("unsigned") == {"age": 3}
                assert body == {**event.pdu, "event_id": event.event_id, "room_id": room.room_id}


class TestUnsigned:
    def test_all_members(self) -> None:
        shared = unsigned_members(
            prev_content={"name": "old"},
            replaces_state="$old",
            redacted_because=b'{"type":"m.room.redaction"}',
            relations=b'{"m.reference":{"chunk":[]}}',
            invite_room_state=[],
            knock_room_state=[{"type": "x"}],
        )
        assert json.loads(unsigned_json(age=1, shared=shared, transaction_id='t"1', membership="join")) == {
            "age": 1,
            "membership": "join",
            "transaction_id": 't"1',
            "prev_content": {"name": "old"},
            "replaces_state": "$old",
            "redacted_because": {"type": "m.room.redaction"},
            "m.relations": {"m.reference": {"chunk": []}},
            "invite_room_state": [],
            "knock_room_state": [{"type": "x"}],
        }

    def test_nothing(self) -> None:
        assert unsigned_members() == b""
        assert unsigned_json() == b""
        assert unsigned_json(age=0) == b'{"age":0}'
        assert json.loads(unsigned_json(shared=unsigned_members(prev_content={}))) == {"prev_content": {}}

    def test_age(self) -> None:
        event = RoomFactory().event("x", ALICE)
        assert age_of(event, event.origin_server_ts + 7) == 7


class TestProjection:
    def test_fields_of_the_final_json(self) -> None:
        event = RoomFactory().event("m.room.message", ALICE, {"body": "b", "msgtype": "m.text", "n": 2**70})
        final = ClientBody.of(event).json(unsigned_json(age=1, membership="join"), room_id=True)
        fields = tuple(map(parse_path, ["content.body", "content.n", "unsigned.age", "nothing"]))
        assert json.loads(projected(final, fields)) == {"content": {"body": "b", "n": 2**70}, "unsigned": {"age": 1}}


class TestStripped:
    def test_form(self) -> None:
        room = RoomFactory()
        assert stripped(room.create) == {
            "type": "m.room.create",
            "state_key": "",
            "sender": ALICE,
            "content": room.create.content,
        }
        with pytest.raises(ValueError, match="not a state event"):
            stripped(room.event("m.room.message", ALICE))

    def test_what_an_invite_shows(self) -> None:
        room = RoomFactory()
        for event_type in ("m.room.topic", "m.room.name", "m.room.power_levels", "m.room.encryption"):
            room.state[event_type, ""] = room.event(event_type, ALICE, {}, "")
        room.state["m.room.member", ALICE] = room.member(ALICE, "join")
        room.state["m.room.member", BOB] = room.member(BOB, "leave")
        invite = room.member(ALICE, "invite", BOB)
        shown_types = [(event["type"], event["state_key"]) for event in stripped_state(room.state, invite)]
        assert shown_types == [
            ("m.room.create", ""),
            ("m.room.name", ""),
            ("m.room.topic", ""),
            ("m.room.encryption", ""),
            ("m.room.member", ALICE),
            ("m.room.member", BOB),
        ]
        assert stripped_state(room.state, invite)[-1]["content"] == {"membership": "invite"}

    def test_what_a_knock_shows(self) -> None:
        room = RoomFactory()
        room.state["m.room.member", BOB] = room.member(BOB, "leave")
        knock = room.member(BOB, "knock")
        assert identifying_state(room.state, knock) == [room.create]
        assert [event["content"].get("membership") for event in stripped_state(room.state, knock)] == [None, "knock"]

    def test_pruning(self) -> None:
        room = RoomFactory()
        good = stripped(room.create)
        entries: list[object] = [
            {**room.create.pdu, "secret": 1},
            {**good, "content": {"second": True}},
            "x",
            {},
            {**good, "content": []},
            {**good, "state_key": None},
            {**good, "sender": 1},
            {**good, "type": 1},
        ]
        assert pruned_stripped_state(entries) == [good]
        many: list[object] = [{**good, "state_key": str(n)} for n in range(MAX_STRIPPED_EVENTS + 1)]
        assert len(pruned_stripped_state(many)) == MAX_STRIPPED_EVENTS

    @pytest.mark.parametrize("entries", [None, {}, "x", 3])
    def test_pruning_what_is_no_list(self, entries: object) -> None:
        assert pruned_stripped_state(entries) == []
