"""`POST /createRoom`, on both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from matrixd.core.versions import ROOM_VERSIONS
from matrixd.storage import account_data, profiles
from matrixd.storage.rows import ProfileRow
from matrixd.storage.transaction import Transaction
from tests.support.database import DatabasePlace
from tests.support.room_server import SERVER_NAME, RoomServer, User


def types(server: RoomServer, room_id: str) -> list[tuple[str, str | None]]:
    return [(event.type, event.state_key) for event in server.events(room_id)]


@pytest.mark.parametrize("version", list(ROOM_VERSIONS))
@pytest.mark.parametrize("preset", ["private_chat", "trusted_private_chat", "public_chat"])
def test_each_preset_in_each_version(
    server: RoomServer, alice: User, bob: User, preset: str, version: str
) -> None:
    room_id = alice.create_room(room_version=version, preset=preset, invite=[bob.id])
    state = server.state(room_id)
    is_public = preset == "public_chat"
    assert state["m.room.join_rules", ""].content == {"join_rule": "public" if is_public else "invite"}
    assert state["m.room.history_visibility", ""].content == {"history_visibility": "shared"}
    assert state["m.room.guest_access", ""].content == {"guest_access": "forbidden" if is_public else "can_join"}
    assert state["m.room.member", bob.id].content["membership"] == "invite"
    create, levels = state["m.room.create", ""].content, state["m.room.power_levels", ""].content
    assert create["room_version"] == version
    assert create.get("creator") == (None if version in ("11", "12") else alice.id)
    if version == "12":
        assert create.get("additional_creators") == ([bob.id] if preset == "trusted_private_chat" else None)
        assert levels["users"] == {}
        assert levels["events"]["m.room.tombstone"] > levels["state_default"]
    else:
        trusted = {bob.id: 100} if preset == "trusted_private_chat" else {}
        assert levels["users"] == {alice.id: 100, **trusted}


def test_the_order_of_the_first_events(server: RoomServer, alice: User, bob: User) -> None:
    room_id = alice.create_room(
        room_alias_name="tavern",
        name="The Tavern",
        topic="Beer",
        invite=[bob.id, bob.id],
        is_direct=True,
        initial_state=[
            {"type": "org.example", "state_key": "b", "content": {}},
            {"type": "m.room.name", "content": {"name": "overwritten"}},
            {"type": "m.room.join_rules", "content": {"join_rule": "knock"}},
            {"type": "org.example", "state_key": "a", "content": {}},
        ],
    )
    assert types(server, room_id) == [
        ("m.room.create", ""),
        ("m.room.member", alice.id),
        ("m.room.power_levels", ""),
        ("m.room.canonical_alias", ""),
        ("m.room.history_visibility", ""),
        ("m.room.guest_access", ""),
        ("org.example", "b"),
        ("m.room.join_rules", ""),
        ("org.example", "a"),
        ("m.room.name", ""),
        ("m.room.topic", ""),
        ("m.room.member", bob.id),
    ]
    state = server.state(room_id)
    assert state["m.room.canonical_alias", ""].content == {"alias": f"#tavern:{SERVER_NAME}"}
    topic = {"topic": "Beer", "m.topic": {"m.text": [{"body": "Beer", "mimetype": "text/plain"}]}}
    assert state["m.room.topic", ""].content == topic
    assert state["m.room.member", bob.id].content == {"membership": "invite", "is_direct": True}
    assert alice.get(f"/directory/room/%23tavern:{SERVER_NAME}")["room_id"] == room_id


def test_visibility_decides_the_preset_and_publishes(server: RoomServer, alice: User) -> None:
    room_id = alice.create_room(visibility="public", creation_content={"type": "m.space", "m.federate": False})
    assert server.state(room_id)["m.room.join_rules", ""].content == {"join_rule": "public"}
    assert server.state(room_id)["m.room.create", ""].content["m.federate"] is False
    assert alice.get(f"/directory/list/room/{room_id}")["visibility"] == "public"
    assert alice.get("/publicRooms")["chunk"][0]["room_type"] == "m.space"


def test_creation_content_sets_neither_version_nor_creator(server: RoomServer, alice: User) -> None:
    room_id = alice.create_room(
        room_version="10", creation_content={"room_version": "1", "creator": "@eve:test.example", "org.example": 1}
    )
    content = server.state(room_id)["m.room.create", ""].content
    assert content == {"room_version": "10", "creator": alice.id, "org.example": 1}


def test_an_override_lies_over_the_power_levels(server: RoomServer, alice: User) -> None:
    override = {"users_default": 10, "events": {"m.room.name": 0}, "state_default": 200}
    room_id = alice.create_room(power_level_content_override=override, name="x")
    content = server.state(room_id)["m.room.power_levels", ""].content
    assert content["users_default"] == 10
    assert content["ban"] == 50
    assert content["events"] == {"m.room.name": 0, "m.room.tombstone": 250}


def test_the_creator_and_the_invited_show_their_profiles(server: RoomServer, alice: User, bob: User) -> None:
    def name(tx: Transaction) -> None:
        for user in (alice, bob):
            profiles.set_field(tx, user.requester.user_nid, "displayname", f'"{user.id[1:4].upper()}"')
            tx.announce(ProfileRow(0, user.requester.user_nid, user.id))

    server.db.write(name)
    state = server.state(alice.create_room(invite=[bob.id]))
    assert state["m.room.member", alice.id].content == {"membership": "join", "displayname": "ALI"}
    assert state["m.room.member", bob.id].content == {"membership": "invite", "displayname": "BOB"}


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({"room_version": "99"}, 400, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"room_version": 1}, 400, "M_BAD_JSON"),
        ({"preset": "secret_chat"}, 400, "M_BAD_JSON"),
        ({"visibility": "hidden"}, 400, "M_BAD_JSON"),
        ({"invite": "bob"}, 400, "M_BAD_JSON"),
        ({"invite": ["bob"]}, 400, "M_INVALID_PARAM"),
        ({"invite": ["@nobody:test.example"]}, 404, "M_NOT_FOUND"),
        ({"invite": ["@alice:test.example"]}, 400, "M_INVALID_PARAM"),
        ({"invite_3pid": [{"id_server": "x", "medium": "email", "address": "a@b"}]}, 403, "M_THREEPID_DENIED"),
        ({"room_alias_name": "a:b"}, 400, "M_INVALID_PARAM"),
        ({"room_alias_name": "x" * 300}, 400, "M_INVALID_PARAM"),
        ({"room_alias_name": "a\0"}, 400, "M_BAD_JSON"),
        ({"creation_content": []}, 400, "M_BAD_JSON"),
        ({"creation_content": {"m.federate": 1}}, 400, "M_BAD_JSON"),
        ({"creation_content": {"type": 1}}, 400, "M_BAD_JSON"),
        ({"creation_content": {"additional_creators": ["bob"]}}, 400, "M_BAD_JSON"),
        ({"initial_state": [{"content": {}}]}, 400, "M_BAD_JSON"),
        ({"initial_state": [{"type": "m.room.create", "content": {}}]}, 403, "M_FORBIDDEN"),
        ({"initial_state": [{"type": "a\0", "content": {}}]}, 400, "M_BAD_JSON"),
        ({"initial_state": [{"type": "a", "content": {"x": 1.5}}]}, 400, "M_BAD_JSON"),
        ({"initial_state": [{"type": "a", "content": {"x": "y" * 70_000}}]}, 413, "M_TOO_LARGE"),
        ({"initial_state": [{"type": "m.room.canonical_alias", "content": {"alias": "#a:b"}}]}, 400, "M_BAD_ALIAS"),
        ({"power_level_content_override": {"ban": "many"}}, 400, "M_BAD_JSON"),
        ({"power_level_content_override": {"users": {"@alice:test.example": 100}}}, 400, "M_INVALID_ROOM_STATE"),
        ({"name": "x", "power_level_content_override": {"users": {"bob": 1}}}, 400, "M_BAD_JSON"),
        (
            {"name": "x", "room_version": "11", "power_level_content_override": {"users": {}}},
            400, "M_INVALID_ROOM_STATE",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_leaves_nothing(
    server: RoomServer, alice: User, bob: User, body: dict[str, Any], status: int, errcode: str
) -> None:
    answer = alice.post("/createRoom", body, expect=status)
    assert answer.errcode == errcode
    assert (server.count("events"), server.count("rooms"), server.count("room_aliases")) == (0, 0, 0)


def test_an_alias_that_is_taken_makes_no_room(server: RoomServer, alice: User) -> None:
    first = alice.create_room(room_alias_name="tavern")
    before = server.count("events")
    assert alice.post("/createRoom", {"room_alias_name": "tavern"}, expect=400).errcode == "M_ROOM_IN_USE"
    assert (server.count("events"), server.count("rooms")) == (before, 1)
    assert alice.say(first, "still here")


def test_who_blocks_invites_gets_none(server: RoomServer, alice: User, bob: User) -> None:
    server.db.write(
        account_data.put, bob.requester.user_nid, 0, "m.invite_permission_config", {"default_action": "block"}
    )
    assert alice.post("/createRoom", {"invite": [bob.id]}, expect=403).errcode == "M_INVITE_BLOCKED"
    assert server.count("events") == 0
    assert alice.invite(alice.create_room(), bob, expect=403).errcode == "M_INVITE_BLOCKED"


@pytest.mark.parametrize(("option", "preset", "encrypted"), [
    ("off", "private_chat", False), ("invite", "private_chat", True), ("invite", "public_chat", False),
    ("all", "public_chat", True),
])  # fmt: skip
@pytest.mark.parametrize("engine_name", ["sqlite3"])
def test_encryption_by_default(
    database: DatabasePlace, tmp_path: Path, option: str, preset: str, encrypted: bool
) -> None:
    server = RoomServer(database, tmp_path, f"encryption_enabled_by_default_for_room_type: '{option}'")
    room_id = server.user("alice").create_room(preset=preset)
    assert (("m.room.encryption", "") in server.state(room_id)) is encrypted
    server.close()


@pytest.mark.parametrize("engine_name", ["sqlite3"])
def test_rooms_are_not_made_too_often(database: DatabasePlace, tmp_path: Path) -> None:
    server = RoomServer(database, tmp_path, "rc_room_creation: {per_second: 0.01, burst_count: 2}")
    alice = server.user("alice")
    alice.create_room()
    alice.create_room()
    answer = alice.post("/createRoom", {}, expect=429)
    assert answer.errcode == "M_LIMIT_EXCEEDED"
    assert int(answer.headers["retry-after"]) > 0
    server.close()
