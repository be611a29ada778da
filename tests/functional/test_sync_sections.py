"""The parts of a sync answer beside joined rooms: invitations, knocks, rooms that were left; and unread counts."""

from __future__ import annotations

from typing import Any

from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted
from tests.support.sync_answers import bodies_in, events_in, room_in, types_in

LEFT_TOO = {"room": {"include_leave": True}}


def test_an_invitation_is_told_once_with_what_is_to_be_known(alice: MatrixClient, bob: MatrixClient) -> None:
    bob.sync()
    room = alice.create_room(preset="private_chat", name="tea", topic="secret", invite=[bob.user_id])
    for found in (room_in(bob.sync(), room, "invite"), room_in(bob.sync(since=None), room, "invite")):
        shown = {(event["type"], event["state_key"]): event for event in events_in(found, "invite_state")}
        assert shown["m.room.member", bob.user_id]["content"]["membership"] == "invite"
        assert shown["m.room.name", ""]["content"] == {"name": "tea"}
        assert {key[0] for key in shown} <= {
            "m.room.create", "m.room.name", "m.room.avatar", "m.room.topic", "m.room.join_rules",
            "m.room.canonical_alias", "m.room.encryption", "m.room.member",
        }  # fmt: skip
    assert bob.sync().json.get("rooms", {}) == {}


def test_invitations_of_ignored_users_are_not_told(alice: MatrixClient, bob: MatrixClient) -> None:
    path = f"/user/{quoted(bob.user_id)}/account_data/m.ignored_user_list"
    bob.put(path, {"ignored_users": {alice.user_id: {}}})
    bob.sync()
    room = alice.create_room(invite=[bob.user_id])
    assert room_in(bob.sync(), room, "invite") == {}


def test_a_knock_is_told_and_what_comes_of_it(alice: MatrixClient, new_user: NewUser) -> None:
    bob, carol = new_user(), new_user()
    rules = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    room = alice.create_room(initial_state=rules, name="door")
    for knocking in (bob, carol):
        knocking.sync()
        knocking.knock(room)
        found = room_in(knocking.sync(), room, "knock")
        assert {"m.room.member", "m.room.name"} <= set(types_in(found, "knock_state"))
    alice.invite(room, bob.user_id)
    assert room_in(bob.sync(), room, "invite")
    alice.kick(room, carol.user_id)
    found = room_in(carol.sync(), room, "leave")
    assert [event["sender"] for event in events_in(found, "timeline")] == [alice.user_id]
    assert types_in(found, "state") == []


def test_a_room_that_was_left_is_told_up_to_the_leaving(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    bob.sync()
    alice.say(room, "before")
    alice.set_state(room, "m.room.topic", {"topic": "before"})
    bob.leave(room)
    alice.say(room, "after")
    alice.set_state(room, "m.room.topic", {"topic": "after"})
    since = bob.since
    found = room_in(bob.sync(), room, "leave")
    assert (bodies_in(found), types_in(found, "timeline")[-1]) == (["before"], "m.room.member")
    assert room_in(bob.sync(), room, "leave") == {}
    found = room_in(bob.sync(since=since, use_state_after=True), room, "leave")
    topics = [event for event in events_in(found, "state_after") if event["type"] == "m.room.topic"]
    assert [event["content"]["topic"] for event in topics] == ["before"]
    assert room_in(bob.sync(since=None), room, "leave") == {}
    found = room_in(bob.sync(since=None, filter=LEFT_TOO), room, "leave")
    assert "after" not in str(found)
    bob.forget(room)
    assert room_in(bob.sync(since=None, filter=LEFT_TOO), room, "leave") == {}


def test_somebody_banned_after_leaving_learns_of_the_ban_alone(
    alice: MatrixClient, bob: MatrixClient, room: str
) -> None:
    bob.leave(room)
    bob.sync()
    alice.set_state(room, "m.room.topic", {"topic": "after"})
    alice.say(room, "after")
    alice.ban(room, bob.user_id)
    for query in ({"since": bob.since}, {"since": bob.since, "use_state_after": True}):
        found = room_in(bob.sync(**query), room, "leave")
        assert [event["content"]["membership"] for event in events_in(found, "timeline")] == ["ban"]
        assert {*types_in(found, "state"), *types_in(found, "state_after")} <= {"m.room.member"}
        assert "after" not in str({key: value for key, value in found.items() if key != "state_after"})
    everything = room_in(bob.sync(since=None, filter=LEFT_TOO), room, "leave")
    assert '"after"' not in str(everything).replace("'", '"')


def test_who_joins_and_leaves_between_two_syncs_gets_the_state(alice: MatrixClient, bob: MatrixClient) -> None:
    room = alice.create_room(preset="public_chat", name="tea")
    for number in range(4):
        alice.say(room, f"{number}")
    bob.sync()
    bob.join(room)
    bob.leave(room)
    found = room_in(bob.sync(filter={"room": {"timeline": {"limit": 2}}}), room, "leave")
    assert types_in(found, "timeline") == ["m.room.member", "m.room.member"]
    assert {"m.room.create", "m.room.name", "m.room.power_levels"} <= set(types_in(found, "state"))


def unread(answer: Any, room: str) -> tuple[int, int]:
    counts = room_in(answer, room)["unread_notifications"]
    return counts["notification_count"], counts["highlight_count"]


def test_unread_events_are_counted_until_they_are_read(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    bob.sync()
    alice.say(room, "one")
    alice.send(room, {"msgtype": "m.text", "body": "you", "m.mentions": {"user_ids": [bob.user_id]}})
    last = alice.say(room, "three")
    assert unread(bob.sync(), room) == (3, 1)
    assert unread(bob.sync(since=None), room) == (3, 1)
    bob.post(f"/rooms/{quoted(room)}/receipt/m.read/{quoted(last)}")
    answer = bob.sync()
    assert unread(answer, room) == (0, 0)
    assert types_in(room_in(answer, room), "ephemeral") == ["m.receipt"]
    alice.say(room, "four")
    bob.say(room, "mine")
    assert unread(bob.sync(), room) == (0, 0)


def test_unread_events_of_threads_are_counted_apart_on_demand(
    alice: MatrixClient, bob: MatrixClient, room: str
) -> None:
    root = bob.say(room, "root")
    bob.sync()
    relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    alice.send(room, {"msgtype": "m.text", "body": "in the thread", **relation})
    alice.say(room, "outside")
    since = bob.since
    apart = {"room": {"timeline": {"unread_thread_notifications": True}}}
    answer = bob.sync(since=since, filter=apart)
    assert unread(answer, room) == (1, 0)
    threads = room_in(answer, room)["unread_thread_notifications"]
    assert threads == {root: {"notification_count": 1, "highlight_count": 0}}
    assert unread(bob.sync(since=since), room) == (2, 0)
