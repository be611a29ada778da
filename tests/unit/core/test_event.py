from __future__ import annotations

from typing import Any

import pytest

from matrixd.core.errors import EventRule, InvalidEvent
from matrixd.core.event import Event
from matrixd.core.versions import V1, V10, V11, V12, RoomVersion
from tests.unit.core.build import VERSIONS, create, make


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_an_event_reads_the_same_from_outside_and_from_the_store(version: RoomVersion) -> None:
    for built in (make(version), create(version), make(version, state_key="x")):
        for event in (
            Event.from_pdu(version, {**built.pdu, "unsigned": {"age": 5}}),
            Event.from_pdu(version, built.pdu, built.event_id),
            Event.from_stored(version, built.pdu, built.event_id),
        ):
            for field in Event.__struct_fields__:
                assert getattr(event, field) == getattr(built, field)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_references_are_ids_whatever_the_format(version: RoomVersion) -> None:
    before = create(version)
    event = make(version, before=[before])
    assert event.prev_events == event.auth_events == (before.event_id,)


def test_fields() -> None:
    event = make(V12, event_type="m.room.member", state_key="@b:c", content={"membership": "ban"}, depth=7)
    assert event.is_state
    assert event.key == ("m.room.member", "@b:c")
    assert event.membership == "ban"
    assert event.sender_domain == "domain"
    assert event.depth == 7
    assert event.origin_server_ts == 1000000
    assert event.event_id in repr(event)
    assert "m.room.member" in repr(event)


def test_a_message_has_no_place_in_the_state() -> None:
    message = make(V12)
    assert not message.is_state
    assert message.state_key is None
    assert message.membership is None
    with pytest.raises(ValueError, match="is not a state event"):
        _ = message.key


@pytest.mark.parametrize("content", [{}, {"membership": 5}, {"membership": None}])
def test_a_membership_that_cannot_be_read_is_none(content: dict[str, Any]) -> None:
    assert make(V12, event_type="m.room.member", state_key="@b:c", content=content).membership is None


def test_redactions_name_their_target_where_the_version_has_it() -> None:
    old = make(V10, event_type="m.room.redaction", content={"redacts": "$content"}, redacts="$top")
    assert old.redacts == "$top"
    new = make(V11, event_type="m.room.redaction", content={"reason": "x"}, redacts="$target")
    assert new.redacts == new.content["redacts"] == "$target"
    assert new.content["reason"] == "x"
    assert "redacts" not in new.pdu
    assert make(V11, event_type="m.room.redaction", content={"redacts": 5}).redacts is None
    assert make(V11, content={"redacts": "$a"}).redacts is None


def test_events_are_equal_by_their_id() -> None:
    event = make(V12)
    assert event == event.redacted()
    assert not event != event.redacted()  # noqa: SIM202
    assert hash(event) == hash(event.redacted())
    assert event != make(V12, depth=3)
    assert event != event.event_id
    assert len({event, event.redacted()}) == 1


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_a_redacted_event_keeps_its_place_but_not_its_content(version: RoomVersion) -> None:
    event = make(version, state_key="a")
    redacted = event.redacted()
    assert redacted.content == {}
    assert event.content
    assert (redacted.key, redacted.prev_events, redacted.room_id) == (event.key, event.prev_events, event.room_id)


def test_events_do_not_change() -> None:
    with pytest.raises(AttributeError):
        make(V1).depth = 5  # type: ignore[misc]


def test_a_malformed_event_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="sender must be a string") as caught:
        Event.from_pdu(V12, {**make(V12).pdu, "sender": None})
    assert caught.value.rule is EventRule.FORMAT
