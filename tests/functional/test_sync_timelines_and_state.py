"""What sync tells of the rooms that a user is in: timelines with and without gaps, and the state before and after."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted
from tests.support.sync_answers import bodies_in, events_in, members_in, room_in, types_in


def limit(number: int, **more: Any) -> dict[str, Any]:
    return {"room": {"timeline": {"limit": number, **more}}}


def test_a_gap_ends_where_the_timeline_begins(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    bob.sync()
    before = bob.since
    for number in range(8):
        alice.say(room, f"{number}")
    alice.set_state(room, "m.room.topic", {"topic": "in the gap"})
    for number in range(8, 10):
        alice.say(room, f"{number}")
    found = room_in(bob.sync(filter=limit(2)), room)
    assert (bodies_in(found), found["timeline"]["limited"]) == (["8", "9"], True)
    assert types_in(found, "state") == ["m.room.topic"]
    older = bob.messages(room, start=found["timeline"]["prev_batch"], to=before, limit=50).json
    assert [event["content"].get("body") for event in older["chunk"]] == [None, *"76543210"]


def test_a_timeline_that_holds_everything_is_not_limited(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    for number in range(3):
        alice.say(room, f"{number}")
    found = room_in(bob.sync(filter=limit(100)), room)
    assert (types_in(found, "timeline")[0], found["timeline"]["limited"]) == ("m.room.create", False)
    assert types_in(found, "state") == []
    alice.say(room, "3")
    found = room_in(bob.sync(filter=limit(100)), room)
    assert (bodies_in(found), found["timeline"]["limited"]) == (["3"], False)


def test_a_filtered_timeline_is_limited_by_what_passes_only(alice: MatrixClient, room: str) -> None:
    alice.say(room, "one")
    for number in range(15):
        alice.send(room, {"n": number}, "org.example.filler")
    one = limit(1, types=["m.room.message"])
    found = room_in(alice.sync(since=None, filter=one), room)
    assert (bodies_in(found), found["timeline"]["limited"]) == (["one"], False)
    alice.say(room, "two")
    found = room_in(alice.sync(since=None, filter=one), room)
    assert (bodies_in(found), found["timeline"]["limited"]) == (["two"], True)
    older = alice.messages(room, start=found["timeline"]["prev_batch"], filter='{"types": ["m.room.message"]}').json
    assert [event["content"]["body"] for event in older["chunk"]] == ["one"]


@pytest.mark.parametrize("number", [1, 100])
def test_state_after_is_the_state_at_the_end(alice: MatrixClient, room: str, number: int) -> None:
    query: dict[str, Any] = {"use_state_after": True, "filter": limit(number)}
    found = room_in(alice.sync(since=None, **query), room)
    assert "state" not in found
    assert {"m.room.create", "m.room.power_levels", "m.room.member"} <= set(types_in(found, "state_after"))
    alice.set_state(room, "m.room.topic", {"topic": "tea"})
    last = alice.set_state(room, "m.room.topic", {"topic": "cake"})["event_id"]
    found = room_in(alice.sync(**query), room)
    assert [event["event_id"] for event in events_in(found, "state_after")] == [last]
    alice.say(room, "hello")
    found = room_in(alice.sync(**query), room)
    assert (found["state_after"], bodies_in(found)) == ({"events": []}, ["hello"])
    alice.put(f"/rooms/{quoted(room)}/typing/{quoted(alice.user_id)}", {"typing": True, "timeout": 9000})
    found = room_in(alice.sync(**query), room)
    assert (found["state_after"], types_in(found, "ephemeral")) == ({"events": []}, ["m.typing"])


def test_a_room_that_was_joined_since_comes_whole(alice: MatrixClient, bob: MatrixClient) -> None:
    room = alice.create_room(preset="public_chat", name="tea house")
    for number in range(12):
        alice.say(room, f"{number}")
    bob.sync()
    bob.join(room)
    found = room_in(bob.sync(filter=limit(5)), room)
    assert (bodies_in(found), types_in(found, "timeline")[-1]) == ([*"8", "9", "10", "11"], "m.room.member")
    assert {"m.room.create", "m.room.name", "m.room.power_levels"} <= set(types_in(found, "state"))
    assert members_in(found) == {alice.user_id}
    assert found["timeline"]["limited"] is True
    assert found["summary"] == {"m.joined_member_count": 2, "m.invited_member_count": 0}


def test_who_comes_back_gets_what_changed_meanwhile(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    bob.sync()
    bob.leave(room)
    alice.say(room, "unseen")
    alice.set_state(room, "m.room.topic", {"topic": "new"})
    alice.invite(room, bob.user_id)
    bob.join(room)
    alice.say(room, "welcome")
    found = room_in(bob.sync(filter=limit(3)), room)
    assert bodies_in(found)[-1] == "welcome"
    changed = [*events_in(found, "state"), *events_in(found, "timeline")]
    assert [event["content"]["topic"] for event in changed if event["type"] == "m.room.topic"] == ["new"]


def test_a_member_is_shown_the_present_state_that_was_set_while_away(alice: MatrixClient, new_user: NewUser) -> None:
    bob, carol = new_user(), new_user()
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    bob.sync()
    bob.leave(room)
    carol.join(room)
    for number in range(12):
        alice.say(room, f"{number}")
    bob.join(room)
    found = room_in(bob.sync(), room)
    assert bodies_in(found) == []
    assert members_in(found, "timeline") == {bob.user_id, carol.user_id}


def test_full_state_comes_at_once_with_a_timeline_since_the_token(alice: MatrixClient, room: str) -> None:
    alice.sync()
    alice.say(room, "new")
    found = room_in(alice.sync(full_state=True, timeout_ms=20_000), room)
    assert bodies_in(found) == ["new"]
    assert {"m.room.create", "m.room.join_rules"} <= set(types_in(found, "state"))
    found = room_in(alice.sync(full_state=True, timeout_ms=20_000), room)
    assert (bodies_in(found), found["timeline"]["limited"]) == ([], False)
    assert {"m.room.create", "m.room.join_rules"} <= set(types_in(found, "state"))


def test_redacted_events_are_shown_pruned_with_their_redaction(
    alice: MatrixClient, bob: MatrixClient, room: str
) -> None:
    bob.sync()
    secret = alice.say(room, "secret")
    redaction = alice.redact(room, secret)["event_id"]
    shown = {event["event_id"]: event for event in events_in(room_in(bob.sync(), room), "timeline")}
    assert shown[secret]["content"] == {}
    assert shown[secret]["unsigned"]["redacted_because"]["event_id"] == redaction


def test_what_a_redacted_state_event_said_is_not_told_by_the_next(
    alice: MatrixClient, bob: MatrixClient, room: str
) -> None:
    bob.sync()
    first = alice.set_state(room, "m.room.topic", {"topic": "hidden"})["event_id"]
    second = alice.set_state(room, "m.room.topic", {"topic": "shown"})["event_id"]
    alice.redact(room, first)
    shown = {event["event_id"]: event for event in events_in(room_in(bob.sync(), room), "timeline")}
    assert shown[second]["unsigned"]["prev_content"] == {}
    assert "hidden" not in str(shown)


def test_transaction_ids_are_told_to_the_device_that_chose_them(alice: MatrixClient, room: str) -> None:
    phone = alice.another()
    phone.login(alice.user_id)
    alice.sync()
    phone.sync()
    alice.say(room, "hello", txn_id="a transaction/1")
    for since in (alice.since, None):
        for client, expected in ((alice, "a transaction/1"), (phone, None)):
            answer = client.sync(since=since)
            event = events_in(room_in(answer, room), "timeline")[-1]
            assert event["unsigned"].get("transaction_id") == expected
    phone.close()


def test_rooms_are_chosen_by_the_filter(alice: MatrixClient) -> None:
    one, two = alice.create_room(), alice.create_room()

    def rooms(**room_filter: Any) -> set[str]:
        return set(alice.sync(since=None, filter={"room": room_filter}).json.get("rooms", {}).get("join", {}))

    assert rooms(rooms=[one]) == {one}
    assert rooms(not_rooms=[one]) == {two}
    assert rooms(rooms=[]) == set()
    assert rooms(rooms=[one, two], not_rooms=[two]) == {one}


def test_events_come_in_the_form_that_the_filter_wants(alice: MatrixClient, room: str) -> None:
    alice.say(room, "hello")
    fields = {"event_fields": ["type", "content.body"], **limit(1)}
    found = room_in(alice.get("/sync", query={"filter": json.dumps(fields)}, check_answer=False), room)
    assert events_in(found, "timeline") == [{"type": "m.room.message", "content": {"body": "hello"}}]
    federation = {"event_format": "federation", **limit(1)}
    found = room_in(alice.get("/sync", query={"filter": json.dumps(federation)}, check_answer=False), room)
    assert {"auth_events", "prev_events", "hashes", "signatures", "depth"} <= set(events_in(found, "timeline")[0])
