"""What clients read of other servers through this one: aliases, published rooms, profiles, spaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import database
from tests.support.authority import Authority
from tests.support.client import MatrixClient, quoted, unique
from tests.support.openapi import Specification
from tests.support.remote_server import NewRemote, Received, RemoteServer, Reply, error, remote_options
from tests.support.server import ServerProcess

V1 = "/_matrix/federation/v1"


@pytest.fixture(scope="module", params=database.ENGINES)
def asking(
    request: pytest.FixtureRequest, authority: Authority, specification: Specification
) -> Iterator[ServerProcess]:
    """A server on each engine in turn that finds the others of the tests."""
    if request.param == "psycopg2":
        request.getfixturevalue("postgres")
    place = database.fresh(request.param, migrated=False)
    running = ServerProcess(place, options=remote_options(authority)).start()
    yield running
    running.stop()
    place.drop()


@pytest.fixture
def alice(asking: ServerProcess) -> Iterator[MatrixClient]:
    client = asking.new_client()
    yield client
    client.close()


@pytest.fixture
def far(remote: RemoteServer, asking: ServerProcess) -> RemoteServer:
    remote.knows(asking)
    return remote


def summary(room_id: str, **more: Any) -> dict[str, Any]:
    return {
        "room_id": room_id, "num_joined_members": 2, "world_readable": False, "guest_can_join": False,
        "join_rule": "public", **more,
    }  # fmt: skip


def test_aliases(alice: MatrixClient, far: RemoteServer) -> None:
    alias, room = f"#{unique('alias')}:{far.name}", f"!r:{far.name}"
    far.on("GET", f"{V1}/query/directory", {"room_id": room, "servers": ["a.example", far.name, "not a server!"]})
    found = alice.get(f"/directory/room/{quoted(alias)}")
    assert found.json == {"room_id": room, "servers": ["a.example", far.name]}
    assert far.received("GET", f"{V1}/query/directory")[0].query == {"room_alias": [alias]}
    moved = {"room_id": f"!moved:{far.name}", "servers": [far.name]}
    far.on("GET", f"{V1}/query/directory", {**moved, "servers": []})
    assert alice.get(f"/directory/room/{quoted(alias)}").json == moved


@pytest.mark.parametrize(
    ("answer", "status", "errcode"),
    [
        (error(404, "M_NOT_FOUND"), 404, "M_NOT_FOUND"),
        (error(404, "M_UNRECOGNIZED"), 502, "M_UNKNOWN"),
        (error(403, "M_FORBIDDEN"), 403, "M_FORBIDDEN"),
        (error(429, "M_LIMIT_EXCEEDED", retry_after_ms=1), 429, "M_LIMIT_EXCEEDED"),
        (error(500, "M_UNKNOWN"), 502, "M_UNKNOWN"),
        (Reply(body=b"<html>"), 502, "M_UNKNOWN"),
        (Reply(body={"room_id": 5}), 502, "M_UNKNOWN"),
        (Reply(body={"room_id": "x", "servers": []}), 502, "M_UNKNOWN"),
        (Reply(body=[]), 502, "M_UNKNOWN"),
        (Reply(cut=True), 502, "M_UNKNOWN"),
    ],
)
def test_what_goes_wrong_elsewhere_is_told(
    alice: MatrixClient, far: RemoteServer, answer: Reply, status: int, errcode: str
) -> None:
    far.on("GET", f"{V1}/query/directory", answer)
    alias = f"#{unique('alias')}:{far.name}"
    assert alice.get(f"/directory/room/{quoted(alias)}", expect=status).errcode == errcode


def test_a_server_that_is_gone(alice: MatrixClient, new_remote: NewRemote) -> None:
    gone = new_remote()
    gone.stop()
    alias, user = f"#a:{gone.name}", f"@a:{gone.name}"
    assert alice.get(f"/directory/room/{quoted(alias)}", expect=502).errcode == "M_UNKNOWN"
    assert alice.get(f"/profile/{quoted(user)}", expect=502).errcode == "M_UNKNOWN"
    assert alice.get("/publicRooms", query={"server": gone.name}, expect=502).errcode == "M_UNKNOWN"
    wrong = alice.get("/publicRooms", query={"server": "no server"}, validate=False, expect=400)
    assert wrong.errcode == "M_INVALID_PARAM"


def test_a_canonical_alias_of_another_server_is_looked_up(alice: MatrixClient, far: RemoteServer) -> None:
    room = alice.create_room()
    good, bad = f"#{unique('good')}:{far.name}", f"#{unique('bad')}:{far.name}"

    def answer(received: Received) -> Any:
        is_good = received.query["room_alias"] == [good]
        return {"room_id": room if is_good else "!other:a.example", "servers": ["test"]}

    far.on("GET", f"{V1}/query/directory", answer)
    refused = alice.set_state(room, "m.room.canonical_alias", {"alias": bad}, expect=400)
    assert refused.errcode == "M_BAD_ALIAS"
    alice.set_state(room, "m.room.canonical_alias", {"alias": good})


def test_published_rooms(alice: MatrixClient, far: RemoteServer) -> None:
    entries = [summary(f"!a:{far.name}", name="A"), summary(f"!b:{far.name}", avatar_url="http://x", topic="T")]
    page = {"chunk": entries, "next_batch": "n1", "total_room_count_estimate": 7}
    far.on("GET", f"{V1}/publicRooms", page)
    far.on("POST", f"{V1}/publicRooms", page)
    found = alice.get("/publicRooms", query={"server": far.name, "limit": 2, "since": "s"})
    assert [entry["room_id"] for entry in found["chunk"]] == [f"!a:{far.name}", f"!b:{far.name}"]
    assert ("avatar_url" in found["chunk"][1], found["next_batch"]) == (False, "n1")
    assert far.received("GET", f"{V1}/publicRooms")[0].query == {"limit": ["2"], "since": ["s"]}
    search = {"filter": {"generic_search_term": "x", "room_types": [None]}, "limit": 5}
    assert alice.post("/publicRooms", search, query={"server": far.name})["total_room_count_estimate"] == 7
    assert far.received("POST", f"{V1}/publicRooms")[0].json == search


def test_profiles(alice: MatrixClient, far: RemoteServer) -> None:
    user = far.user(unique("user"))
    far.on("GET", f"{V1}/query/profile", {"displayname": "Far", "avatar_url": None, "org.example": [1], "m.tz": 5})
    assert alice.get(f"/profile/{quoted(user)}").json == {"displayname": "Far", "org.example": [1]}
    assert alice.get(f"/profile/{quoted(user)}/displayname").json == {"displayname": "Far"}
    assert alice.get(f"/profile/{quoted(user)}/avatar_url", expect=404).errcode == "M_NOT_FOUND"
    assert [each.query for each in far.received("GET", f"{V1}/query/profile")] == [{"user_id": [user]}]
    far.on("GET", f"{V1}/query/profile", error(404, "M_NOT_FOUND"))
    assert alice.get(f"/profile/{quoted(far.user('nobody'))}", expect=404).errcode == "M_NOT_FOUND"
    far.on("GET", f"{V1}/query/profile", {"org.example": "x" * 70_000, "big": 1})
    assert alice.get(f"/profile/{quoted(far.user('big'))}", expect=502).errcode == "M_UNKNOWN"


def test_spaces_across_servers(alice: MatrixClient, far: RemoteServer) -> None:
    space = alice.create_room(preset="public_chat", creation_content={"type": "m.space"})
    inner, room, hidden = f"!inner:{far.name}", f"!room:{far.name}", f"!hidden:{far.name}"
    alice.set_state(space, "m.space.child", {"via": [far.name]}, inner)
    children = [
        {"type": "m.space.child", "state_key": child, "content": {"via": [far.name]}, "sender": far.user("f"),
         "origin_server_ts": number}
        for number, child in enumerate((room, hidden))
    ]  # fmt: skip
    far.on(
        "GET", f"{V1}/hierarchy/{{roomId}}",
        lambda received: {
            "room": summary(inner, room_type="m.space", name="Inner", children_state=children),
            "children": [summary(room, name="Room")],
            "inaccessible_children": [hidden],
        } if received.parameters["roomId"] == inner else error(404, "M_NOT_FOUND"),
    )  # fmt: skip
    found = alice.get(f"/_matrix/client/v1/rooms/{quoted(space)}/hierarchy")
    assert [entry["room_id"] for entry in found["rooms"]] == [space, inner, room]
    assert [entry.get("name") for entry in found["rooms"][1:]] == ["Inner", "Room"]
    asked = [each.parameters["roomId"] for each in far.received("GET", f"{V1}/hierarchy/{{roomId}}")]
    assert asked == [inner]
    shown = alice.get(f"/_matrix/client/v1/room_summary/{quoted(inner)}", query={"via": far.name})
    assert (shown["name"], shown["membership"]) == ("Inner", "leave")
    far.on("GET", f"{V1}/query/directory", {"room_id": inner, "servers": [far.name]})
    shown = alice.get(f"/_matrix/client/v1/room_summary/{quoted(f'#inner:{far.name}')}")
    assert shown["room_id"] == inner
    answer = alice.get(f"/_matrix/client/v1/room_summary/{quoted(hidden)}", query={"via": far.name}, expect=404)
    assert answer.errcode == "M_NOT_FOUND"
