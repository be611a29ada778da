"""Joining, inviting, leaving, kicking, banning, knocking, forgetting: over the endpoints and as state events."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from matrixd.services.guest_access import GuestAccess
from matrixd.services.room_lanes import Draft
from matrixd.storage import account_data, accounts, profiles, room_members, rooms
from matrixd.storage.rows import ProfileRow, RoomForgotten
from matrixd.storage.transaction import Transaction
from tests.support.database import DatabasePlace
from tests.support.room_server import RoomServer, User


def set_name(server: RoomServer, user: User, name: str) -> None:
    def write(tx: Transaction) -> None:
        profiles.set_field(tx, user.requester.user_nid, "displayname", f'"{name}"')
        tx.announce(ProfileRow(0, user.requester.user_nid, user.id))

    server.db.write(write)


@pytest.fixture
def room(alice: User) -> str:
    """A private room of alice."""
    return alice.create_room()


def test_an_invited_user_joins_and_leaves(server: RoomServer, alice: User, bob: User, room: str) -> None:
    alice.invite(room, bob, reason="come")
    assert server.state(room)["m.room.member", bob.id].content == {"membership": "invite", "reason": "come"}
    assert bob.join(room, reason="thanks")["room_id"] == room
    assert bob.get("/joined_rooms")["joined_rooms"] == [room]
    bob.room_post(room, "leave", reason="late")
    assert server.state(room)["m.room.member", bob.id].content == {"membership": "leave", "reason": "late"}
    assert bob.get("/joined_rooms")["joined_rooms"] == []
    bob.join(room, expect=403)


def test_a_stranger_cannot_enter_an_invite_only_room(bob: User, room: str) -> None:
    assert bob.join(room, expect=403).errcode == "M_FORBIDDEN"


def test_joining_twice_makes_one_event(server: RoomServer, alice: User, bob: User) -> None:
    room = alice.create_room(preset="public_chat", room_alias_name="pub")
    waiting = [bob.start("POST", f"/rooms/{room}/join", {}) for _ in range(3)]
    assert [answer.status for answer in server.db.wait(gatherResults(waiting))] == [200, 200, 200]
    assert bob.post("/join/%23pub:test.example", {})["room_id"] == room
    assert sum(event.state_key == bob.id for event in server.events(room)) == 1


def test_custom_fields_of_a_join_are_kept(server: RoomServer, alice: User, bob: User) -> None:
    room = alice.create_room(preset="public_chat")
    bob.post(f"/join/{room}", {"foo": "bar", "join_authorised_via_users_server": "@eve:x"})
    assert server.state(room)["m.room.member", bob.id].content == {"membership": "join", "foo": "bar"}


@pytest.mark.parametrize(
    ("target", "status", "errcode"),
    [
        ("!unknown:test.example", 404, "M_NOT_FOUND"),
        ("%23unknown:test.example", 404, "M_NOT_FOUND"),
        ("%23pub:elsewhere.example", 502, "M_UNKNOWN"),
        ("pub", 400, "M_INVALID_PARAM"),
    ],
)
def test_joining_what_is_not_there(bob: User, target: str, status: int, errcode: str) -> None:
    assert bob.post(f"/join/{target}?via=test.example", {}, expect=status).errcode == errcode
    assert bob.post(f"/knock/{target}", {}, expect=status).errcode == errcode


def test_who_is_banned_stays_out(server: RoomServer, alice: User, bob: User) -> None:
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    alice.room_post(room, "ban", user_id=bob.id, reason="noise")
    assert server.state(room)["m.room.member", bob.id].content == {"membership": "ban", "reason": "noise"}
    bob.join(room, expect=403)
    alice.invite(room, bob, expect=403)
    alice.room_post(room, "kick", 403, user_id=bob.id)
    bob.room_post(room, "unban", 403, user_id=bob.id)
    bob.room_post(room, "leave", 403)
    alice.room_post(room, "unban", user_id=bob.id)
    alice.room_post(room, "unban", 403, user_id=bob.id)
    bob.join(room)


def test_kicking(server: RoomServer, alice: User, bob: User, room: str) -> None:
    alice.room_post(room, "kick", 403, user_id=bob.id)
    alice.invite(room, bob)
    alice.room_post(room, "kick", user_id=bob.id, reason="sorry")
    assert server.membership(room, bob) == "leave"
    alice.invite(room, bob)
    bob.join(room)
    bob.room_post(room, "kick", 403, user_id=alice.id)
    alice.room_post(room, "kick", 400, user_id="bob")
    alice.room_post(room, "kick", 400)
    alice.room_post(room, "kick", user_id=bob.id)
    alice.room_post(room, "kick", 403, user_id=bob.id)
    assert server.membership(room, bob) == "leave"


def test_invites(server: RoomServer, alice: User, bob: User, room: str) -> None:
    carol = server.user("carol")
    carol.invite(room, bob, expect=403)
    alice.invite(room, alice, expect=403)
    alice.invite(room, bob)
    before = len(server.events(room))
    alice.invite(room, bob)
    assert len(server.events(room)) == before
    bob.invite(room, carol, expect=403)
    bob.join(room)
    alice.invite(room, bob, expect=403)
    bob.invite(room, carol)
    alice.room_post(room, "invite", 400, user_id=5)
    alice.room_post(room, "invite", 400)
    alice.room_post(room, "invite", 404, user_id="@nobody:test.example")
    assert alice.room_post(room, "invite", 400, medium="email").errcode == "M_MISSING_PARAM"
    answer = alice.room_post(room, "invite", 403, id_server="x", id_access_token="y", medium="email", address="a@b")
    assert answer.errcode == "M_THREEPID_DENIED"


def test_declining_and_leaving_twice(server: RoomServer, alice: User, bob: User, room: str) -> None:
    bob.room_post(room, "leave", 403)
    bob.room_post("!unknown:test.example", "leave", 403)
    alice.invite(room, bob)
    bob.room_post(room, "leave")
    before = len(server.events(room))
    bob.room_post(room, "leave")
    assert len(server.events(room)) == before


def test_forgetting(server: RoomServer, alice: User, bob: User, room: str) -> None:
    assert bob.room_post(room, "forget", 404).errcode == "M_NOT_FOUND"
    alice.invite(room, bob)
    bob.room_post(room, "forget", 400)
    bob.join(room)
    assert bob.room_post(room, "forget", 400).errcode == "M_UNKNOWN"
    bob.room_post(room, "leave")
    bob.room_post(room, "forget")
    bob.room_post(room, "forget")

    def forgotten(tx: Transaction) -> bool:
        room_nid = rooms.nid(tx, room)
        assert room_nid is not None
        member = room_members.one(tx, room_nid, bob.requester.user_nid)
        return member is not None and member.forgotten

    assert server.db.read(forgotten)
    assert sum(isinstance(row, RoomForgotten) for row in server.announced) == 1
    alice.invite(room, bob)
    assert not server.db.read(forgotten)


@pytest.mark.parametrize("version", ["7", "10", "12"])
def test_knocking(server: RoomServer, alice: User, bob: User, version: str) -> None:
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    room = alice.create_room(room_version=version, initial_state=[rules])
    assert bob.post(f"/knock/{room}", {"reason": "please"})["room_id"] == room
    assert server.state(room)["m.room.member", bob.id].content == {"membership": "knock", "reason": "please"}
    bob.post(f"/knock/{room}", {})
    assert sum(event.state_key == bob.id for event in server.events(room)) == 1
    bob.join(room, expect=403)
    bob.room_post(room, "leave")
    bob.post(f"/knock/{room}", {})
    alice.invite(room, bob)
    bob.join(room)
    bob.post(f"/knock/{room}", {}, expect=403)


def test_rooms_that_take_no_knocks(alice: User, bob: User, room: str) -> None:
    bob.post(f"/knock/{room}", {}, expect=403)
    old = alice.create_room(room_version="6")
    assert "version 6" in bob.post(f"/knock/{old}", {}, expect=403)["error"]


@pytest.mark.parametrize(("version", "rule"), [("8", "restricted"), ("10", "knock_restricted"), ("12", "restricted")])
def test_restricted_rooms(server: RoomServer, alice: User, bob: User, version: str, rule: str) -> None:
    space = alice.create_room(preset="public_chat", creation_content={"type": "m.space"})
    allow = [{"type": "m.room_membership", "room_id": "!unknown:test.example"},
             {"type": "m.room_membership", "room_id": space}]  # fmt: skip
    rules = {"type": "m.room.join_rules", "content": {"join_rule": rule, "allow": allow}}
    room = alice.create_room(room_version=version, initial_state=[rules])
    bob.join(room, expect=403)
    bob.join(space)
    bob.join(room)
    content = server.state(room)["m.room.member", bob.id].content
    assert content == {"membership": "join", "join_authorised_via_users_server": alice.id}
    bob.room_post(room, "leave")
    alice.room_post(room, "leave")
    # Nobody is left who could let anybody in.
    bob.join(room, expect=403)


def test_guests(server: RoomServer, alice: User) -> None:
    guest = server.user("guest", accounts.GUEST)
    closed = alice.create_room(preset="public_chat")
    assert guest.join(closed, expect=403).errcode == "M_GUEST_ACCESS_FORBIDDEN"
    alice.set_state(closed, "m.room.guest_access", {"guest_access": "can_join"})
    guest.join(closed)
    guest.say(closed, "hello")
    alice.set_state(closed, "m.room.guest_access", {"guest_access": "forbidden"})
    deadline = time.monotonic() + 20
    # Each look at the database gives the work in the background a turn.
    while server.membership(closed, guest) != "leave" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.membership(closed, guest) == "leave"
    assert guest.post("/createRoom", {}, expect=403).errcode == "M_GUEST_ACCESS_FORBIDDEN"


def test_guests_who_were_left_in_closed_rooms(server: RoomServer, alice: User, bob: User) -> None:
    guests = [server.user(name) for name in ("gina", "gus")]
    closed, silent = alice.create_room(preset="public_chat"), alice.create_room(preset="public_chat", room_version="10")
    alice.set_state(silent, "m.room.guest_access", {})
    welcoming = alice.create_room(preset="public_chat")
    alice.set_state(welcoming, "m.room.guest_access", {"guest_access": "can_join"})
    for user in (*guests, bob):
        for room_id in (closed, silent, welcoming):
            user.join(room_id)
    # As after the end of a server that had closed rooms and taken nobody out yet.
    nids = [guest.requester.user_nid for guest in guests]
    server.db.write(lambda tx: tx.execute("UPDATE accounts SET kind = 'guest' WHERE user_nid IN (?, ?)", nids))
    guests[1].room_post(silent, "leave")
    for page in (2, 500):
        access = GuestAccess(server.db.database, server.frame.feed, server.lanes, page=page)
        server.run(access.close_rooms())
        for guest in guests:
            found = [server.membership(room_id, guest) for room_id in (closed, silent, welcoming)]
            assert found == ["leave", "leave", "join"]
    assert [server.membership(room_id, bob) for room_id in (closed, silent, welcoming)] == ["join"] * 3
    assert len([event for event in server.events(closed) if event.membership == "leave"]) == 2
    assert len([event for event in server.events(silent) if event.membership == "leave"]) == 2


def test_a_guest_stays_where_the_room_has_opened_again(server: RoomServer, alice: User) -> None:
    guest = server.user("guest", accounts.GUEST)
    room_id = alice.create_room()
    waiting: list[Coroutine[Any, Any, object]] = []
    GuestAccess(server.db.database, server.frame.feed, server.lanes, lambda what, work: waiting.append(work))
    alice.invite(room_id, guest)
    guest.join(room_id)
    closed_and_open = [
        Draft(alice.id, "m.room.guest_access", {"guest_access": access}, "") for access in ("forbidden", "can_join")
    ]
    server.run(server.lanes.send(room_id, closed_and_open))
    assert len(waiting) == 1
    server.run(waiting[0])
    assert server.membership(room_id, guest) == "join"


def test_a_suspended_user_may_leave_and_little_else(server: RoomServer, alice: User, bob: User, room: str) -> None:
    alice.invite(room, bob)
    bob.join(room)
    mine, other = bob.say(room, "mine"), alice.say(room, "other")
    alice.set_state(room, "m.room.power_levels", {"users": {bob.id: 100}})
    server.db.write(lambda tx: tx.execute("UPDATE accounts SET suspended = 1 WHERE user_nid = ?",
                                          (bob.requester.user_nid,)))  # fmt: skip
    server.frame.authenticator.forget_user(bob.id)
    for answer in (
        bob.send(room, {"body": "x", "msgtype": "m.text"}, expect=403),
        bob.set_state(room, "m.room.topic", {"topic": "x"}, expect=403),
        bob.post("/createRoom", {}, expect=403),
        bob.post(f"/knock/{room}", {}, expect=403),
        bob.room_post(room, "kick", 403, user_id=alice.id),
        bob.invite(room, server.user("carol"), expect=403),
    ):
        assert answer.errcode == "M_USER_SUSPENDED"
    bob.redact(room, mine)
    bob.redact(room, other, expect=403)
    bob.room_post(room, "leave")
    assert bob.join(room, expect=403).errcode == "M_USER_SUSPENDED"


def member(target: User, membership: str, **content: Any) -> tuple[str, dict[str, Any], str]:
    return "m.room.member", {"membership": membership, **content}, target.id


def test_the_same_as_state_events(server: RoomServer, alice: User, bob: User, room: str) -> None:
    alice.set_state(room, *member(bob, "invite", is_direct=True, reason="hi"))
    assert server.state(room)["m.room.member", bob.id].content == {
        "membership": "invite", "is_direct": True, "reason": "hi"
    }  # fmt: skip
    alice.set_state(room, *member(bob, "join"), expect=403)
    first = bob.set_state(room, *member(bob, "join"))["event_id"]
    assert bob.set_state(room, *member(bob, "join"))["event_id"] == first
    named = bob.set_state(room, *member(bob, "join", displayname="Bobby", avatar_url="mxc://test.example/a"))
    assert named["event_id"] != first
    assert server.state(room)["m.room.member", bob.id].content["displayname"] == "Bobby"
    alice.set_state(room, *member(bob, "ban"))
    assert server.membership(room, bob) == "ban"
    alice.set_state(room, *member(bob, "leave"))
    assert server.membership(room, bob) == "leave"
    alice.set_state(room, *member(bob, "leave"), expect=403)
    alice.set_state(room, *member(alice, "leave"))
    assert server.membership(room, alice) == "leave"


@pytest.mark.parametrize(
    ("content", "errcode"),
    [
        ({}, "M_BAD_JSON"),
        ({"membership": "dance"}, "M_BAD_JSON"),
        ({"membership": 1}, "M_BAD_JSON"),
        ({"membership": "join", "displayname": 5}, "M_BAD_JSON"),
        ({"membership": "invite", "is_direct": "yes"}, "M_BAD_JSON"),
    ],
)
def test_member_events_of_a_wrong_shape(alice: User, room: str, content: dict[str, Any], errcode: str) -> None:
    assert alice.set_state(room, "m.room.member", content, alice.id, expect=400).errcode == errcode


def test_a_member_event_is_about_a_user(alice: User, room: str) -> None:
    assert alice.set_state(room, "m.room.member", {"membership": "join"}, "x", expect=400).errcode == "M_INVALID_PARAM"


def test_a_changed_profile_shows_in_all_rooms(server: RoomServer, alice: User, bob: User) -> None:
    joined = [alice.create_room(preset="public_chat") for _ in range(25)]
    for room in joined:
        bob.join(room)
    left = alice.create_room(preset="public_chat")
    bob.join(left)
    bob.room_post(left, "leave")
    set_name(server, bob, "Bobby")
    server.run(server.rooms.shown_profiles.update_member_events(bob.requester.user_nid, bob.id))
    for room in joined:
        assert server.state(room)["m.room.member", bob.id].content == {"membership": "join", "displayname": "Bobby"}
    assert server.membership(left, bob) == "leave"
    before = server.count("events")
    server.run(server.rooms.shown_profiles.update_member_events(bob.requester.user_nid, bob.id))
    assert server.count("events") == before


def test_who_goes_for_ever_leaves_all_rooms(server: RoomServer, alice: User, bob: User) -> None:
    joined, invited, banned = (alice.create_room(preset="public_chat") for _ in range(3))
    bob.join(joined)
    bob.join(banned)
    alice.room_post(banned, "ban", user_id=bob.id)
    alice.invite(invited, bob)
    server.run(server.rooms.leaving.leave_all_rooms(bob.id))
    assert [server.membership(room, bob) for room in (joined, invited, banned)] == ["leave", "leave", "ban"]
    server.run(server.rooms.leaving.leave_all_rooms(bob.id))
    server.run(server.rooms.leaving.leave_all_rooms("@nobody:test.example"))


def test_a_blocked_room_takes_nobody(server: RoomServer, alice: User, bob: User) -> None:
    room = alice.create_room(preset="public_chat")
    server.db.write(lambda tx: tx.execute("UPDATE rooms SET blocked = 1 WHERE room_id = ?", (room,)))
    again = server.restarted()
    carol = again.user("carol")
    carol.join(room, expect=403)
    again.close()


def test_a_user_who_ended_is_not_invited(server: RoomServer, alice: User, bob: User, room: str) -> None:
    server.db.write(lambda tx: tx.execute("UPDATE accounts SET deactivated_ts = 1 WHERE user_nid = ?",
                                          (bob.requester.user_nid,)))  # fmt: skip
    alice.invite(room, bob, expect=404)
    server.db.write(account_data.put, alice.requester.user_nid, 0, "org.example", {})


LIMITS = """
rc_joins: {local: {per_second: 0.001, burst_count: 2}}
rc_invites: {per_issuer: {per_second: 0.001, burst_count: 1}}
"""


@pytest.mark.parametrize("engine_name", ["sqlite3"])
def test_joins_and_invites_are_limited(database: DatabasePlace, tmp_path: Path) -> None:
    server = RoomServer(database, tmp_path, LIMITS)
    alice, bob, carol = (server.user(name) for name in ("alice", "bob", "carol"))
    made = [alice.create_room(preset="public_chat") for _ in range(3)]
    for room in made[:2]:
        bob.join(room)
    bob.join(made[0])
    assert bob.join(made[2], expect=429).errcode == "M_LIMIT_EXCEEDED"
    alice.invite(made[0], carol)
    alice.invite(made[0], carol)
    assert alice.invite(made[1], carol, expect=429).errcode == "M_LIMIT_EXCEEDED"
    server.close()
