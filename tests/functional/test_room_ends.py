"""A room whose ends have become many is joined together by whoever may, and no client is told of it."""

from __future__ import annotations

from tests.functional.test_sending_out import VERSION, enter, until
from tests.support.client import MatrixClient
from tests.support.remote_server import RemoteServer
from tests.support.server import ServerProcess

MERGE = "org.matrix.dummy_event"


def fork(server: ServerProcess, remote: RemoteServer, alice: MatrixClient, room_id: str, branches: int) -> list[str]:
    """Somebody of the other server says several things at once; the events' IDs."""
    rita = enter(remote, server, room_id)
    until(lambda: rita in alice.members(room_id))
    state = {(event["type"], event["state_key"]): event["event_id"] for event in alice.state(room_id)}
    keys = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", rita)]
    said = [
        remote.event(
            VERSION, room_id, "m.room.message", rita, {"msgtype": "m.text", "body": str(number)},
            prev_events=[state["m.room.member", rita]], auth_events=[state[key] for key in keys], depth=100,
        )
        for number in range(branches)
    ]  # fmt: skip
    for event in said:
        remote.send(server, pdus=[event.pdu])
    return [event.event_id for event in said]


def test_many_ends_are_joined(server: ServerProcess, remote: RemoteServer, alice: MatrixClient) -> None:
    remote.knows(server)
    room_id = alice.create_room(preset="public_chat", room_version=VERSION)
    alice.set_state(room_id, "m.room.name", {"name": "x"})
    alice.sync()
    said = fork(server, remote, alice, room_id, 12)
    until(lambda: [pdu for pdu in remote.pdus() if pdu["type"] == MERGE])
    merge = next(pdu for pdu in remote.pdus() if pdu["type"] == MERGE)
    assert merge["sender"] == alice.user_id
    assert merge["content"] == {}
    assert len(merge["prev_events"]) >= 10
    assert set(merge["prev_events"]) <= set(said)
    after = alice.say(room_id, "after")
    until(lambda: after in str([event["event_id"] for event in alice.history(room_id)]))
    assert MERGE not in [event["type"] for event in alice.history(room_id)]
    assert MERGE not in str(alice.sync().json)
    assert MERGE not in str(alice.copy().sync(since=None).json)
    until(lambda: [pdu for pdu in remote.pdus() if pdu["content"].get("body") == "after"])


def test_nobody_joins_them_without_the_power(server: ServerProcess, remote: RemoteServer, alice: MatrixClient) -> None:
    remote.knows(server)
    levels = {"users": {}, "events_default": 0, "events": {MERGE: 100}}
    room_id = alice.create_room(preset="public_chat", room_version=VERSION)
    alice.set_state(room_id, "m.room.power_levels", {**levels, "users": {alice.user_id: 99}})
    fork(server, remote, alice, room_id, 12)
    alice.say(room_id, "after")
    until(lambda: [pdu for pdu in remote.pdus() if pdu["content"].get("body") == "after"])
    assert MERGE not in [pdu["type"] for pdu in remote.pdus()]
