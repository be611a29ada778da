"""What another server reads over HTTP: each request and answer is checked against the specification's data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import database
from tests.support.authority import Authority
from tests.support.client import MatrixClient, quoted, unique
from tests.support.exchange import Answer
from tests.support.openapi import Specification
from tests.support.remote_server import RemoteServer, remote_options
from tests.support.server import ServerProcess

V1 = "/_matrix/federation/v1"
_OPTIONS = {"allow_public_rooms_over_federation": True, "allow_device_name_lookup_over_federation": True}


@pytest.fixture(scope="module", params=database.ENGINES)
def federated(
    request: pytest.FixtureRequest, authority: Authority, specification: Specification
) -> Iterator[ServerProcess]:
    """A server on each engine in turn that finds the others of the tests."""
    if request.param == "psycopg2":
        request.getfixturevalue("postgres")
    place = database.fresh(request.param, migrated=False)
    running = ServerProcess(place, options={**remote_options(authority), **_OPTIONS}).start()
    yield running
    running.stop()
    place.drop()


@pytest.fixture
def alice(federated: ServerProcess) -> Iterator[MatrixClient]:
    client = federated.new_client()
    yield client
    client.close()


class Reader:
    """The other server, with a user who is in rooms here."""

    def __init__(self, remote: RemoteServer, server: ServerProcess) -> None:
        self.remote = remote
        self.server = server
        self.user_id = remote.user("rita")

    def get(self, path: str, expect: int = 200, validate: bool = True, **query: Any) -> Answer:
        """A signed request."""
        return self.remote.request(
            self.server, "GET", f"{V1}/{path}", query=query or None, expect=expect, validate=validate
        )

    def post(self, path: str, content: Any, expect: int = 200, validate: bool = True) -> Answer:
        """A signed request."""
        return self.remote.request(self.server, "POST", f"{V1}/{path}", content, expect=expect, validate=validate)

    def join(self, room_id: str, version: str = "10") -> str:
        """Joins the user; the ID of the event."""
        path = f"{V1}/make_join/{quoted(room_id)}/{quoted(self.user_id)}"
        made = self.remote.request(self.server, "GET", path, query={"ver": version}, check_answer=False)["event"]
        event = self.remote.event(
            version, room_id, "m.room.member", "rita", {"membership": "join"}, state_key=self.user_id,
            prev_events=made["prev_events"], auth_events=made["auth_events"], depth=made["depth"],
        )
        path = f"/_matrix/federation/v2/send_join/{quoted(room_id)}/{quoted(event.event_id)}"
        # The data wants an `origin` in the event, which the formats of room versions no longer have.
        self.remote.request(self.server, "PUT", path, event.pdu, validate=False, check_answer=False)
        return event.event_id


@pytest.fixture
def reader(remote: RemoteServer, federated: ServerProcess) -> Reader:
    remote.knows(federated)
    return Reader(remote, federated)


@pytest.fixture
def room(alice: MatrixClient, reader: Reader) -> str:
    """A public room that rita has joined."""
    room_id = alice.create_room(preset="public_chat", room_version="10")
    reader.join(room_id)
    return room_id


def test_events_state_and_history(alice: MatrixClient, reader: Reader, room: str) -> None:
    said = [alice.say(room, str(number)) for number in range(3)]
    event = reader.get(f"event/{quoted(said[0])}")
    assert (event["origin"], event["pdus"][0]["content"]["body"]) == ("test", "0")
    backfill = reader.get(f"backfill/{quoted(room)}", v=said[2], limit=2)
    assert [pdu["content"]["body"] for pdu in backfill["pdus"]] == ["2", "1"]
    missing = {"earliest_events": [said[0]], "latest_events": [said[2]], "limit": 5, "min_depth": 0}
    found = reader.post(f"get_missing_events/{quoted(room)}", missing)["events"]
    assert [pdu["content"]["body"] for pdu in found] == ["1"]
    assert reader.post(f"get_missing_events/{quoted(room)}", {}, validate=False)["events"] == []
    state = reader.get(f"state/{quoted(room)}", event_id=said[0])
    assert {pdu["type"] for pdu in state["pdus"]} >= {"m.room.create", "m.room.member", "m.room.power_levels"}
    ids = reader.get(f"state_ids/{quoted(room)}", event_id=said[0])
    assert len(ids["pdu_ids"]) == len(state["pdus"])
    chain = reader.get(f"event_auth/{quoted(room)}/{quoted(said[0])}")["auth_chain"]
    assert {pdu["type"] for pdu in chain} >= {"m.room.create", "m.room.member", "m.room.power_levels"}
    ts = event["pdus"][0]["origin_server_ts"]
    nearest = reader.get(f"timestamp_to_event/{quoted(room)}", ts=ts, dir="f")
    assert nearest["event_id"] == said[0]
    assert reader.get(f"timestamp_to_event/{quoted(room)}", 404, ts=2**52, dir="f").errcode == "M_NOT_FOUND"


def test_bad_questions(alice: MatrixClient, reader: Reader, room: str) -> None:
    private = alice.create_room(preset="private_chat")
    secret = alice.say(private, "secret")
    said = alice.say(room, "said")
    for path, query, expect in (
        ("state/notaroom", {}, 400),
        ("state_ids/notaroom", {}, 400),
        (f"state/{quoted(room)}", {"event_id": "x"}, 400),
        (f"state/{quoted(room)}", {"event_id": secret}, 404),
        (f"state_ids/{quoted(private)}", {"event_id": secret}, 403),
        ("state/%21unknown%3Aa", {"event_id": said}, 404),
        (f"event_auth/{quoted(room)}/{quoted(secret)}", {}, 404),
        (f"event/{quoted(secret)}", {}, 404),
        ("event/x", {}, 400),
        (f"backfill/{quoted(room)}", {"v": said}, 400),
        (f"backfill/{quoted(room)}", {"limit": 1}, 400),
        (f"backfill/{quoted(room)}", {"v": said, "limit": "many"}, 400),
        (f"backfill/{quoted(room)}", {"v": said, "limit": 0}, 400),
        (f"backfill/{quoted(room)}", {"v": "x", "limit": 1}, 400),
        ("backfill/%21unknown%3Aa", {"v": said, "limit": 1}, 404),
        (f"timestamp_to_event/{quoted(room)}", {"dir": "f"}, 400),
        (f"timestamp_to_event/{quoted(room)}", {"dir": "x", "ts": 1}, 400),
        (f"timestamp_to_event/{quoted(private)}", {"dir": "f", "ts": 1}, 403),
        ("hierarchy/%21unknown%3Aa", {}, 404),
        (f"hierarchy/{quoted(private)}", {}, 404),
        ("query/directory", {}, 400),
        ("query/directory", {"room_alias": "x"}, 400),
        ("query/profile", {"user_id": "x"}, 400),
        ("query/profile", {"user_id": "@nobody:test"}, 404),
        ("query/unheard_of", {}, 404),
        ("user/devices/%40nobody%3Atest", {}, 404),
        ("publicRooms", {"limit": -1}, 400),
    ):
        answer = reader.get(path, expect, validate=False, **query)
        assert answer.errcode in ("M_MISSING_PARAM", "M_INVALID_PARAM", "M_NOT_FOUND", "M_FORBIDDEN", "M_UNRECOGNIZED")
    assert reader.get(f"backfill/{quoted(room)}", v=secret, limit=1)["pdus"] == []
    bodies: list[Any] = [{"limit": -1}, {"limit": "x"}, {"latest_events": ["x"]}, {"earliest_events": 5}, [], "x"]
    for body in bodies:
        answer = reader.post(f"get_missing_events/{quoted(room)}", body, 400, validate=False)
        assert answer.errcode in ("M_BAD_JSON", "M_INVALID_PARAM")
    bodies = [{}, {"device_keys": []}, {"device_keys": {"@a:test": 5}}]
    for body in bodies:
        assert reader.post("user/keys/query", body, 400, validate=False).errcode == "M_BAD_JSON"


def test_the_acl_bans(alice: MatrixClient, reader: Reader, room: str) -> None:
    said = alice.say(room, "said")
    alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["localhost"]})
    for path, query in (
        (f"state/{quoted(room)}", {"event_id": said}),
        (f"state_ids/{quoted(room)}", {"event_id": said}),
        (f"backfill/{quoted(room)}", {"v": said, "limit": 1}),
        (f"event_auth/{quoted(room)}/{quoted(said)}", {}),
        (f"event/{quoted(said)}", {}),
        (f"timestamp_to_event/{quoted(room)}", {"ts": 1, "dir": "f"}),
        (f"hierarchy/{quoted(room)}", {}),
    ):
        assert reader.get(path, 403, **query).errcode == "M_FORBIDDEN"
    body = {"earliest_events": [], "latest_events": [said]}
    assert reader.post(f"get_missing_events/{quoted(room)}", body, 403).errcode == "M_FORBIDDEN"


def test_directory_and_published_rooms(alice: MatrixClient, reader: Reader) -> None:
    word = unique("word")
    room = alice.create_room(preset="public_chat", name=word, room_alias_name=word, visibility="public")
    local = alice.create_room(
        preset="public_chat", name=word, visibility="public", creation_content={"m.federate": False}
    )
    alias = f"#{word}:test"
    found = reader.get("query/directory", room_alias=alias)
    assert (found["room_id"], found["servers"]) == (room, ["test"])
    assert reader.get("query/directory", 404, room_alias=f"#no{word}:test").errcode == "M_NOT_FOUND"
    listed = {entry["room_id"] for entry in reader.get("publicRooms")["chunk"]}
    assert (room in listed, local in listed) == (True, False)
    search = {"filter": {"generic_search_term": word}, "limit": 5}
    (entry,) = reader.post("publicRooms", search)["chunk"]
    assert (entry["room_id"], entry["canonical_alias"], entry["num_joined_members"]) == (room, alias, 1)
    assert len(reader.get("publicRooms", limit=1)["chunk"]) == 1
    assert reader.get("publicRooms", third_party_instance_id="irc")["chunk"] == []


def test_profiles_and_devices(alice: MatrixClient, reader: Reader) -> None:
    user = alice.user_id
    assert reader.get("query/profile", user_id=user, field="avatar_url").json == {}
    alice.put(f"/profile/{quoted(user)}/avatar_url", {"avatar_url": "mxc://test/a"})
    alice.put(f"/profile/{quoted(user)}/displayname", {"displayname": "Alice"})
    assert reader.get("query/profile", user_id=user, field="displayname").json == {"displayname": "Alice"}
    assert reader.get("query/profile", user_id=user)["avatar_url"] == "mxc://test/a"
    assert reader.get("query/profile", 404, user_id=user, field="org.example").errcode == "M_NOT_FOUND"
    alice.put(f"/devices/{quoted(str(alice.device_id))}", {"display_name": "Phone"})
    devices = reader.get(f"user/devices/{quoted(user)}")
    assert devices["user_id"] == user
    assert (alice.device_id, "Phone") in [(d["device_id"], d.get("device_display_name")) for d in devices["devices"]]
    keys = reader.post("user/keys/query", {"device_keys": {user: [], "@nobody:test": []}})
    assert keys["device_keys"] == {user: {}}
    claim = {"one_time_keys": {user: {str(alice.device_id): "signed_curve25519"}}}
    assert reader.post("user/keys/claim", claim)["one_time_keys"] == {}


def test_spaces(alice: MatrixClient, reader: Reader) -> None:
    space = alice.create_room(preset="public_chat", creation_content={"type": "m.space"}, name="Space")
    open_room = alice.create_room(preset="public_chat", name="Open")
    private = alice.create_room(preset="private_chat")
    for child, is_suggested in ((open_room, True), (private, False), ("!elsewhere:other.example", False)):
        alice.set_state(space, "m.space.child", {"via": ["test"], "suggested": is_suggested}, child)
    found = reader.get(f"hierarchy/{quoted(space)}")
    assert (found["room"]["name"], found["room"]["room_type"]) == ("Space", "m.space")
    assert [child["state_key"] for child in found["room"]["children_state"]] == [
        open_room, private, "!elsewhere:other.example"
    ]  # fmt: skip
    assert [child["room_id"] for child in found["children"]] == [open_room]
    assert found["inaccessible_children"] == [private]
    suggested = reader.get(f"hierarchy/{quoted(space)}", suggested_only="true")
    assert (len(suggested["room"]["children_state"]), suggested["inaccessible_children"]) == (1, [])


def test_version_and_media(alice: MatrixClient, reader: Reader) -> None:
    version = alice.get(f"{V1}/version", token=None)
    assert (version["server"]["name"], bool(version["server"]["version"])) == ("matrixd", True)
    assert reader.get("media/download/abc", 404).errcode == "M_NOT_FOUND"
    assert reader.get("media/thumbnail/abc", 404, width=1, height=1).errcode == "M_NOT_FOUND"


def test_nobody_reads_without_a_signature(alice: MatrixClient, reader: Reader, room: str) -> None:
    said = alice.say(room, "said")
    answer = reader.remote.request(
        reader.server, "GET", f"{V1}/event/{quoted(said)}", headers={"Authorization": ""}, expect=401
    )
    assert answer.errcode
