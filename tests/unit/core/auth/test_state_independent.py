"""The rules that hold whatever the state is: the creation, the room ID, the auth events, who has signed."""

from typing import Any

import pytest

from matrixd.core.auth import check_state_dependent, check_state_independent
from matrixd.core.event import Event
from tests.unit.core.room_factory import ALICE, BOB, CAROL, VERSIONS, RoomFactory, verdict_of, versions


def _verdict(event: Event, *auth_events: Event, create: Event | None = None, **kwargs: Any) -> str | None:
    kwargs.setdefault("signed_by", {"one.example"})
    return verdict_of(check_state_independent, event, auth_events, create=create, **kwargs)


def _create(version: str, content: dict[str, Any], sender: str = ALICE, **kwargs: Any) -> Event:
    kwargs.setdefault("prev_events", [])
    return RoomFactory(version).event("m.room.create", sender, content, "", **kwargs)


@pytest.mark.parametrize("version", VERSIONS)
def test_creation_is_allowed(version: str) -> None:
    room = RoomFactory(version)
    assert _verdict(room.create) is None
    assert verdict_of(check_state_dependent, room.create, {}) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_creation_has_no_parents(version: str) -> None:
    event = _create(version, {"creator": ALICE}, prev_events=["$before:one.example"])
    assert _verdict(event) == "CREATE_HAS_PARENTS"


@pytest.mark.parametrize("version", versions(until=11))
def test_creation_is_on_the_own_server(version: str) -> None:
    event = _create(version, {"creator": CAROL}, CAROL, room_id="!room:one.example")
    assert _verdict(event) == "CREATE_ROOM_OF_OTHER_SERVER"
    assert _verdict(_create(version, {"creator": CAROL}, CAROL, room_id="!room:two.example")) is None


def test_creation_has_no_room_id_in_12() -> None:
    assert _verdict(_create("12", {}, CAROL)) is None
    assert _verdict(_create("12", {}, room_id="!room")) == "CREATE_HAS_ROOM_ID"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("named", ["", "13", "org.example.unknown", 12, None, ["12"], {}])
def test_creation_names_a_version_that_we_know(version: str, named: Any) -> None:
    assert _verdict(_create(version, {"creator": ALICE, "room_version": named})) == "CREATE_UNKNOWN_VERSION"


@pytest.mark.parametrize("version", VERSIONS)
def test_creation_without_version_is_version_1(version: str) -> None:
    assert _verdict(_create(version, {"creator": ALICE})) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_creation_names_the_creator_until_10(version: str) -> None:
    expected = "CREATE_WITHOUT_CREATOR" if version in versions(until=10) else None
    assert _verdict(_create(version, {"room_version": version})) == expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("named", [None, "", CAROL, {}, [CAROL, 17], [CAROL, "carol"], ["@carol"], [None], [["@a:b"]]])
def test_additional_creators_are_users_in_12(version: str, named: Any) -> None:
    event = _create(version, {"creator": ALICE, "additional_creators": named})
    assert _verdict(event) == ("CREATE_ADDITIONAL_CREATORS" if version == "12" else None)


@pytest.mark.parametrize("named", [[], [CAROL], [CAROL, CAROL, ALICE], ["@:one.example"], ["@Ünï code:one.example"]])
def test_good_additional_creators(named: list[str]) -> None:
    assert _verdict(_create("12", {"additional_creators": named})) is None


def _room(version: str) -> RoomFactory:
    return RoomFactory(version).joined(ALICE, BOB).power({ALICE: 100} if version != "12" else {}).join_rule("public")


def _auth_events(room: RoomFactory, sender: str) -> list[Event]:
    keys = [("m.room.power_levels", ""), ("m.room.member", sender)]
    if room.version.identifier != "12":
        keys.append(("m.room.create", ""))
    return [room.state[key] for key in keys]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_selected_auth_events_are_allowed(version: str) -> None:
    room = _room(version)
    message = room.event("m.room.message", BOB)
    assert _verdict(message, *_auth_events(room, BOB), create=room.create) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_auth_events_lack_only_the_creation(version: str) -> None:
    room = _room(version)
    message = room.event("m.room.message", BOB)
    expected = None if version == "12" else "AUTH_EVENTS_WITHOUT_CREATE"
    assert _verdict(message, create=room.create) == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_auth_events_hold_nothing_twice(version: str) -> None:
    room = _room(version)
    again = room.member(BOB, "join")
    message = room.event("m.room.message", BOB)
    assert _verdict(message, *_auth_events(room, BOB), again, create=room.create) == "AUTH_EVENTS_DUPLICATE"


@pytest.mark.parametrize("version", VERSIONS)
def test_auth_events_hold_nothing_else(version: str) -> None:
    room = _room(version)
    message = room.event("m.room.message", BOB)
    for extra in (
        room.state["m.room.member", ALICE],
        room.state["m.room.join_rules", ""],
        room.event("m.room.member", BOB),
        room.event("m.room.power_levels", ALICE, {}, "other"),
    ):
        assert _verdict(message, *_auth_events(room, BOB), extra, create=room.create) == "AUTH_EVENTS_UNEXPECTED"


def test_the_creation_is_not_named_in_12() -> None:
    room = _room("12")
    message = room.event("m.room.message", BOB)
    assert _verdict(message, room.create, create=room.create) == "AUTH_EVENTS_UNEXPECTED"


@pytest.mark.parametrize("version", VERSIONS)
def test_auth_events_were_not_rejected(version: str) -> None:
    room = _room(version)
    message = room.event("m.room.message", BOB)
    rejected = {room.state["m.room.power_levels", ""].event_id}
    verdict = _verdict(message, *_auth_events(room, BOB), create=room.create, rejected=rejected)
    assert verdict == "AUTH_EVENTS_REJECTED"


@pytest.mark.parametrize("version", VERSIONS)
def test_auth_events_are_of_the_room(version: str) -> None:
    room = _room(version)
    elsewhere = room.event("m.room.power_levels", ALICE, {}, "", room_id="!other:one.example")
    message = room.event("m.room.message", BOB)
    auth_events = [elsewhere, *_auth_events(room, BOB)[1:]]
    assert _verdict(message, *auth_events, create=room.create) == "AUTH_EVENTS_OF_OTHER_ROOM"


def test_the_room_was_created_in_12() -> None:
    room, other = _room("12"), RoomFactory("12")
    other.create = other.event("m.room.create", ALICE, {}, "", prev_events=[])
    message = room.event("m.room.message", BOB)
    assert _verdict(message) == "ROOM_WITHOUT_CREATE"
    assert _verdict(message, create=other.create) == "ROOM_WITHOUT_CREATE"
    assert _verdict(message, create=room.create, rejected={room.create.event_id}) == "ROOM_WITHOUT_CREATE"


def _restricted_join(version: str, authoriser: Any) -> tuple[Event, list[Event], Event]:
    room = RoomFactory(version).joined(ALICE).power().join_rule("restricted")
    join = room.member(CAROL, "join", join_authorised_via_users_server=authoriser)
    keys = {("m.room.power_levels", ""), ("m.room.join_rules", "")}
    keys |= {("m.room.create", "")} if version != "12" else set()
    return join, [room.state[key] for key in keys], room.create


@pytest.mark.parametrize("version", VERSIONS)
def test_the_authoriser_of_a_join_has_signed(version: str) -> None:
    join, auth_events, create = _restricted_join(version, ALICE)
    assert _verdict(join, *auth_events, create=create, signed_by={"one.example", "two.example"}) is None
    expected = "JOIN_AUTHORISER_NOT_SIGNED" if version in versions(since=8) else None
    assert _verdict(join, *auth_events, create=create, signed_by={"two.example"}) == expected


@pytest.mark.parametrize("authoriser", [None, 17, [], "alice", "one.example"])
def test_the_authoriser_of_a_join_is_a_user(authoriser: Any) -> None:
    join, auth_events, create = _restricted_join("12", authoriser)
    assert _verdict(join, *auth_events, create=create, signed_by={"", "one.example"}) == "JOIN_AUTHORISER_NOT_SIGNED"
