"""Rooms of another server, over HTTP: joining, being invited, knocking, and what /sync says of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from matrixd.core.event import Event
from matrixd.core.event_signing import with_event_signature
from matrixd.core.versions import ROOM_VERSIONS
from tests.support.client import MatrixClient, quoted
from tests.support.remote_server import Received, RemoteServer, Reply, error
from tests.support.rooms_elsewhere import RoomElsewhere
from tests.support.server import ServerProcess
from tests.support.serving_rooms import serve
from tests.support.sync_answers import events_in, members_in, room_in, types_in

V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"


@pytest.fixture
def room(server: ServerProcess, remote: RemoteServer) -> RoomElsewhere:
    """A room of the other server."""
    remote.knows(server)
    made = RoomElsewhere(remote.user("rita"), "11", keys={remote.name: remote.key})
    made.join(remote.user("rob"))
    made.send(remote.user("rita"), "m.room.name", {"name": "Far away"}, "")
    return made


def invite(server: ServerProcess, remote: RemoteServer, room: RoomElsewhere, user_id: str) -> None:
    event = room.invite(user_id)
    state = [room.state[key].pdu for key in (("m.room.create", ""), ("m.room.name", ""))]
    remote.request(
        server, "PUT", f"{V2}/invite/{quoted(room.room_id)}/{quoted(event.event_id)}",
        {"room_version": room.version.identifier, "event": event.pdu, "invite_room_state": state},
    )


@pytest.mark.parametrize("omits_members", [False, True])
def test_joining_and_talking(
    remote: RemoteServer, room: RoomElsewhere, alice: MatrixClient, omits_members: bool
) -> None:
    serve(remote, room, omits_members=omits_members)
    alice.sync()
    alice.post(f"/join/{quoted(room.room_id)}", {}, query={"via": remote.name})
    shown = room_in(alice.sync(), room.room_id)
    assert "m.room.name" in types_in(shown, "state")
    assert shown["timeline"]["limited"] is True
    assert members_in(shown, "timeline") == {alice.user_id}
    told = members_in(shown)
    alice.say(room.room_id, "hello")
    eventually(lambda: [pdu["content"].get("body") for pdu in remote.pdus()] == ["hello"])
    wanted = {alice.user_id, remote.user("rita"), remote.user("rob")}
    count = shown["summary"]["m.joined_member_count"]
    deadline = time.monotonic() + 20
    while count != 3 or not {remote.user("rita"), remote.user("rob")} <= told:
        assert time.monotonic() < deadline, "the members are not told"
        shown = room_in(alice.sync(timeout_ms=1000), room.room_id)
        told |= members_in(shown)
        count = shown.get("summary", {}).get("m.joined_member_count", count)
    eventually(lambda: joined(alice, room.room_id) == wanted)


def joined(client: MatrixClient, room_id: str) -> set[str | None]:
    """Who is in a room."""
    return set(client.get(f"/rooms/{quoted(room_id)}/joined_members")["joined"])


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


def test_an_invite_is_shown_and_accepted(
    server: ServerProcess, remote: RemoteServer, room: RoomElsewhere, alice: MatrixClient
) -> None:
    serve(remote, room)
    alice.sync()
    invite(server, remote, room, str(alice.user_id))
    shown = room_in(alice.sync(), room.room_id, "invite")
    assert {event["type"] for event in events_in(shown, "invite_state")} == {
        "m.room.create", "m.room.name", "m.room.member",
    }
    (old,) = alice.get("/initialSync").json["rooms"]
    assert (old["room_id"], old["membership"], old["inviter"]) == (room.room_id, "invite", room.creator)
    assert "m.room.name" in {event["type"] for event in old["invite"]["unsigned"]["invite_room_state"]}
    alice.join(room.room_id)
    assert room.room_id in alice.joined_rooms()


@pytest.mark.parametrize("is_there", [True, False])
def test_an_invite_is_declined(
    server: ServerProcess, remote: RemoteServer, room: RoomElsewhere, alice: MatrixClient, is_there: bool
) -> None:
    serve(remote, room)
    if not is_there:
        remote.on("GET", f"{V1}/make_leave/{{roomId}}/{{userId}}", error(404, "M_NOT_FOUND"))
    invite(server, remote, room, str(alice.user_id))
    assert room_in(alice.sync(), room.room_id, "invite")
    alice.leave(room.room_id)
    answer = alice.sync()
    assert not room_in(answer, room.room_id, "invite")
    assert members_in(room_in(answer, room.room_id, "leave"), "timeline") == {alice.user_id}
    assert (room.state["m.room.member", str(alice.user_id)].membership == "leave") is is_there


def test_a_knock_is_shown_and_taken_back(remote: RemoteServer, room: RoomElsewhere, alice: MatrixClient) -> None:
    room.send(remote.user("rita"), "m.room.join_rules", {"join_rule": "knock"}, "")
    serve(remote, room)
    alice.post(f"/knock/{quoted(room.room_id)}", {"reason": "Please"}, query={"via": remote.name})
    shown = room_in(alice.sync(), room.room_id, "knock")
    assert {"m.room.create", "m.room.name"} <= set(types_in(shown, "knock_state"))
    alice.leave(room.room_id)
    assert not room_in(alice.sync(), room.room_id, "knock")
    assert room.state["m.room.member", str(alice.user_id)].membership == "leave"


def test_their_users_are_invited(server: ServerProcess, remote: RemoteServer, alice: MatrixClient) -> None:
    remote.knows(server)

    def sign(received: Received) -> Reply:
        event = Event.from_pdu(ROOM_VERSIONS[received.json["room_version"]], received.json["event"])
        return Reply(body={"event": dict(with_event_signature(event, remote.name, remote.key).pdu)})

    remote.on("PUT", f"{V2}/invite/{{roomId}}/{{eventId}}", sign)
    room_id = alice.create_room(name="Ours")
    alice.invite(room_id, remote.user("rita"))
    content = alice.get(f"/rooms/{quoted(room_id)}/state/m.room.member/{remote.user('rita')}").json
    assert content["membership"] == "invite"


def test_all_versions_are_offered(remote: RemoteServer, room: RoomElsewhere, alice: MatrixClient) -> None:
    serve(remote, room)
    alice.join(room.room_id)
    (asked,) = remote.wait_for("GET", f"{V1}/make_join/{{roomId}}/{{userId}}", count=1)
    assert set(asked.query["ver"]) == set(ROOM_VERSIONS)
