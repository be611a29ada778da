"""Servers that refuse, lie or are not there: others are asked, and what is told when none is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.core.signing import with_signature
from matrixd.net.errors import FailureKind, RemoteError
from tests.contract.remote_joins.world import JoinWorld
from tests.support.database import OpenDatabase
from tests.support.rooms_elsewhere import Network, Resident, RoomElsewhere, key_of, refused

US = "@us:example.org"
Pdus = list[tuple[bool, dict[str, Any]]]


def a_room(version: str = "10", **more: Any) -> RoomElsewhere:
    room = RoomElsewhere(version=version, **more)
    room.join("@bob:third.org")
    room.send(room.creator, "m.room.name", {"name": "Far"}, "")
    return room


def two(db: OpenDatabase, room: RoomElsewhere, **of_first: Any) -> tuple[JoinWorld, Resident, Resident]:
    first, second = Resident("far.org", {room.room_id: room}, **of_first), Resident("third.org", {room.room_id: room})
    return JoinWorld(db, Network(first, second)), first, second


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("make_join", refused("far.org", 404, "M_NOT_FOUND", "No such room.")),
        ("make_join", refused("far.org", 403, "M_FORBIDDEN", "No.")),
        ("make_join", refused("far.org", 400, "M_INCOMPATIBLE_ROOM_VERSION", "No.", room_version="10")),
        ("make_join", RemoteError("far.org", FailureKind.TIMEOUT, "no answer")),
        ("send_join", refused("far.org", 400, "M_UNABLE_TO_AUTHORISE_JOIN", "No.")),
        ("send_join", refused("far.org", 400, "M_UNABLE_TO_GRANT_JOIN", "No.")),
        ("send_join", RemoteError("far.org", FailureKind.TOO_LARGE, "too large")),
    ],
)
def test_the_next_server_is_asked(db: OpenDatabase, operation: str, error: Exception) -> None:
    room = a_room()
    world, first, second = two(db, room, errors={operation: error})
    assert world.join(US, room.room_id, "far.org", "third.org")
    assert second.asked == ["make_join", "send_join"]
    assert operation in first.asked
    assert world.memberships(room.room_id)[US] == "join"


def test_who_may_have_taken_the_join_is_told_that_the_user_is_not_there(db: OpenDatabase) -> None:
    room = a_room()
    resident = Resident("far.org", {room.room_id: room})

    class LosesAnswers(Network):
        async def send_join(self, *args: Any) -> Any:
            await super().send_join(*args)
            raise RemoteError("far.org", FailureKind.TIMEOUT, "no answer")

    world = JoinWorld(db, LosesAnswers(resident))
    with pytest.raises(MatrixError):
        world.join(US, room.room_id, "far.org")
    world.pump(lambda: resident.asked[-1:] == ["send_leave"])
    assert room.state["m.room.member", US].membership == "leave"


@pytest.mark.parametrize(
    "changes",
    [
        {"room_id": "!other:far.org"}, {"sender": "@eve:example.org"}, {"state_key": "@eve:example.org"},
        {"type": "m.room.topic"}, {"content": {"membership": "leave"}}, {"content": "join"}, {"prev_events": "none"},
        {"depth": -1}, {"auth_events": [1]},
    ],
)
def test_a_template_of_something_else_is_not_signed(db: OpenDatabase, changes: dict[str, Any]) -> None:
    room = a_room()
    world, first, _ = two(db, room, changes=changes)
    world.join(US, room.room_id, "far.org", "third.org")
    assert first.asked == ["make_join"]


def dropping(event_type: str) -> Callable[[Pdus], Pdus]:
    return lambda pdus: [(in_state, pdu) for in_state, pdu in pdus if pdu["type"] != event_type]


def resigned(event_type: str) -> Callable[[Pdus], Pdus]:
    """A wrong signature on the events of a type."""

    def changed(pdu: dict[str, Any]) -> dict[str, Any]:
        if pdu["type"] != event_type:
            return pdu
        return with_signature({**pdu, "signatures": {}}, "far.org", "ed25519:k", key_of("eve").sign(b"x"))

    return lambda pdus: [(in_state, changed(pdu)) for in_state, pdu in pdus]


@pytest.mark.parametrize(
    "lie",
    [
        dropping("m.room.create"), dropping("m.room.join_rules"), resigned("m.room.create"),
        resigned("m.room.power_levels"), lambda _: [],
    ],
)
def test_a_state_without_its_foundations_is_not_taken(db: OpenDatabase, lie: Callable[[Pdus], Pdus]) -> None:
    room = a_room()
    world, first, second = two(db, room, lies=lie)
    world.join(US, room.room_id, "far.org", "third.org")
    assert first.asked[:2] == ["make_join", "send_join"]
    assert second.asked[:2] == ["make_join", "send_join"]
    assert world.row(room.room_id).resident == "third.org"


def test_who_took_the_join_but_lied_about_it_is_told_that_the_user_is_not_there(db: OpenDatabase) -> None:
    room = a_room()
    resident = Resident("far.org", {room.room_id: room}, lies=dropping("m.room.create"))
    world = JoinWorld(db, Network(resident))
    with pytest.raises(MatrixError) as raised:
        world.join(US, room.room_id, "far.org")
    assert raised.value.status == 502
    assert "far.org" in raised.value.error
    world.pump(lambda: resident.asked[-1:] == ["send_leave"])
    assert room.state["m.room.member", US].membership == "leave"
    assert world.row(room.room_id).state == "abandoned"
    assert world.room_row(room.room_id).extremities == ()


def test_a_badly_signed_member_is_left_out(db: OpenDatabase) -> None:
    room = a_room()
    room.join("@cy:third.org")

    def signed(pdu: dict[str, Any]) -> dict[str, Any]:
        is_of_cy = pdu["sender"] == "@cy:third.org"
        return {**pdu, "signatures": {"third.org": {"ed25519:k": "AAAA"}}} if is_of_cy else pdu

    def lie(pdus: Pdus) -> Pdus:
        return [(in_state, signed(pdu)) for in_state, pdu in pdus]

    world = JoinWorld(db, Network(Resident("far.org", {room.room_id: room}, lies=lie)))
    world.join(US, room.room_id, "far.org")
    assert set(world.memberships(room.room_id)) == {US, "@ann:far.org", "@bob:third.org"}
    assert world.servers(room.room_id) == {"far.org": 1, "third.org": 1}


def test_events_of_another_room_and_nonsense_are_left_out(db: OpenDatabase) -> None:
    room, other = a_room(), a_room()
    strange = [(True, dict(event.pdu)) for event in other.state.values()]
    nonsense: Pdus = [(True, {}), (False, {"type": 1}), (True, {"depth": 2**70, "x": 1})]
    resident = Resident("far.org", {room.room_id: room}, lies=lambda pdus: strange + nonsense + pdus)
    world = JoinWorld(db, Network(resident))
    world.join(US, room.room_id, "far.org")
    assert world.current(room.room_id) == {key: event.event_id for key, event in room.state.items()}


def test_state_that_its_auth_events_forbid_is_rejected(db: OpenDatabase) -> None:
    room = a_room()
    forbidden = room.build("@bob:third.org", "m.room.topic", {"topic": "mine"}, "")
    resident = Resident("far.org", {room.room_id: room}, lies=lambda pdus: [(True, dict(forbidden.pdu)), *pdus])
    world = JoinWorld(db, Network(resident))
    world.join(US, room.room_id, "far.org")
    assert ("m.room.topic", "") not in world.current(room.room_id)


def test_the_order_of_an_answer_does_not_matter(db: OpenDatabase) -> None:
    room = a_room()
    for number in range(5):
        room.send("@ann:far.org", "m.room.member", {"membership": "join", "displayname": str(number)}, "@ann:far.org")

    def lie(pdus: Pdus) -> Pdus:
        # Depths are claims: all of them the same says nothing of the order.
        return pdus[::-1]

    world = JoinWorld(db, Network(Resident("far.org", {room.room_id: room}, lies=lie)))
    world.join(US, room.room_id, "far.org")
    assert world.current(room.room_id) == {key: event.event_id for key, event in room.state.items()}


def test_the_most_telling_refusal_is_told(db: OpenDatabase) -> None:
    room = a_room(join_rule="invite")
    world, _, _ = two(
        db, room, errors={"make_join": refused("far.org", 403, "M_FORBIDDEN", "You are not invited to this room.")}
    )
    world.network.residents["third.org"].errors["make_join"] = RemoteError("third.org", FailureKind.DNS, "unknown")
    with pytest.raises(MatrixError) as raised:
        world.join(US, room.room_id, "third.org", "far.org")
    assert (raised.value.status, raised.value.errcode) == (403, "M_FORBIDDEN")
    assert raised.value.error == "You are not invited to this room."


def test_an_unknown_room_version_is_told_with_its_name(db: OpenDatabase) -> None:
    room = a_room()
    error = refused("far.org", 400, "M_INCOMPATIBLE_ROOM_VERSION", "Yours is old.", room_version="99")
    world, _, _ = two(db, room, errors={"make_join": error})
    with pytest.raises(MatrixError) as raised:
        world.join(US, room.room_id, "far.org")
    assert raised.value.body() == {
        "errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "Yours is old.", "room_version": "99",
    }


def test_a_failed_join_can_be_tried_again(db: OpenDatabase) -> None:
    room = a_room()
    resident = Resident("far.org", {room.room_id: room}, lies=dropping("m.room.create"))
    world = JoinWorld(db, Network(resident))
    with pytest.raises(MatrixError):
        world.join(US, room.room_id, "far.org")
    resident.lies = lambda pdus: pdus
    world.join(US, room.room_id, "far.org")
    assert world.row(room.room_id).state == "complete"
