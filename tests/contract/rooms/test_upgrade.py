"""Room upgrades, on both engines."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from matrixd.core.versions import ROOM_VERSIONS
from matrixd.storage import account_data, rooms
from matrixd.storage.transaction import Transaction
from tests.support.room_server import RoomServer, User


def upgrade(user: User, room: str, version: str, expect: int = 200, **body: Any) -> Any:
    answer = user.room_post(room, "upgrade", expect, new_version=version, **body)
    return answer["replacement_room"] if expect == 200 else answer


@pytest.mark.parametrize("old", ["1", "6", "11", "12"])
@pytest.mark.parametrize("new", ["2", "7", "10", "11", "12"])
def test_from_each_kind_of_version_to_each(server: RoomServer, alice: User, old: str, new: str) -> None:
    bob = server.user("bob")
    room = alice.create_room(
        room_version=old, name="Old", topic="Topic", visibility="public", room_alias_name="tavern",
        creation_content={"m.federate": False, "type": "m.space"},
        initial_state=[{"type": "m.room.server_acl", "content": {"allow": ["*"]}}],
    )  # fmt: skip
    alice.room_post(room, "ban", user_id=bob.id, reason="noise")
    before = server.state(room)
    made = upgrade(alice, room, new)
    state, after = server.state(made), server.state(room)
    tombstone = after["m.room.tombstone", ""]
    assert tombstone.content["replacement_room"] == made
    create = state["m.room.create", ""].content
    predecessor = {"room_id": room} if new == "12" else {"room_id": room, "event_id": tombstone.event_id}
    assert create["predecessor"] == predecessor
    assert (create["room_version"], create["m.federate"], create["type"]) == (new, False, "m.space")
    for name in ("name", "topic", "server_acl", "join_rules", "history_visibility", "guest_access", "canonical_alias"):
        assert state[f"m.room.{name}", ""].content == before[f"m.room.{name}", ""].content
    assert state["m.room.member", bob.id].content == {"membership": "ban", "reason": "noise"}
    assert after["m.room.canonical_alias", ""].content == {}
    assert alice.get("/directory/room/%23tavern:test.example")["room_id"] == made
    assert alice.get(f"/directory/list/room/{made}")["visibility"] == "public"
    assert alice.get(f"/directory/list/room/{room}")["visibility"] == "private"
    levels = after["m.room.power_levels", ""].content
    assert (levels["events_default"], levels["invite"]) == (50, 50)
    # Whoever upgrades may do everything in the new room, as in the old one: another upgrade too.
    again = upgrade(alice, made, "12")
    assert ROOM_VERSIONS["12"] is server.state(again)["m.room.create", ""].version


def test_names_follow_an_upgrade_that_another_server_has_made(server: RoomServer, alice: User, bob: User) -> None:
    carol = server.user("carol")
    old = alice.create_room(visibility="public", preset="public_chat", room_alias_name="tavern", room_version="10")
    bob.join(old)
    carol.join(old)
    predecessor = {"room_id": old, "event_id": "$tombstone"}
    new = alice.create_room(preset="public_chat", room_version="10", creation_content={"predecessor": predecessor})
    # Any room may say that it replaces another.
    bob.join(new)
    assert alice.get("/directory/room/%23tavern:test.example")["room_id"] == old
    alice.set_state(old, "m.room.tombstone", {"body": "Moved", "replacement_room": new})
    carol.join(new)
    assert alice.get("/directory/room/%23tavern:test.example")["room_id"] == new
    assert alice.get(f"/directory/list/room/{new}")["visibility"] == "public"
    assert alice.get(f"/directory/list/room/{old}")["visibility"] == "private"


def test_creators_of_version_12(server: RoomServer, alice: User, bob: User) -> None:
    carol = "@carol:elsewhere.example"
    room = alice.create_room(
        room_version="11", preset="trusted_private_chat", invite=[bob.id],
        power_level_content_override={"users": {alice.id: 100, bob.id: 100, carol: 40}},
    )  # fmt: skip
    made = upgrade(alice, room, "12", additional_creators=[carol, alice.id])
    state = server.state(made)
    assert state["m.room.create", ""].content["additional_creators"] == [carol]
    levels = state["m.room.power_levels", ""].content
    assert levels["users"] == {bob.id: 100}
    assert levels["events"]["m.room.tombstone"] > levels["state_default"]
    # They are not handed on.
    third = upgrade(alice, made, "12")
    assert "additional_creators" not in server.state(third)["m.room.create", ""].content
    assert upgrade(alice, third, "12", 400, additional_creators=["x"]).errcode == "M_BAD_JSON"
    assert upgrade(alice, third, "11", additional_creators=["x"])


def test_levels_stay_as_they_are(server: RoomServer, alice: User, bob: User) -> None:
    room = alice.create_room(room_version="10", preset="public_chat")
    bob.join(room)
    levels = {**server.state(room)["m.room.power_levels", ""].content}
    levels = {**levels, "users": {alice.id: 100, bob.id: 50}, "events": {**levels["events"], "m.room.tombstone": 50}}
    alice.set_state(room, "m.room.power_levels", levels)
    made = upgrade(bob, room, "11")
    assert server.state(made)["m.room.power_levels", ""].content == levels
    # A moderator cannot change the levels of the old room: they stay, and the upgrade is made all the same.
    assert server.state(room)["m.room.power_levels", ""].content == levels


def test_unusual_levels_are_restricted(server: RoomServer, alice: User) -> None:
    override = {"users_default": 80, "events_default": 90}
    room = alice.create_room(room_version="10", power_level_content_override=override)
    upgrade(alice, room, "11")
    levels = server.state(room)["m.room.power_levels", ""].content
    assert (levels["events_default"], levels["invite"]) == (90, 81)


def test_levels_that_were_strings_become_integers(server: RoomServer, alice: User) -> None:
    override = {"users": {alice.id: "100"}, "ban": " 060 ", "events": {"m.room.name": "10"}}
    room = alice.create_room(room_version="5", power_level_content_override=override)
    levels = server.state(upgrade(alice, room, "10"))["m.room.power_levels", ""].content
    assert (levels["users"], levels["ban"], levels["events"]["m.room.name"]) == ({alice.id: 100}, 60, 10)


def test_join_rules_that_the_new_version_does_not_know(server: RoomServer, alice: User) -> None:
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock_restricted", "allow": []}}
    room = alice.create_room(room_version="10", initial_state=[rules])
    made = upgrade(alice, room, "8")
    assert server.state(made)["m.room.join_rules", ""].content["join_rule"] == "restricted"
    assert server.state(upgrade(alice, made, "5"))["m.room.join_rules", ""].content["join_rule"] == "invite"


def test_who_may_upgrade(server: RoomServer, alice: User, bob: User) -> None:
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    rooms_before = server.count("rooms")
    assert upgrade(bob, room, "12", 403).errcode == "M_FORBIDDEN"
    assert upgrade(server.user("carol"), room, "12", 403).errcode == "M_FORBIDDEN"
    assert upgrade(alice, room, "99", 400).errcode == "M_UNSUPPORTED_ROOM_VERSION"
    assert upgrade(alice, "!unknown:test.example", "12", 404).errcode == "M_NOT_FOUND"
    assert server.count("rooms") == rooms_before
    assert ("m.room.tombstone", "") not in server.state(room)


def test_settings_follow_the_user(server: RoomServer, alice: User, bob: User) -> None:
    room = alice.create_room(preset="public_chat")
    bob.join(room)

    def set_up(tx: Transaction) -> None:
        room_nid = rooms.nid(tx, room)
        assert room_nid is not None
        for user in (alice, bob):
            account_data.put(tx, user.requester.user_nid, room_nid, "m.tag", {"tags": {"m.favourite": {}}})
            account_data.put(tx, user.requester.user_nid, 0, "m.direct", {"@x:y": [room], "@z:y": ["!other:x"]})

    server.db.write(set_up)
    made = upgrade(alice, room, "12")

    def settings(user: User) -> tuple[Any, Any]:
        def read(tx: Transaction) -> tuple[Any, Any]:
            room_nid = rooms.nid(tx, made)
            assert room_nid is not None
            nid = user.requester.user_nid
            return account_data.get(tx, nid, room_nid, "m.tag"), account_data.get(tx, nid, 0, "m.direct")

        return server.db.read(read)

    moved: tuple[Any, Any] = ({"tags": {"m.favourite": {}}}, {"@x:y": [room, made], "@z:y": ["!other:x"]})
    assert settings(alice) == moved
    assert settings(bob)[0] is None
    bob.join(made)
    assert settings(bob) == moved


@pytest.mark.parametrize("version", ["11", "12"])
def test_upgrades_among_messages_fork_nothing(server: RoomServer, alice: User, version: str) -> None:
    room = alice.create_room(room_version="11")
    body = {"msgtype": "m.text", "body": "x"}
    waiting = []
    for n in range(12):
        waiting.append(alice.start("PUT", alice.send_path(room), body))
        if n % 4 == 1:
            waiting.append(alice.start("POST", f"/rooms/{room}/upgrade", {"new_version": version}))
    answers = server.db.wait(gatherResults(waiting))
    assert {answer.status for answer in answers} == {200}
    found = server.events(room)
    assert [event.prev_events for event in found[1:]] == [(event.event_id,) for event in found[:-1]]
    replacements = {answer["replacement_room"] for answer in answers if "replacement_room" in answer.json}
    assert {event.content["replacement_room"] for event in found if event.type == "m.room.tombstone"} == replacements
    assert len(replacements) == 3
