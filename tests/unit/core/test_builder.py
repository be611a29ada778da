from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.builder import complete, event_template, next_depth
from matrixd.core.errors import EventTooLarge, InvalidEvent
from matrixd.core.event import Event
from matrixd.core.event_signing import verify_event
from matrixd.core.hashing import content_hash_matches
from matrixd.core.versions import V1, V3, V5, V6, V10, V11, V12, RoomVersion
from tests.unit.core.build import HASH_VERSIONS, KEY, SERVER, VERSIONS, create, make

KEYS = {KEY.key_id: KEY.verify_key}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
contents = st.dictionaries(
    texts,
    st.recursive(st.integers(-(2**53) + 1, 2**53 - 1) | texts | st.booleans() | st.none(), st.lists, max_leaves=5),
    max_size=5,
)


@settings(max_examples=200)
@given(st.sampled_from(VERSIONS), contents, texts | st.none(), st.integers(0, 2**53 - 1))
def test_what_is_built_verifies(version: RoomVersion, content: dict[str, Any], key: str | None, depth: int) -> None:
    event = make(version, content=content, state_key=key, depth=depth)
    received = Event.from_pdu(version, event.pdu)
    assert received.event_id == event.event_id
    assert received.content == content
    assert received.state_key == key
    assert content_hash_matches(received.pdu)
    verify_event(received, SERVER, KEYS)
    verify_event(received.redacted(), SERVER, KEYS)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_the_federation_form_has_exactly_the_fields_of_its_version(version: RoomVersion) -> None:
    fields = {"type", "sender", "content", "prev_events", "auth_events", "depth", "origin_server_ts", "hashes"}
    fields |= {"signatures", "room_id"} | ({"event_id"} if version not in HASH_VERSIONS else set())
    assert set(make(version).pdu) == fields
    assert set(make(version, state_key="").pdu) == fields | {"state_key"}
    without_room = {"room_id"} if version is V12 else set()
    assert set(create(version).pdu) == (fields | {"state_key"}) - without_room


def test_a_creation_of_v12_names_no_room_and_gives_its_id() -> None:
    first = create(V12)
    assert first.room_id == "!" + first.event_id[1:]
    assert make(V12, before=[first]).room_id == first.room_id


def test_references_are_events_or_where_that_suffices_their_ids() -> None:
    first = create(V10)
    assert make(V10, before=[first]).pdu["prev_events"] == [first.event_id]
    by_id = make(V10, prev_events=[first.event_id], auth_events=[first.event_id])
    assert by_id.event_id == make(V10, before=[first]).event_id
    [[event_id, hashes]] = make(V1, before=[create(V1)]).pdu["auth_events"]
    assert event_id == "$0:domain"
    assert list(hashes) == ["sha256"]
    with pytest.raises(ValueError, match="room version 1 refers to events by ID and hash"):
        make(V1, prev_events=["$0:domain"])


@pytest.mark.parametrize(
    ("version", "changes"),
    [
        (V12, {"room_id": None}),
        (V11, {"room_id": None}),
        (V11, {"room_id": None, "event_type": "m.room.create", "state_key": ""}),
        (V12, {"room_id": "!a", "event_type": "m.room.create", "state_key": ""}),
    ],
)
def test_only_the_creation_of_v12_is_without_a_room(version: RoomVersion, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="an event has a room_id"):
        make(version, **changes)


def test_only_old_versions_choose_their_event_ids() -> None:
    for version, event_id in ((V1, None), (V3, "$a:b")):
        with pytest.raises(ValueError, match="an event_id is given where"):
            make(version, event_id=event_id)


def test_a_redaction_names_its_target_where_the_version_wants_it() -> None:
    old = make(V10, event_type="m.room.redaction", redacts="$a", content={})
    assert old.pdu["redacts"] == "$a"
    assert old.content == {}
    content: dict[str, Any] = {"reason": "x"}
    new = make(V11, event_type="m.room.redaction", redacts="$a", content=content)
    assert new.content == {"reason": "x", "redacts": "$a"}
    assert content == {"reason": "x"}


def test_a_template_is_completed_by_another_server() -> None:
    template = event_template(
        V12,
        room_id="!room",
        event_type="m.room.member",
        sender="@a:domain",
        content={"membership": "join"},
        prev_events=["$a"],
        auth_events=["$b"],
        depth=5,
        origin_server_ts=5,
        state_key="@a:domain",
    )
    assert "hashes" not in template
    event = complete(
        V12, {**template, "unsigned": {"x": 1}, "signatures": {"evil": {}}, "hashes": {"md5": "x"}}, SERVER, KEY
    )
    assert set(event.pdu["signatures"]) == {SERVER}
    assert set(event.pdu["hashes"]) == {"sha256"}
    verify_event(event, SERVER, KEYS)


def test_content_may_be_any_mapping() -> None:

    assert make(V12, content=MappingProxyType({"a": 1})).content == {"a": 1}


def test_what_breaks_the_format_or_a_size_is_not_built() -> None:
    with pytest.raises(InvalidEvent, match="sender must be a user ID"):
        make(V12, sender="alice")
    with pytest.raises(EventTooLarge, match="The event is"):
        make(V12, content={"body": "a" * 65536})
    with pytest.raises(EventTooLarge, match="state_key is longer"):
        make(V12, state_key="a" * 256)
    with pytest.raises(InvalidEvent, match=r"content\.a is a float"):
        make(V6, content={"a": 1.5})
    with pytest.raises(InvalidEvent, match=r"content\.a is not a finite number"):
        make(V5, content={"a": float("inf")})
    assert make(V5, content={"a": 1.5}).content == {"a": 1.5}


def test_depth_grows_up_to_its_limit() -> None:
    assert next_depth(V12, []) == 1
    assert next_depth(V12, [3, 9, 4]) == 10
    assert next_depth(V12, [2**53 - 1]) == 2**53 - 1
    assert next_depth(V5, [2**53 - 1]) == 2**53
    assert next_depth(V5, [2**63 - 1]) == 2**63 - 1
