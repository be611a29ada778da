"""Aliases and the published room directory, on both engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.database import DatabasePlace
from tests.support.room_server import RoomServer, User

ALIAS = "#tavern:test.example"
PATH = "/directory/room/%23tavern:test.example"


@pytest.fixture
def room(alice: User, bob: User) -> str:
    """A room of alice with bob in it."""
    room_id = alice.create_room(preset="public_chat")
    bob.join(room_id)
    return room_id


def test_an_alias_comes_and_goes(server: RoomServer, alice: User, bob: User, room: str) -> None:
    bob.put(PATH, {"room_id": room})
    assert alice.get(PATH).json == {"room_id": room, "servers": ["test.example"]}
    assert alice.put(PATH, {"room_id": room}, expect=409).errcode == "M_UNKNOWN"
    assert alice.get(f"/rooms/{room}/aliases")["aliases"] == [ALIAS]
    bob.delete(PATH)
    assert bob.delete(PATH, expect=404).errcode == "M_NOT_FOUND"
    assert alice.get(PATH, expect=404).errcode == "M_NOT_FOUND"


@pytest.mark.parametrize(
    ("alias", "errcode"),
    [("tavern", "M_INVALID_PARAM"), ("%23tavern", "M_INVALID_PARAM"), ("%23t:elsewhere.example", "M_INVALID_PARAM"),
     ("%23" + "x" * 255 + ":test.example", "M_INVALID_PARAM")],
)  # fmt: skip
def test_names_that_cannot_be(alice: User, room: str, alias: str, errcode: str) -> None:
    assert alice.put(f"/directory/room/{alias}", {"room_id": room}, expect=400).errcode == errcode


def test_who_may_make_an_alias(server: RoomServer, alice: User, room: str) -> None:
    carol, admin = server.user("carol"), server.user("admin", admin=True)
    assert carol.put(PATH, {"room_id": room}, expect=403).errcode == "M_FORBIDDEN"
    assert carol.put(PATH, {"room_id": "!unknown:test.example"}, expect=403).errcode == "M_FORBIDDEN"
    assert alice.put(PATH, {}, expect=400).errcode == "M_BAD_JSON"
    assert alice.put(PATH, {"room_id": "x"}, expect=400).errcode == "M_INVALID_PARAM"
    admin.put(PATH, {"room_id": room})
    carol.get(f"/rooms/{room}/aliases", expect=403)
    carol.get("/rooms/!unknown:test.example/aliases", expect=403)
    alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert carol.get(f"/rooms/{room}/aliases")["aliases"] == [ALIAS]


def test_who_may_remove_an_alias(server: RoomServer, alice: User, bob: User, room: str) -> None:
    carol, admin = server.user("carol"), server.user("admin", admin=True)
    alice.put(PATH, {"room_id": room})
    assert carol.delete(PATH, expect=403).errcode == "M_FORBIDDEN"
    assert bob.delete(PATH, expect=403).errcode == "M_FORBIDDEN"
    admin.delete(PATH)
    bob.put(PATH, {"room_id": room})
    alice.delete(PATH)


def test_a_removed_alias_leaves_the_canonical_ones(server: RoomServer, alice: User, bob: User, room: str) -> None:
    alice.put(PATH, {"room_id": room})
    alice.put("/directory/room/%23other:test.example", {"room_id": room})
    alice.set_state(room, "m.room.canonical_alias", {"alias": ALIAS, "alt_aliases": ["#other:test.example", ALIAS]})
    alice.delete(PATH)
    content = server.state(room)["m.room.canonical_alias", ""].content
    assert content == {"alt_aliases": ["#other:test.example"]}
    # What stands there already is not looked at again.
    alice.set_state(room, "m.room.canonical_alias", {**content, "org.example": 1})
    bob.put(PATH, {"room_id": room})
    alice.set_state(room, "m.room.canonical_alias", {"alias": ALIAS})
    bob.delete(PATH)
    assert server.state(room)["m.room.canonical_alias", ""].content == {"alias": ALIAS}


def test_publishing(server: RoomServer, alice: User, bob: User, room: str) -> None:
    path = f"/directory/list/room/{room}"
    assert alice.get(path)["visibility"] == "private"
    bob.put(path, {"visibility": "public"}, expect=403)
    alice.put(path, {"visibility": "secret"}, expect=400)
    alice.put(path, {})
    assert alice.get(path)["visibility"] == "public"
    assert [entry["room_id"] for entry in bob.get("/publicRooms")["chunk"]] == [room]
    server.user("admin", admin=True).put(path, {"visibility": "private"})
    assert bob.get("/publicRooms")["chunk"] == []
    assert alice.get("/directory/list/room/!unknown:test.example", expect=404).errcode == "M_NOT_FOUND"
    assert alice.put("/directory/list/room/!unknown:test.example", {}, expect=404).errcode == "M_NOT_FOUND"


def test_the_list_is_read_page_by_page(server: RoomServer, alice: User) -> None:
    rooms = [alice.create_room(visibility="public", name=f"Room {n}") for n in range(5)]
    for size in (3, 2, 1):
        for room in rooms[:size]:
            server.user().join(room)
    pages, since = [], ""
    while True:
        page = alice.get(f"/publicRooms?limit=2{since}")
        pages.append([entry["name"] for entry in page["chunk"]])
        assert page["total_room_count_estimate"] == 5
        if "next_batch" not in page.json:
            break
        since = "&since=" + page["next_batch"]
    # Most members first; of equals the newest first.
    assert pages == [["Room 0", "Room 1"], ["Room 2", "Room 4"], ["Room 3"]]
    back = alice.get("/publicRooms?limit=2&since=" + page["prev_batch"])
    assert [entry["name"] for entry in back["chunk"]] == ["Room 2", "Room 4"]
    first = alice.get("/publicRooms?limit=2&since=" + back["prev_batch"])
    assert [entry["name"] for entry in first["chunk"]] == ["Room 0", "Room 1"]
    assert "prev_batch" not in first.json
    assert "next_batch" in first.json
    assert alice.get("/publicRooms?since=x", expect=400).errcode == "M_INVALID_PARAM"
    assert alice.get("/publicRooms?limit=-1", expect=400).errcode == "M_INVALID_PARAM"


def test_searching(server: RoomServer, alice: User) -> None:
    tavern = alice.create_room(visibility="public", name="The TAVERN", room_alias_name="pub")
    space = alice.create_room(
        visibility="public", topic="all taverns", creation_content={"type": "m.space"},
        initial_state=[{"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}],
    )  # fmt: skip
    hidden = alice.create_room(name="hidden tavern")

    def search(**room_filter: object) -> set[str]:
        found = alice.post("/publicRooms", {"filter": room_filter})["chunk"]
        return {entry["room_id"] for entry in found}

    assert hidden not in search()
    assert search(generic_search_term="tavern") == {tavern, space}
    assert search(generic_search_term="#PUB") == {tavern}
    assert search(generic_search_term="none such") == set()
    assert search(room_types=["m.space"]) == {space}
    assert search(room_types=[None]) == {tavern}
    assert search(room_types=[None, "m.space"], generic_search_term="all") == {space}
    assert search(room_types=[]) == set()
    entry = next(one for one in alice.get("/publicRooms")["chunk"] if one["room_id"] == space)
    assert entry == {
        "room_id": space, "num_joined_members": 1, "world_readable": True, "guest_can_join": False,
        "join_rule": "public", "topic": "all taverns", "room_type": "m.space",
    }  # fmt: skip
    assert alice.post("/publicRooms", {"third_party_instance_id": "irc"})["chunk"] == []
    alice.post("/publicRooms", {"third_party_instance_id": "irc", "include_all_networks": True}, expect=400)
    alice.post("/publicRooms", {"limit": "many"}, expect=400)
    assert alice.post("/publicRooms?server=test.example", {})["chunk"]
    assert alice.get("/publicRooms?server=elsewhere.example", expect=502).errcode == "M_UNKNOWN"


def test_a_room_without_members_is_not_listed(alice: User) -> None:
    room = alice.create_room(visibility="public")
    alice.room_post(room, "leave")
    assert alice.get("/publicRooms")["chunk"] == []


def test_the_list_wants_a_token_unless_configured_otherwise(server: RoomServer, alice: User) -> None:
    answer = server.db.wait(server.request("GET", "/publicRooms"))
    assert (answer.status, answer.errcode) == (401, "M_MISSING_TOKEN")


RULES = """
alias_creation_rules:
  - {user_id: "@alice:*", alias: "#free*", action: allow}
  - {action: deny}
room_list_publication_rules:
  - {alias: "#free*", action: allow}
require_membership_for_aliases: false
allow_public_rooms_without_auth: true
enable_room_list_search: false
"""


@pytest.mark.parametrize("engine_name", ["sqlite3"])
def test_the_configuration_has_a_say(database: DatabasePlace, tmp_path: Path) -> None:
    server = RoomServer(database, tmp_path, RULES)
    alice, bob = server.user("alice"), server.user("bob")
    assert alice.post("/createRoom", {"room_alias_name": "tavern"}, expect=403).errcode == "M_FORBIDDEN"
    assert alice.post("/createRoom", {"visibility": "public"}, expect=403).errcode == "M_FORBIDDEN"
    assert server.count("rooms") == 0
    room = alice.create_room(room_alias_name="free1", visibility="public")
    bob.put("/directory/room/%23free2:test.example", {"room_id": room}, expect=403)
    alice.put("/directory/room/%23free2:test.example", {"room_id": bob.create_room()})
    alice.put("/directory/room/%23free3:test.example", {"room_id": "!unknown:test.example"}, expect=404)
    assert len(server.db.wait(server.request("GET", "/publicRooms"))["chunk"]) == 1
    assert alice.post("/publicRooms", {"filter": {"generic_search_term": "free"}})["chunk"] == []
    server.close()
