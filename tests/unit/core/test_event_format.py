from __future__ import annotations

from typing import Any

import pytest

from matrixd.core import canonical_json
from matrixd.core.errors import EventRule, EventTooLarge, InvalidEvent
from matrixd.core.event_format import MAX_EVENT_BYTES, checked_pdu, max_depth
from matrixd.core.versions import V1, V2, V3, V5, V6, V11, V12, RoomVersion
from tests.unit.core.build import VERSIONS, create, make


def altered(version: RoomVersion, **changes: Any) -> dict[str, Any]:
    """A message of the version with some fields replaced; a field whose new value is ... is removed."""
    pdu = {**make(version).pdu, **changes}
    return {name: value for name, value in pdu.items() if value is not ...}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_good_events_pass_without_unsigned(version: RoomVersion) -> None:
    for event in (make(version), create(version)):
        assert checked_pdu(version, {**event.pdu, "unsigned": {"age": 1.5}}) == event.pdu


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("content", ..., "content must be an object"),
        ("content", [], "content must be an object"),
        ("type", ..., "type must be a string"),
        ("type", 5, "type must be a string"),
        ("state_key", None, "state_key must be a string"),
        ("sender", ..., "sender must be a string"),
        ("sender", "alice", "sender must be a user ID"),
        ("sender", "@alice:", "sender must be a user ID"),
        ("room_id", ..., "room_id must be a string"),
        ("depth", ..., "depth must be an integer"),
        ("depth", "1", "depth must be an integer"),
        ("depth", True, "depth must be an integer"),
        ("depth", 1.0, "depth must be an integer"),
        ("depth", -1, "depth must be between 0 and"),
        ("origin_server_ts", None, "origin_server_ts must be an integer"),
        ("hashes", ..., "hashes must be an object"),
        ("signatures", [], "signatures must be an object"),
        ("prev_events", ..., "prev_events must be an array"),
        ("auth_events", {}, "auth_events must be an array"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_every_field_has_its_type(version: RoomVersion, field: str, value: object, sentence: str) -> None:
    with pytest.raises(InvalidEvent, match=sentence) as caught:
        checked_pdu(version, altered(version, **{field: value}))
    assert caught.value.rule is EventRule.FORMAT


@pytest.mark.parametrize("reference", ["$a:b", 5, ["$a:b"], ["$a:b", "hash"], [5, {}], ["$a:b", {}, {}], ["a", {}]])
def test_old_rooms_refer_by_pairs(reference: object) -> None:
    with pytest.raises(InvalidEvent, match="prev_events must hold pairs"):
        checked_pdu(V2, altered(V2, prev_events=[reference]))


@pytest.mark.parametrize("reference", [["$a:b", {}], 5, "a", "$", None])
def test_newer_rooms_refer_by_ids(reference: object) -> None:
    with pytest.raises(InvalidEvent, match="auth_events must hold event IDs"):
        checked_pdu(V3, altered(V3, auth_events=[reference]))


def test_references_are_few() -> None:
    checked_pdu(V12, altered(V12, prev_events=["$a"] * 20, auth_events=["$a"] * 10))
    with pytest.raises(InvalidEvent, match="prev_events has more than 20 entries"):
        checked_pdu(V12, altered(V12, prev_events=["$a"] * 21))
    with pytest.raises(InvalidEvent, match="auth_events has more than 10 entries"):
        checked_pdu(V12, altered(V12, auth_events=["$a"] * 11))


@pytest.mark.parametrize("event_id", [..., 5, "$a", "a:b", "$a:b c"])
def test_old_rooms_choose_event_ids_with_a_domain(event_id: object) -> None:
    with pytest.raises(InvalidEvent, match="event_id must be"):
        checked_pdu(V1, altered(V1, event_id=event_id))


def test_the_room_id_has_the_form_of_its_version() -> None:
    with pytest.raises(InvalidEvent, match="room_id must be a room ID with a domain"):
        checked_pdu(V11, altered(V11, room_id="!abc"))
    with pytest.raises(InvalidEvent, match="room_id must be a room ID without a domain"):
        checked_pdu(V12, altered(V12, room_id="!abc:example.org"))


def test_a_creation_that_names_its_room_is_left_to_the_authorisation_rules() -> None:
    pdu = {**create(V12).pdu, "room_id": "!abc"}
    assert checked_pdu(V12, pdu) == pdu
    with pytest.raises(InvalidEvent, match="room_id must be a string"):
        checked_pdu(V12, {**pdu, "room_id": 5})


def test_what_a_redaction_redacts_is_an_event() -> None:
    redaction = {"type": "m.room.redaction"}
    checked_pdu(V6, altered(V6, **redaction))
    checked_pdu(V6, altered(V6, **redaction, redacts="$a"))
    checked_pdu(V6, altered(V6, redacts=5))
    checked_pdu(V11, altered(V11, **redaction, redacts=5))
    for redacts in (5, "a", None):
        with pytest.raises(InvalidEvent, match="redacts must be"):
            checked_pdu(V6, altered(V6, **redaction, redacts=redacts))


@pytest.mark.parametrize("field", ["type", "state_key"])
@pytest.mark.parametrize("version", [V1, V12], ids=lambda v: v.identifier)
def test_types_and_state_keys_have_255_bytes(version: RoomVersion, field: str) -> None:
    checked_pdu(version, altered(version, **{field: "a" * 255}))
    checked_pdu(version, altered(version, **{field: "é" * 127}))
    for value in ("a" * 256, "é" * 128):
        with pytest.raises(EventTooLarge, match=f"{field} is longer than 255 bytes"):
            checked_pdu(version, altered(version, **{field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [("sender", "@" + "a" * 250 + ":domain"), ("room_id", "!" + "a" * 250 + ":domain"), ("event_id", "$" + "a" * 255)],
)
def test_identifiers_have_255_bytes(field: str, value: str) -> None:
    with pytest.raises(EventTooLarge, match=f"{field} is longer than 255 bytes"):
        checked_pdu(V1, altered(V1, **{field: value}))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_an_event_has_65536_bytes(version: RoomVersion) -> None:
    empty = len(canonical_json.encode(altered(version, content={"body": ""})))
    fitting = altered(version, content={"body": "a" * (MAX_EVENT_BYTES - empty)})
    assert len(canonical_json.encode(checked_pdu(version, fitting))) == MAX_EVENT_BYTES
    with pytest.raises(EventTooLarge, match="The event is 65537 bytes long"):
        checked_pdu(version, altered(version, content={"body": "a" * (MAX_EVENT_BYTES - empty + 1)}))


@pytest.mark.parametrize("value", [1.5, 2**53, {"a": [-(2**53)]}])
def test_restricted_json_is_enforced_from_v6(value: object) -> None:
    checked_pdu(V5, altered(V5, content={"n": value}))
    with pytest.raises(InvalidEvent, match=r"content\.n") as caught:
        checked_pdu(V6, altered(V6, content={"n": value}))
    assert caught.value.rule is EventRule.CANONICAL_JSON


@pytest.mark.parametrize("value", ["\ud800", float("nan")])
@pytest.mark.parametrize("version", [V1, V12], ids=lambda v: v.identifier)
def test_what_is_not_json_is_in_no_event(version: RoomVersion, value: object) -> None:
    with pytest.raises(InvalidEvent, match=r"content\.n") as caught:
        checked_pdu(version, altered(version, content={"n": value}))
    assert caught.value.rule is EventRule.CANONICAL_JSON


def test_depth_ends_where_integers_end() -> None:
    assert max_depth(V5) == 2**63 - 1
    assert max_depth(V6) == 2**53 - 1
    for version in (V5, V6):
        checked_pdu(version, altered(version, depth=max_depth(version)))
        with pytest.raises(InvalidEvent, match="depth must be between"):
            checked_pdu(version, altered(version, depth=max_depth(version) + 1))
