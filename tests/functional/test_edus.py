"""What servers tell each other beside events, both ways, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import database
from tests.support.authority import Authority
from tests.support.client import MatrixClient, quoted, unique
from tests.support.openapi import Specification
from tests.support.remote_server import NewRemote, RemoteServer, remote_options
from tests.support.server import ServerProcess

V1 = "/_matrix/federation/v1"
_OPTIONS = {"allow_device_name_lookup_over_federation": True, "presence": {"mode": "all"}}
_WAIT_S = 10.0


@pytest.fixture(scope="module", params=database.ENGINES)
def server(
    request: pytest.FixtureRequest, authority: Authority, specification: Specification
) -> Iterator[ServerProcess]:
    """A server on each engine in turn that tells others of presence, too."""
    if request.param == "psycopg2":
        request.getfixturevalue("postgres")
    place = database.fresh(request.param, migrated=False)
    running = ServerProcess(place, options={**remote_options(authority), **_OPTIONS}).start()
    yield running
    running.stop()
    place.drop()


class Far:
    """The other server, with Rita, and what she has in common with a user here."""

    def __init__(self, remote: RemoteServer, server: ServerProcess) -> None:
        remote.knows(server)
        self.remote = remote
        self.server = server
        self.rita = remote.user("rita")

    def join(self, room_id: str, localpart: str = "rita") -> None:
        """A user of the other server comes into a room."""
        user_id = self.remote.user(localpart)
        path = f"{V1}/make_join/{quoted(room_id)}/{quoted(user_id)}"
        made = self.remote.request(self.server, "GET", path, query={"ver": "10"}, check_answer=False)["event"]
        event = self.remote.event(
            "10", room_id, "m.room.member", localpart, {"membership": "join"}, state_key=user_id,
            prev_events=made["prev_events"], auth_events=made["auth_events"], depth=made["depth"],
        )  # fmt: skip
        path = f"/_matrix/federation/v2/send_join/{quoted(room_id)}/{quoted(event.event_id)}"
        # The data wants an `origin` in the event, which the formats of room versions no longer have.
        self.remote.request(self.server, "PUT", path, event.pdu, validate=False, check_answer=False)

    def send(self, edu_type: str, *contents: Any, validate: bool = True) -> None:
        """EDUs in one transaction."""
        edus = [{"edu_type": edu_type, "content": content} for content in contents]
        self.remote.send(self.server, edus=edus, validate=validate)

    def wait_for(self, edu_type: str, condition: Callable[[Any], bool] = lambda content: True) -> Any:
        """The content of the first EDU that has come and fulfils the condition."""
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            for edu in self.remote.edus(edu_type):
                if condition(edu["content"]):
                    return edu["content"]
            time.sleep(0.02)
        raise AssertionError(f"no such {edu_type}; there are {self.remote.edus()}")


@pytest.fixture
def far(remote: RemoteServer, server: ServerProcess) -> Far:
    return Far(remote, server)


@pytest.fixture
def room(alice: MatrixClient, far: Far) -> str:
    """A room with Rita in it."""
    room_id = alice.create_room(preset="public_chat", room_version="10")
    far.join(room_id)
    return room_id


def ephemeral(client: MatrixClient, room_id: str, event_type: str, since: str | None) -> tuple[list[Any], str]:
    """The contents of the ephemeral events of a type that a sync waits for, and the sync's token."""
    answer = client.get("/sync", query={"timeout": 5000, **({"since": since} if since else {})})
    events = answer["rooms"]["join"][room_id]["ephemeral"]["events"] if "rooms" in answer.json else []
    return [event["content"] for event in events if event["type"] == event_type], answer["next_batch"]


def token(client: MatrixClient) -> str:
    return str(client.get("/sync")["next_batch"])


# --- What comes


def test_typing_of_other_servers_ends_a_sync(alice: MatrixClient, far: Far, room: str) -> None:
    since = token(alice)
    far.send("m.typing", {"room_id": room, "user_id": far.rita, "typing": True})
    found, since = ephemeral(alice, room, "m.typing", since)
    assert found == [{"user_ids": [far.rita]}]
    far.send("m.typing", {"room_id": room, "user_id": far.rita, "typing": False})
    assert ephemeral(alice, room, "m.typing", since)[0] == [{"user_ids": []}]


def test_receipts_of_other_servers_are_shown(alice: MatrixClient, far: Far, room: str) -> None:
    event_id = alice.say(room, "hello")
    since = token(alice)
    receipt = {"event_ids": [event_id], "data": {"ts": 1000, "thread_id": "main"}}
    far.send("m.receipt", {room: {"m.read": {far.rita: receipt}}})
    found, _ = ephemeral(alice, room, "m.receipt", since)
    assert found == [{event_id: {"m.read": {far.rita: {"ts": 1000, "thread_id": "main"}}}}]


def test_what_a_room_keeps_out_is_not_shown(alice: MatrixClient, far: Far, room: str) -> None:
    event_id = alice.say(room, "hello")
    acl = {"allow": ["*"], "deny": ["localhost"], "allow_ip_literals": True}
    alice.put(f"/rooms/{quoted(room)}/state/m.room.server_acl", acl)
    since = token(alice)
    far.send("m.typing", {"room_id": room, "user_id": far.rita, "typing": True})
    far.send("m.receipt", {room: {"m.read": {far.rita: {"event_ids": [event_id], "data": {"ts": 1000}}}}})
    assert "rooms" not in alice.get("/sync", query={"since": since}).json


def test_presence_of_other_servers_is_shown(alice: MatrixClient, far: Far, room: str) -> None:
    since = token(alice)
    update = {"user_id": far.rita, "presence": "online", "last_active_ago": 10, "status_msg": "here"}
    far.send("m.presence", {"push": [update]})
    events = []
    for _ in range(5):
        answer = alice.get("/sync", query={"since": since, "timeout": 3000})
        since = answer["next_batch"]
        events += [event for event in answer.json.get("presence", {}).get("events", []) if event["sender"] == far.rita]
        if events:
            break
    assert [(event["content"]["presence"], event["content"]["status_msg"]) for event in events] == [("online", "here")]
    status = alice.get(f"/presence/{quoted(far.rita)}/status").json
    assert (status["presence"], status["status_msg"]) == ("online", "here")


def test_messages_of_other_servers_come_to_devices_once(alice: MatrixClient, far: Far) -> None:
    since = token(alice)
    content = {
        "sender": far.rita, "type": "m.test", "message_id": unique("m"),
        "messages": {alice.user_id: {alice.device_id: {"n": 1}}},
    }  # fmt: skip
    far.send("m.direct_to_device", content, content)
    far.send("m.direct_to_device", content)
    answer = alice.get("/sync", query={"since": since, "timeout": 5000})
    expected = [{"type": "m.test", "sender": far.rita, "content": {"n": 1}}]
    assert answer["to_device"]["events"] == expected
    assert alice.get("/sync", query={"since": since})["to_device"]["events"] == expected
    assert "to_device" not in alice.get("/sync", query={"since": answer["next_batch"]}).json


def test_device_lists_are_read_after_a_gap(alice: MatrixClient, far: Far, room: str) -> None:
    answer = {"user_id": far.rita, "stream_id": 7, "devices": []}
    far.remote.on("GET", f"{V1}/user/devices/{{userId}}", answer)
    far.send("m.device_list_update", {"user_id": far.rita, "device_id": "D", "stream_id": 7, "prev_id": [6]})
    (asked,) = far.remote.wait_for("GET", f"{V1}/user/devices/{{userId}}")
    assert asked.path.endswith(quoted(far.rita))
    # It is known now what update 8 follows.
    far.send("m.device_list_update", {"user_id": far.rita, "device_id": "D", "stream_id": 8, "prev_id": [7]})
    far.send("m.device_list_update", {"user_id": far.rita, "device_id": "D", "stream_id": 10, "prev_id": [9]})
    far.remote.wait_for("GET", f"{V1}/user/devices/{{userId}}", count=2)
    key = {"user_id": far.rita, "usage": ["master"], "keys": {"ed25519:abc": "abc"}}
    far.send("m.signing_key_update", {"user_id": far.rita, "master_key": key})


def test_bad_edus_cost_the_others_nothing(
    alice: MatrixClient, far: Far, room: str, new_remote: NewRemote, server: ServerProcess
) -> None:
    since = token(alice)
    message: dict[str, Any] = {"sender": far.rita, "type": "m.test", "messages": {alice.user_id: {"*": {"n": 1}}}}
    contents: list[Any] = [
        {}, {"user_id": alice.user_id}, {room: 7}, {room: {"m.read": {far.rita: 7}}}, {"push": [7] * 10_000},
        {"room_id": room, "user_id": alice.user_id, "typing": True}, {**message, "sender": alice.user_id},
        {"user_id": "x" * 100_000}, {f"!{n}:x": {} for n in range(1000)},
    ]  # fmt: skip
    junk: list[Any] = [
        7, None, [], {"edu_type": 7}, {"edu_type": "m.typing"}, {"edu_type": "m.typing", "content": 7},
        {"edu_type": "m.unknown", "content": {}},
        *(
            {"edu_type": edu_type, "content": content}
            for edu_type in (
                "m.typing", "m.receipt", "m.presence", "m.direct_to_device", "m.device_list_update",
                "m.signing_key_update",
            )
            for content in contents
        ),
    ]  # fmt: skip
    good = {"edu_type": "m.direct_to_device", "content": {**message, "message_id": unique("m")}}
    far.remote.send(server, edus=[*junk, good], validate=False)
    # A stranger's word counts for nothing in a room.
    stranger = new_remote()
    typing = {"room_id": room, "user_id": stranger.user("sam"), "typing": True}
    stranger.send(server, edus=[{"edu_type": "m.typing", "content": typing}])
    answer = alice.get("/sync", query={"since": since, "timeout": 5000})
    assert [event["content"] for event in answer["to_device"]["events"]] == [{"n": 1}]
    assert "rooms" not in answer.json


# --- What goes out


def test_typing_here_is_told(alice: MatrixClient, far: Far, room: str) -> None:
    path = f"/rooms/{quoted(room)}/typing/{quoted(alice.user_id)}"
    alice.put(path, {"typing": True, "timeout": 30_000})
    expected = {"room_id": room, "user_id": alice.user_id, "typing": True}
    assert far.wait_for("m.typing") == expected
    alice.put(path, {"typing": False})
    assert far.wait_for("m.typing", lambda content: not content["typing"]) == {**expected, "typing": False}


def test_receipts_here_are_told_but_not_private_ones(
    alice: MatrixClient, bob: MatrixClient, far: Far, room: str
) -> None:
    bob.join(room)
    first, second = alice.say(room, "1"), alice.say(room, "2")
    bob.post(f"/rooms/{quoted(room)}/receipt/m.read.private/{quoted(second)}")
    bob.post(f"/rooms/{quoted(room)}/receipt/m.read/{quoted(first)}")
    content = far.wait_for("m.receipt")
    receipt = content[room]["m.read"][bob.user_id]
    assert receipt["event_ids"] == [first]
    assert set(receipt["data"]) == {"ts"}
    assert all(second not in str(edu) for edu in far.remote.edus("m.receipt"))


def test_presence_here_is_told(alice: MatrixClient, far: Far, room: str) -> None:
    alice.put(f"/presence/{quoted(alice.user_id)}/status", {"presence": "unavailable", "status_msg": "out"})
    content = far.wait_for("m.presence", lambda content: content["push"][0].get("status_msg") == "out")
    assert content["push"][0]["user_id"] == alice.user_id
    assert content["push"][0]["presence"] == "unavailable"


def test_messages_to_devices_of_other_servers_go_out(alice: MatrixClient, bob: MatrixClient, far: Far) -> None:
    messages = {far.rita: {"*": {"n": 1}}, bob.user_id: {bob.device_id: {"n": 2}}}
    for _ in range(2):
        assert alice.put("/sendToDevice/m.test/7", {"messages": messages}).json == {}
    content = far.wait_for("m.direct_to_device")
    assert content["messages"] == {far.rita: {"*": {"n": 1}}}
    assert (content["sender"], content["type"]) == (alice.user_id, "m.test")
    assert 1 <= len(content["message_id"]) <= 32
    assert len(far.remote.edus("m.direct_to_device")) == 1
    events = bob.get("/sync")["to_device"]["events"]
    assert events == [{"type": "m.test", "sender": alice.user_id, "content": {"n": 2}}]
    bad: list[Any] = [{}, {"messages": 7}, {"messages": {"bob": {"*": {}}}}, {"messages": {bob.user_id: {"*": 7}}}]
    for wrong in bad:
        answer = alice.put("/sendToDevice/m.test/8", wrong, validate=False, expect=400)
        assert answer.errcode in ("M_BAD_JSON", "M_INVALID_PARAM")


def test_devices_here_are_told(alice: MatrixClient, far: Far, room: str, server: ServerProcess) -> None:
    second = alice.another()
    second.login(alice.user_id, initial_device_display_name="Desk")
    made = far.wait_for("m.device_list_update", lambda content: content["device_id"] == second.device_id)
    assert made["device_display_name"] == "Desk"
    alice.put(f"/devices/{second.device_id}", {"display_name": "Lap"})
    named = far.wait_for("m.device_list_update", lambda content: content.get("device_display_name") == "Lap")
    assert named["prev_id"] == [made["stream_id"]]
    listed = far.remote.request(server, "GET", f"{V1}/user/devices/{quoted(alice.user_id)}", check_answer=False)
    assert listed["stream_id"] == named["stream_id"]
    second.logout()
    gone = far.wait_for("m.device_list_update", lambda content: content.get("deleted"))
    assert (gone["device_id"], gone["prev_id"]) == (second.device_id, [named["stream_id"]])
