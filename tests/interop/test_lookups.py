"""What one server asks the other, and what passes without being an event."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from typing import Any

from tests.interop.people import Person, Side, eventually, talk
from tests.support.client import quoted, unique


def test_a_room_is_found_by_its_alias(home: Side, alice: Person, bob: Person) -> None:
    name = unique("tea")
    room_id = alice.create_room("12", room_alias_name=name)
    alias = f"#{name}:{home.name}"
    found = bob.client.get(f"/directory/room/{quoted(alias)}")
    assert found["room_id"] == room_id
    assert home.name in found["servers"]
    bob.client.join(alias)
    talk(room_id, alice, bob)


def test_an_unknown_alias_is_not_found(home: Side, bob: Person) -> None:
    alias = f"#{unique('nothing')}:{home.name}"
    assert bob.client.get(f"/directory/room/{quoted(alias)}", expect=404).errcode == "M_NOT_FOUND"


def test_a_profile_is_shown(alice: Person, bob: Person) -> None:
    alice.client.put(f"/profile/{quoted(alice.id)}/displayname", {"displayname": "Alice in Wonderland"})
    assert bob.client.get(f"/profile/{quoted(alice.id)}")["displayname"] == "Alice in Wonderland"
    stranger = alice.id.replace("@", "@no")
    assert bob.client.get(f"/profile/{quoted(stranger)}", expect=404).errcode == "M_NOT_FOUND"


def test_the_published_rooms_are_listed(home: Side, alice: Person, bob: Person) -> None:
    topic = unique("tea")
    room_id = alice.create_room("12", visibility="public", name="Tea", topic=topic)
    wanted = {"filter": {"generic_search_term": topic}, "limit": 5}

    def is_listed() -> bool:
        found = bob.client.post("/publicRooms", wanted, query={"server": home.name})
        return [room["room_id"] for room in found["chunk"]] == [room_id]

    eventually(is_listed, f"{room_id} is not among the published rooms")


def test_typing_and_receipts_arrive(alice: Person, bob: Person) -> None:
    room_id = alice.create_room("12")
    bob.join(room_id, alice)
    talk(room_id, alice, bob)
    said = alice.client.say(room_id, "read this")
    bob.hears(room_id, said)
    bob.client.post(f"/rooms/{quoted(room_id)}/receipt/m.read/{quoted(said)}")
    path = f"/rooms/{quoted(room_id)}/typing/{quoted(bob.id)}"
    bob.client.put(path, {"typing": True, "timeout": 20_000})
    typing: set[str] = set()
    readers: set[str] = set()

    def both(answer: dict[str, Any]) -> bool:
        room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
        for edu in room.get("ephemeral", {}).get("events", []):
            if edu["type"] == "m.typing":
                typing.update(edu["content"]["user_ids"])
            elif edu["type"] == "m.receipt":
                readers.update(edu["content"].get(said, {}).get("m.read", {}))
        return bob.id in typing and bob.id in readers

    alice.client.sync_until(both, within_s=20)


def test_messages_to_devices_arrive(alice: Person, bob: Person) -> None:
    body = {"messages": {alice.id: {"*": {"said": "directly"}}}}
    bob.client.put(f"/sendToDevice/org.example.note/{unique('t')}", body)

    def told(answer: dict[str, Any]) -> list[dict[str, Any]]:
        return [event for event in answer.get("to_device", {}).get("events", []) if event["sender"] == bob.id]

    (event,) = alice.client.sync_until(told, within_s=20)
    assert event == {"sender": bob.id, "type": "org.example.note", "content": {"said": "directly"}}


def test_a_user_is_known_by_an_openid_token(home: Side, alice: Person) -> None:
    token = alice.client.post(f"/user/{quoted(alice.id)}/openid/request_token")
    assert token["matrix_server_name"] == home.name
    host, port = home.name.rsplit(":", 1)
    trusted = ssl.create_default_context(cafile=str(home.server.authority.certificate))
    connection = http.client.HTTPSConnection(host, int(port), timeout=20, context=trusted)
    with contextlib.closing(connection):
        connection.request("GET", f"/_matrix/federation/v1/openid/userinfo?access_token={token['access_token']}")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (200, {"sub": alice.id})
