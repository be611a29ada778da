"""What a real server sends to another one, over TLS: events, outages, kicks; and what its admin sees of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from matrixd.ops import synctl
from tests.support.client import MatrixClient
from tests.support.remote_server import RemoteServer, Reply, error
from tests.support.server import ServerProcess

SEND = "/_matrix/federation/v1/send/{txnId}"
VERSION = "10"


def enter(remote: RemoteServer, server: ServerProcess, room_id: str, name: str = "rita") -> str:
    """A user of the other server joins a public room; the user's ID."""
    user_id = remote.user(name)
    path = f"{quote(room_id, safe='')}/{quote(user_id, safe='')}"
    made = remote.request(
        server, "GET", f"/_matrix/federation/v1/make_join/{path}", query={"ver": [VERSION]}, check_answer=False
    )
    template = made.json["event"]
    join = remote.event(
        VERSION, room_id, "m.room.member", user_id, template["content"], prev_events=template["prev_events"],
        auth_events=template["auth_events"], depth=template["depth"], state_key=user_id,
    )  # fmt: skip
    path = f"{quote(room_id, safe='')}/{quote(join.event_id, safe='')}"
    # The specification's data still asks for `origin`, which its text no longer has in an event.
    remote.request(
        server, "PUT", f"/_matrix/federation/v2/send_join/{path}", join.pdu, validate=False, check_answer=False
    )
    return user_id


def until(condition: Callable[[], Any], within_s: float = 15.0) -> None:
    """Waits until it is so."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it is not so in time"
        time.sleep(0.02)


def texts(remote: RemoteServer) -> list[str]:
    """The messages that have come, each once, in order."""
    return list(dict.fromkeys(pdu["content"]["body"] for pdu in remote.pdus() if pdu["type"] == "m.room.message"))


@pytest.fixture
def room_id(alice: MatrixClient) -> str:
    """A public room of alice."""
    return alice.create_room(preset="public_chat", room_version=VERSION)


def test_what_is_sent_here_arrives_there(
    server: ServerProcess, alice: MatrixClient, remote: RemoteServer, room_id: str
) -> None:
    remote.knows(server)
    enter(remote, server, room_id)
    for number in range(5):
        alice.say(room_id, str(number))
    until(lambda: texts(remote) == [str(number) for number in range(5)])
    (pdu,) = [pdu for pdu in remote.pdus() if pdu["content"].get("body") == "4"]
    assert pdu["sender"] == alice.user_id
    assert "unsigned" not in pdu
    assert len({received.path for received in remote.received("PUT", SEND)}) == len(remote.received("PUT", SEND))


def test_a_server_that_is_restarted_gets_what_it_missed_within_seconds(
    server: ServerProcess, alice: MatrixClient, remote: RemoteServer, room_id: str
) -> None:
    enter(remote, server, room_id)
    alice.say(room_id, "before")
    until(lambda: texts(remote) == ["before"])
    remote.on("PUT", SEND, Reply(cut=True))
    alice.say(room_id, "first")
    alice.say(room_id, "second")
    remote.wait_for("PUT", SEND, count=3)
    failed = remote.received("PUT", SEND)[1:]
    assert {received.body for received in failed} == {failed[0].body}
    remote.on("PUT", SEND, {"pdus": {}})
    remote.request(server, "GET", "/_matrix/federation/v1/query/profile", query={"user_id": alice.user_id})
    until(lambda: texts(remote) == ["before", "first", "second"], within_s=4)


def test_who_is_kicked_is_told_and_hears_no_more(
    server: ServerProcess, alice: MatrixClient, remote: RemoteServer, room_id: str
) -> None:
    user_id = enter(remote, server, room_id)
    alice.kick(room_id, user_id)
    until(lambda: [pdu for pdu in remote.pdus() if pdu["content"].get("membership") == "leave"])
    alice.say(room_id, "nobody there")
    time.sleep(0.5)
    assert texts(remote) == []


def test_a_join_through_this_server_is_told_to_the_others(
    server: ServerProcess,
    new_remote: Callable[..., RemoteServer],
    remote: RemoteServer,
    room_id: str,
) -> None:
    other = new_remote()
    enter(remote, server, room_id)
    enter(other, server, room_id, "otto")
    until(lambda: [pdu["state_key"] for pdu in remote.pdus() if "state_key" in pdu] == [other.user("otto")])
    assert [pdu for pdu in other.pdus() if pdu.get("state_key") == other.user("otto")] == []


def test_the_admin_sees_who_does_not_take_it(
    server: ServerProcess,
    alice: MatrixClient,
    remote: RemoteServer,
    room_id: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    enter(remote, server, room_id)
    remote.on("PUT", SEND, error(403, "M_FORBIDDEN", "We do not know you."))
    alice.say(room_id, "hello")

    def queue() -> list[dict[str, Any]]:
        assert synctl.main(["queue", "--json", str(server.config_path)]) == 0
        shown = json.loads(capsys.readouterr().out)
        return [each for each in shown if each["destination"] == remote.name]

    until(queue)
    (shown,) = queue()
    assert (shown["state"], shown["events"], shown["error_kind"]) == ("retrying", 1, "http")
    assert shown["error"] == "403 M_FORBIDDEN: We do not know you."
    assert synctl.main(["queue", str(server.config_path)]) == 0
    assert f"{remote.name}  retrying (" in capsys.readouterr().out
    remote.on("PUT", SEND, {"pdus": {}})
    until(lambda: texts(remote) == ["hello"])
    until(lambda: queue() == [])
