"""What every other event needs: federation, membership, a level, an own state key; and the rules of old versions."""

from typing import Any

import pytest

from matrixd.core.auth import redaction_applies
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels
from tests.unit.core.room_factory import ALICE, BOB, CAROL, DAVE, VERSIONS, RoomFactory, versions

EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS)


def _room(version: str, create: dict[str, Any] | None = None, **levels: Any) -> RoomFactory:
    users = {BOB: 50} | ({} if version == "12" else {ALICE: 100})
    return RoomFactory(version, **(create or {})).joined(ALICE, BOB, CAROL).power(users, **levels)


@EVERY_VERSION
def test_a_state_without_creation_allows_nothing(version: str) -> None:
    room = _room(version)
    del room.state["m.room.create", ""]
    assert room.verdict(room.event("m.room.message", ALICE)) == "ROOM_WITHOUT_CREATE"


@pytest.mark.parametrize(
    ("federate", "closed"), [(False, True), (True, False), (None, False), (0, False), ("false", False)]
)
@EVERY_VERSION
def test_federation(version: str, federate: Any, closed: bool) -> None:
    room = _room(version, {"m.federate": federate}).join_rule("public")
    for event in (
        room.event("m.room.message", CAROL),
        room.member(DAVE, "join"),
        room.event("m.room.aliases", CAROL, {}, "two.example"),
    ):
        if event.type != "m.room.aliases" or version in versions(until=5):
            assert room.verdict(event) == ("NOT_FEDERATED" if closed else None)
    assert room.verdict(room.event("m.room.message", BOB)) is None


@pytest.mark.parametrize("membership", ["invite", "leave", "ban", "knock", None])
@EVERY_VERSION
def test_only_members_send(version: str, membership: str | None) -> None:
    room = _room(version)
    if membership is not None:
        room.with_member(DAVE, membership)
    for event_type, state_key in (("m.room.message", None), ("m.room.topic", ""), ("m.room.third_party_invite", "x")):
        assert room.verdict(room.event(event_type, DAVE, {}, state_key)) == "SENDER_NOT_JOINED"
        assert room.joined(DAVE).verdict(room.event("m.room.message", DAVE)) is None
        if membership is None:
            del room.state["m.room.member", DAVE]
        else:
            room.with_member(DAVE, membership)


@EVERY_VERSION
def test_the_level_of_the_type_is_needed(version: str) -> None:
    room = _room(version, events={"m.room.topic": 60, "m.reaction": 1}, events_default=0, state_default=50)
    for event_type, state_key, allowed in (
        ("m.room.message", None, {ALICE, BOB, CAROL}),
        ("m.reaction", None, {ALICE, BOB}),
        ("m.room.name", "", {ALICE, BOB}),
        ("m.room.topic", "", {ALICE}),
        ("m.room.topic", None, {ALICE}),
    ):
        for sender in (ALICE, BOB, CAROL):
            expected = None if sender in allowed else "SEND_LEVEL"
            assert room.verdict(room.event(event_type, sender, {}, state_key)) == expected


@EVERY_VERSION
def test_levels_before_there_are_power_levels(version: str) -> None:
    room = RoomFactory(version).joined(ALICE, BOB)
    assert room.verdict(room.event("m.room.topic", ALICE, {}, "")) is None
    assert room.verdict(room.event("m.room.topic", BOB, {}, "")) == "SEND_LEVEL"
    assert room.verdict(room.event("m.room.message", BOB)) is None


@EVERY_VERSION
def test_third_party_invites_need_the_invite_level_only(version: str) -> None:
    room = _room(version, invite=50, events={"m.room.third_party_invite": 100}, state_default=100)
    assert room.verdict(room.event("m.room.third_party_invite", BOB, {}, "token")) is None
    assert room.verdict(room.event("m.room.third_party_invite", CAROL, {}, "token")) == "INVITE_LEVEL"


@pytest.mark.parametrize(("state_key", "own"), [(BOB, True), ("", True), ("bob", True), (ALICE, False), ("@", False)])
@EVERY_VERSION
def test_state_keys_of_users_are_their_own(version: str, state_key: str, own: bool) -> None:
    room = _room(version)
    event = room.event("org.example.any", BOB, {}, state_key)
    assert room.verdict(event) == (None if own else "STATE_KEY_OF_OTHER_USER")


class TestAliases:
    @pytest.mark.parametrize("version", versions(until=5))
    def test_are_each_servers_own_until_5(self, version: str) -> None:
        room = _room(version)
        for sender in (CAROL, "@stranger:two.example"):
            assert room.verdict(room.event("m.room.aliases", sender, {}, "two.example")) is None
            assert room.verdict(room.event("m.room.aliases", sender, {}, "one.example")) == "ALIASES_OF_OTHER_SERVER"
            assert room.verdict(room.event("m.room.aliases", sender)) == "ALIASES_WITHOUT_STATE_KEY"

    @pytest.mark.parametrize("version", versions(since=6))
    def test_are_ordinary_state_since_6(self, version: str) -> None:
        room = _room(version)
        assert room.verdict(room.event("m.room.aliases", CAROL, {}, "two.example")) == "SEND_LEVEL"
        assert room.verdict(room.event("m.room.aliases", DAVE, {}, "three.example")) == "SENDER_NOT_JOINED"
        assert room.verdict(room.event("m.room.aliases", BOB, {}, "two.example")) is None


def _redaction(room: RoomFactory, sender: str, redacts: Any) -> Event:
    if room.version.redacts_in_content:
        return room.event("m.room.redaction", sender, {"redacts": redacts})
    return room.event("m.room.redaction", sender, redacts=redacts)


class TestRedaction:
    @pytest.mark.parametrize("redacts", ["$x:one.example", "$x", None, "", 17])
    @EVERY_VERSION
    def test_the_event_needs_the_level_or_the_domain_until_2(self, version: str, redacts: Any) -> None:
        room = _room(version)
        expected = "REDACT_LEVEL" if version in versions(until=2) else None
        assert room.verdict(_redaction(room, CAROL, redacts)) == expected
        assert room.verdict(_redaction(room, BOB, redacts)) is None
        assert room.verdict(_redaction(room, CAROL, "$x:two.example")) is None

    @EVERY_VERSION
    def test_the_event_needs_the_level_of_its_type(self, version: str) -> None:
        room = _room(version, events={"m.room.redaction": 51})
        assert room.verdict(_redaction(room, BOB, "$x:one.example")) == "SEND_LEVEL"

    @EVERY_VERSION
    def test_applies_to_events_of_the_own_server_or_with_the_level(self, version: str) -> None:
        room = _room(version)
        powers = PowerLevels.in_state(room.state)
        target = room.event("m.room.message", ALICE)
        for sender, applies in ((ALICE, True), (BOB, True), ("@low:one.example", True), (CAROL, False)):
            redaction = _redaction(room, sender, target.event_id)
            # In the first versions it would not have been accepted.
            assert redaction_applies(redaction, target, powers) == (applies or version in versions(until=2))
        moderator = _redaction(room, BOB, room.event("m.room.message", CAROL).event_id)
        assert not redaction_applies(moderator, target, powers)
        theirs = room.event("m.room.message", CAROL)
        assert redaction_applies(_redaction(room, BOB, theirs.event_id), theirs, powers)

    @EVERY_VERSION
    def test_applies_within_the_room(self, version: str) -> None:
        room = _room(version)
        target = room.event("m.room.message", ALICE, room_id="!other:one.example")
        assert not redaction_applies(_redaction(room, ALICE, target.event_id), target, PowerLevels.in_state(room.state))
