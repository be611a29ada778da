"""Rooms that can be found: created with everything, aliases, the published rooms, and upgrades."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted, unique


def alias_path(alias: str) -> str:
    return f"/directory/room/{quoted(alias)}"


def list_path(room: str) -> str:
    return f"/directory/list/room/{quoted(room)}"


@pytest.mark.parametrize(
    ("preset", "rule", "visibility", "guests"),
    [
        ("private_chat", "invite", "shared", "can_join"),
        ("trusted_private_chat", "invite", "shared", "can_join"),
        ("public_chat", "public", "shared", "forbidden"),
    ],
)
def test_presets(
    alice: MatrixClient, bob: MatrixClient, preset: str, rule: str, visibility: str, guests: str
) -> None:
    for version in ("11", "12"):
        room = alice.create_room(preset=preset, invite=[bob.user_id], room_version=version)
        assert alice.state_content(room, "m.room.join_rules")["join_rule"] == rule
        assert alice.state_content(room, "m.room.history_visibility")["history_visibility"] == visibility
        given = alice.state_content(room, "m.room.guest_access", expect={200, 404})
        assert given.get("guest_access", "forbidden") == guests
        users = alice.state_content(room, "m.room.power_levels")["users"]
        creators = alice.state_content(room, "m.room.create").json.get("additional_creators", [])
        trusted = preset == "trusted_private_chat"
        if version == "12":
            assert (bob.user_id in creators, alice.user_id in users) == (trusted, False)
        else:
            assert (users[alice.user_id], users.get(bob.user_id, 0)) == (100, 100 if trusted else 0)


def test_a_room_with_everything(alice: MatrixClient, bob: MatrixClient) -> None:
    name = unique("all")
    created = alice.post(
        "/createRoom",
        {
            "visibility": "public",
            "room_alias_name": name,
            "name": "Everything",
            "topic": "All of it",
            "invite": [bob.user_id],
            "room_version": "11",
            "creation_content": {"m.federate": False, "type": "m.space"},
            "initial_state": [
                {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}},
                {"type": "org.example", "state_key": "key", "content": {"a": [1, None, True]}},
            ],
            "power_level_content_override": {"events": {"org.example": 0}, "users_default": 5},
            "is_direct": True,
        },
    )
    room = created["room_id"]
    create = alice.state_content(room, "m.room.create").json
    assert (create["m.federate"], create["type"], create["room_version"]) == (False, "m.space", "11")
    assert alice.state_content(room, "m.room.name").json == {"name": "Everything"}
    assert alice.state_content(room, "m.room.topic")["topic"] == "All of it"
    assert alice.state_content(room, "m.room.canonical_alias")["alias"] == f"#{name}:test"
    assert alice.state_content(room, "m.room.history_visibility")["history_visibility"] == "joined"
    assert alice.state_content(room, "org.example", "key").json == {"a": [1, None, True]}
    power = alice.state_content(room, "m.room.power_levels").json
    assert (power["events"], power["users_default"]) == ({"org.example": 0}, 5)
    assert alice.state_content(room, "m.room.member", bob.user_id)["is_direct"] is True
    taken = alice.post("/createRoom", {"room_alias_name": name}, expect=400)
    assert taken.errcode == "M_ROOM_IN_USE"
    assert alice.joined_rooms() == [room]


def test_aliases(alice: MatrixClient, bob: MatrixClient, client: MatrixClient, new_user: NewUser, room: str) -> None:
    alias, other = f"#{unique('alias')}:test", f"#{unique('alias')}:test"
    alice.put(alias_path(alias), {"room_id": room})
    found = client.get(alias_path(alias))
    assert (found["room_id"], found["servers"]) == (room, ["test"])
    assert alice.put(alias_path(alias), {"room_id": room}, expect=409).errcode
    bob.put(alias_path(other), {"room_id": room})
    assert set(bob.get(f"/rooms/{quoted(room)}/aliases")["aliases"]) == {alias, other}
    stranger = new_user()
    assert stranger.get(f"/rooms/{quoted(room)}/aliases", expect=403).errcode == "M_FORBIDDEN"
    assert stranger.delete(alias_path(alias), expect=403).errcode == "M_FORBIDDEN"
    alice.set_state(room, "m.room.canonical_alias", {"alias": alias, "alt_aliases": [other]})
    wrong = alice.set_state(room, "m.room.canonical_alias", {"alias": "#unknown:test"}, expect=400)
    assert wrong.errcode == "M_BAD_ALIAS"
    alice.delete(alias_path(alias))
    assert client.get(alias_path(alias), expect=404).errcode == "M_NOT_FOUND"
    assert alice.delete(alias_path(alias), expect=404).errcode == "M_NOT_FOUND"
    for name in ("alias", "#alias", "#:test", "#a b:test\n"):
        assert client.get(alias_path(name), validate=False, expect={400, 404}).errcode in (
            "M_INVALID_PARAM", "M_NOT_FOUND"
        )  # fmt: skip
    assert alice.put(alias_path("#x:elsewhere.example"), {"room_id": room}, expect=400).errcode == "M_INVALID_PARAM"
    answer = alice.put(alias_path(f"#{unique('a')}:test"), {"room_id": "!unknown:test"}, expect={400, 403, 404})
    assert answer.errcode


def rooms_in(answer: Any) -> set[str]:
    return {room["room_id"] for room in answer["chunk"]}


def test_published_rooms(alice: MatrixClient, bob: MatrixClient, client: MatrixClient, new_user: NewUser) -> None:
    word = unique("word")
    rooms = [alice.create_room(preset="public_chat", name=f"{word} {number}") for number in range(5)]
    bob.join(rooms[0])
    for room in rooms:
        assert client.get(list_path(room))["visibility"] == "private"
        alice.put(list_path(room), {"visibility": "public"})
        assert client.get(list_path(room))["visibility"] == "public"
    wanted = {"filter": {"generic_search_term": word.upper()}}
    found = alice.post("/publicRooms", wanted)
    assert rooms_in(found) == set(rooms)
    assert (found["chunk"][0]["room_id"], found["chunk"][0]["num_joined_members"]) == (rooms[0], 2)
    seen: set[str] = set()
    since: str | None = None
    for _ in range(3):
        page = alice.post("/publicRooms", {**wanted, "limit": 2, **({"since": since} if since else {})})
        assert not seen & rooms_in(page)
        seen |= rooms_in(page)
        since = page.get("next_batch")
    assert (seen, since) == (set(rooms), None)
    space = {"filter": {"generic_search_term": word, "room_types": ["m.space"]}}
    assert alice.post("/publicRooms", space)["chunk"] == []
    answer = client.get("/publicRooms", query={"limit": 1}, token=None, expect={200, 401})
    assert len(answer.json.get("chunk", [1])) == 1
    assert len(alice.get("/publicRooms", query={"limit": 3})["chunk"]) == 3
    assert alice.get("/publicRooms", query={"limit": -1}, validate=False, expect=400).errcode == "M_INVALID_PARAM"
    assert alice.get("/publicRooms", query={"since": "x"}, expect=400).errcode == "M_INVALID_PARAM"
    for other in (bob, new_user()):
        assert other.put(list_path(rooms[1]), {"visibility": "private"}, expect=403).errcode == "M_FORBIDDEN"
    alice.put(list_path(rooms[1]), {"visibility": "private"})
    assert rooms_in(alice.post("/publicRooms", wanted)) == set(rooms) - {rooms[1]}
    assert client.get(list_path("!unknown:test"), expect=404).errcode == "M_NOT_FOUND"
    assert alice.put(list_path("!unknown:test"), {}, expect=404).errcode == "M_NOT_FOUND"


def test_upgrading(alice: MatrixClient, bob: MatrixClient, new_user: NewUser) -> None:
    old = alice.create_room(preset="public_chat", room_version="10", name="Old", topic="Same")
    bob.join(old)
    for client in (bob, new_user()):
        answer = client.post(f"/rooms/{quoted(old)}/upgrade", {"new_version": "12"}, expect=403)
        assert answer.errcode == "M_FORBIDDEN"
    new = alice.post(f"/rooms/{quoted(old)}/upgrade", {"new_version": "12"})["replacement_room"]
    assert alice.state_content(old, "m.room.tombstone")["replacement_room"] == new
    assert alice.state_content(new, "m.room.create")["predecessor"]["room_id"] == old
    assert alice.state_content(new, "m.room.name").json == {"name": "Old"}
    assert alice.state_content(new, "m.room.topic")["topic"] == "Same"
    assert bob.send(old, "hello", expect=403).errcode == "M_FORBIDDEN"
    bob.join(new)
    answer = alice.post(f"/rooms/{quoted('!unknown:test')}/upgrade", {"new_version": "12"}, expect={403, 404})
    assert answer.errcode in ("M_FORBIDDEN", "M_NOT_FOUND")
