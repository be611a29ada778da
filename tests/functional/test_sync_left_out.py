"""What sync tells of a room when a filter, an ignored user or a declined invitation leaves events out of it."""

from __future__ import annotations

from typing import Any

from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted

MESSAGES = {"room": {"timeline": {"types": ["m.room.message"]}}}


def room_of(answer: Any, room: str, section: str = "join") -> dict[str, Any]:
    return dict(answer.json.get("rooms", {}).get(section, {}).get(room, {}))


def told(section: dict[str, Any], part: str) -> list[str]:
    return [event["type"] for event in section.get(part, {}).get("events", [])]


def ignore(user: MatrixClient, *ignored: str) -> None:
    path = f"/user/{quoted(user.user_id)}/account_data/m.ignored_user_list"
    user.put(path, {"ignored_users": {user_id: {} for user_id in ignored}})


def test_state_that_a_filter_keeps_out_of_the_timeline_is_told(
    alice: MatrixClient, bob: MatrixClient, room: str
) -> None:
    alice.say(room, "one")
    found = room_of(bob.sync(filter=MESSAGES), room)
    assert told(found, "timeline") == ["m.room.message"]
    assert {"m.room.create", "m.room.power_levels", "m.room.member"} <= set(told(found, "state"))
    assert found["timeline"]["limited"] is False
    older = bob.messages(room, start=found["timeline"]["prev_batch"])["chunk"]
    assert [event["type"] for event in older][-1] == "m.room.create"


def test_a_later_change_is_told_too(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    bob.sync(filter=MESSAGES)
    alice.set_state(room, "m.room.topic", {"topic": "tea"})
    found = room_of(bob.sync(filter=MESSAGES), room)
    assert (told(found, "timeline"), told(found, "state")) == ([], ["m.room.topic"])
    alice.set_state(room, "m.room.topic", {"topic": "cake"})
    alice.say(room, "hello")
    found = room_of(bob.sync(filter=MESSAGES), room)
    assert (told(found, "timeline"), told(found, "state")) == (["m.room.message"], ["m.room.topic"])


def test_who_turned_an_invitation_down_learns_nothing_of_the_room(alice: MatrixClient, bob: MatrixClient) -> None:
    room = alice.create_room(preset="private_chat", name="secret")
    for number in range(3):
        alice.say(room, f"secret {number}")
    alice.invite(room, bob.user_id)
    bob.sync()
    bob.leave(room)
    include_leave = {"room": {"include_leave": True, "timeline": {"limit": 1}}}
    for answer in (bob.sync(), bob.sync(since=None, filter=include_leave), bob.sync(full_state=True)):
        found = room_of(answer, room, "leave")
        events = [event for part in ("timeline", "state") for event in found.get(part, {}).get("events", [])]
        assert {(event["type"], event["state_key"]) for event in events} <= {("m.room.member", bob.user_id)}
    assert "secret" not in bob.sync(since=None, filter=include_leave, use_state_after=True).body.decode()


def test_an_ignored_user_is_not_heard(alice: MatrixClient, bob: MatrixClient, new_user: NewUser, room: str) -> None:
    carol = new_user()
    alice.invite(room, carol.user_id)
    carol.join(room)
    for user in (alice, bob, carol):
        user.say(room, "first")
    ignore(alice, bob.user_id)
    found = room_of(alice.sync(filter=MESSAGES), room)
    assert [event["sender"] for event in found["timeline"]["events"]] == [alice.user_id, carol.user_id]
    bob.say(room, "unheard")
    assert room_of(alice.sync(filter=MESSAGES), room) == {}
    carol.say(room, "heard")
    assert told(room_of(alice.sync(filter=MESSAGES), room), "timeline") == ["m.room.message"]
    bob.put(f"/profile/{quoted(bob.user_id)}/displayname", {"displayname": "Robert"})
    alice.sync_until(lambda answer: "Robert" in str(answer))
