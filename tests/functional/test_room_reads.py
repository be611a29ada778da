"""The endpoints that read rooms, through a real server; every answer is checked against the specification."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted


def ids(events: Any) -> list[str]:
    return [event["event_id"] for event in events]


def relate(client: MatrixClient, room: str, rel_type: str, parent: str, **content: Any) -> str:
    relates_to = {"rel_type": rel_type, "event_id": parent}
    body = {"msgtype": "m.text", "body": "…", "m.relates_to": relates_to, **content}
    return str(client.send(room, body)["event_id"])


def v1(room: str, rest: str) -> str:
    return f"/_matrix/client/v1/rooms/{quoted(room)}/{rest}"


def test_one_event(alice: MatrixClient, bob: MatrixClient, new_user: NewUser, room: str) -> None:
    event_id = alice.say(room, "hello")
    event = alice.event(room, event_id)
    assert event["content"] == {"msgtype": "m.text", "body": "hello"}
    assert event["room_id"] == room
    assert event["unsigned"]["transaction_id"]
    assert event["unsigned"]["membership"] == "join"
    assert "transaction_id" not in bob.event(room, event_id)["unsigned"]
    for client, place, wanted in ((new_user(), room, event_id), (alice, room, "$nothing"), (alice, "!no:x", event_id)):
        assert client.event(place, wanted, expect=404).errcode == "M_NOT_FOUND"
    r0 = alice.get(f"/_matrix/client/r0/rooms/{quoted(room)}/event/{quoted(event_id)}", documented=False)
    assert r0["event_id"] == event_id
    assert alice.get(f"/events/{quoted(event_id)}")["event_id"] == event_id


def test_state(alice: MatrixClient, new_user: NewUser, room: str) -> None:
    alice.set_state(room, "m.room.topic", {"topic": "one"})
    alice.set_state(room, "m.room.topic", {"topic": "two"})
    alice.set_state(room, "org.example.keyed", {"value": 1}, "a/key with ünïcode")
    for path in ("state/m.room.topic", "state/m.room.topic/"):
        assert alice.get(f"/rooms/{quoted(room)}/{path}").json == {"topic": "two"}
    assert alice.state_content(room, "org.example.keyed", "a/key with ünïcode").json == {"value": 1}
    # The data says `oneOf` an object and an event, and every event is an object.
    path = f"/rooms/{quoted(room)}/state/m.room.topic/"
    event = alice.get(path, query={"format": "event"}, check_answer=False)
    assert event["content"] == {"topic": "two"}
    assert event["unsigned"]["prev_content"] == {"topic": "one"}
    listed = {(event["type"], event["state_key"]): event["content"] for event in alice.state(room)}
    assert listed["m.room.topic", ""] == {"topic": "two"}
    assert listed["m.room.member", alice.user_id]["membership"] == "join"
    assert alice.state_content(room, "m.room.topic", "nothing", expect=404).errcode == "M_NOT_FOUND"
    wrong = alice.get(f"/rooms/{quoted(room)}/state/m.room.topic/", query={"format": "x"}, validate=False, expect=400)
    assert wrong.errcode == "M_INVALID_PARAM"
    stranger = new_user()
    for place in (room, "!nowhere:example.org"):
        assert stranger.get(f"/rooms/{quoted(place)}/state", expect=403).errcode == "M_FORBIDDEN"
        assert stranger.state_content(place, "m.room.topic", expect=403).errcode == "M_FORBIDDEN"


def test_members(alice: MatrixClient, bob: MatrixClient, new_user: NewUser, room: str) -> None:
    carol = new_user()
    alice.invite(room, carol.user_id)
    joined = {alice.user_id: "join", bob.user_id: "join"}
    assert alice.members(room) == {**joined, carol.user_id: "invite"}
    assert alice.members(room, query={"membership": "join"}) == joined
    assert alice.members(room, query={"not_membership": "join"}) == {carol.user_id: "invite"}
    then = alice.sync(since=None)["next_batch"]
    bob.leave(room)
    assert alice.members(room, query={"at": then}) == {**joined, carol.user_id: "invite"}
    assert bob.members(room)[bob.user_id] == "leave"
    path = f"/rooms/{quoted(room)}/joined_members"
    assert set(alice.get(path)["joined"]) == {alice.user_id}
    for client in (bob, carol):
        assert client.get(path, expect=403).errcode == "M_FORBIDDEN"
    for name, value in (("membership", "there"), ("at", "nonsense")):
        answer = alice.get(f"/rooms/{quoted(room)}/members", query={name: value}, validate=False, expect=400)
        assert answer.errcode == "M_INVALID_PARAM"
        assert name in answer["error"]


def test_history(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    sent = [alice.say(room, f"{number}") for number in range(25)]
    listed = ids(alice.history(room, limit=7))
    assert listed[:25] == sent[::-1]
    assert len(set(listed)) == len(listed)
    bob.sync(since=None)
    page = bob.messages(room, start=bob.since, limit=3)
    assert page["start"] == bob.since
    assert ids(page["chunk"]) == sent[:-4:-1]
    back = bob.messages(room, "f", start=page["end"], limit=2)
    assert ids(back["chunk"]) == sent[-3:-1]
    first = bob.messages(room, "f", limit=1)["chunk"][0]
    assert first["type"] == "m.room.create"
    lazy = bob.messages(room, limit=1, filter=json.dumps({"lazy_load_members": True}))
    assert [event["state_key"] for event in lazy["state"]] == [alice.user_id]


@pytest.mark.parametrize(
    ("query", "errcode", "named"),
    [
        ({"start": "garbage"}, "M_INVALID_PARAM", "from"),
        ({"start": "s99999999999"}, "M_INVALID_PARAM", "from"),
        ({"start": "t3-99999999999"}, "M_INVALID_PARAM", "from"),
        ({"to": "t99-0"}, "M_INVALID_PARAM", "to"),
        ({"limit": "many"}, "M_INVALID_PARAM", "limit"),
        ({"limit": -1}, "M_INVALID_PARAM", "limit"),
        ({"filter": "{"}, "M_NOT_JSON", "filter"),
        ({"filter": '{"types":3}'}, "M_BAD_JSON", "filter.types"),
        ({"direction": "x"}, "M_INVALID_PARAM", "dir"),
    ],
)
def test_wrong_parameters_of_history(
    alice: MatrixClient, room: str, query: dict[str, Any], errcode: str, named: str
) -> None:
    answer = alice.messages(room, **{"direction": "b", **query}, validate=False, expect=400)
    assert answer.errcode == errcode
    assert named in answer["error"]


def test_a_token_of_another_room(alice: MatrixClient, room: str) -> None:
    other = alice.create_room()
    for number in range(6):
        alice.say(other, f"{number}")
    token = alice.messages(other, limit=2)["end"]
    assert alice.messages(room, start=token, expect=400).errcode == "M_INVALID_PARAM"
    for path in (f"rooms/{quoted(room)}/messages?dir=b&from={token}", f"rooms/{quoted(room)}/members?at={token}"):
        assert alice.get("/" + path, expect=400).errcode == "M_INVALID_PARAM"


def test_who_left_and_who_never_came(alice: MatrixClient, bob: MatrixClient, new_user: NewUser, room: str) -> None:
    before = alice.say(room, "before")
    bob.leave(room)
    after = alice.say(room, "after")
    listed = ids(bob.messages(room, limit=100)["chunk"])
    assert before in listed
    assert after not in listed
    assert bob.event(room, after, expect=404).errcode == "M_NOT_FOUND"
    bob.forget(room)
    assert bob.messages(room, expect=403).errcode == "M_FORBIDDEN"
    stranger = new_user()
    assert stranger.messages(room, expect=403).errcode == "M_FORBIDDEN"
    alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    shown = alice.say(room, "for all")
    assert shown in ids(stranger.messages(room)["chunk"])
    assert stranger.state_content(room, "m.room.create").status == 200


def test_context(alice: MatrixClient, new_user: NewUser, room: str) -> None:
    sent = [alice.say(room, f"{number}") for number in range(9)]
    path = f"/rooms/{quoted(room)}/context/{quoted(sent[4])}"
    context = alice.get(path, query={"limit": 4})
    assert ids(context["events_before"]) == [sent[3], sent[2]]
    assert context["event"]["event_id"] == sent[4]
    assert ids(context["events_after"]) == [sent[5], sent[6]]
    assert ids(alice.messages(room, start=context["start"], limit=1)["chunk"]) == [sent[1]]
    assert ids(alice.messages(room, "f", start=context["end"], limit=1)["chunk"]) == [sent[7]]
    lazy = alice.get(path, query={"limit": 0, "filter": json.dumps({"lazy_load_members": True})})
    assert {e["state_key"] for e in lazy["state"] if e["type"] == "m.room.member"} == {alice.user_id}
    assert new_user().get(path, expect=403).errcode == "M_FORBIDDEN"
    assert alice.get(f"/rooms/{quoted(room)}/context/$nothing", expect=404).errcode == "M_NOT_FOUND"


def test_timestamp_to_event(alice: MatrixClient, room: str) -> None:
    event_id = alice.say(room, "hello")
    ts = alice.event(room, event_id)["origin_server_ts"]
    found = alice.get(v1(room, "timestamp_to_event"), query={"ts": ts, "dir": "b"})
    assert found["origin_server_ts"] == ts
    assert alice.get(v1(room, "timestamp_to_event"), query={"ts": 0, "dir": "f"})["origin_server_ts"] <= ts
    late = alice.get(v1(room, "timestamp_to_event"), query={"ts": ts + 10**9, "dir": "f"}, expect=404)
    assert late.errcode == "M_NOT_FOUND"
    for query, errcode in (({"dir": "f"}, "M_MISSING_PARAM"), ({"ts": "x", "dir": "f"}, "M_INVALID_PARAM")):
        wrong = alice.get(v1(room, "timestamp_to_event"), query=query, validate=False, expect=400)
        assert wrong.errcode == errcode


def test_relations_and_their_aggregation(alice: MatrixClient, bob: MatrixClient, new_user: NewUser, room: str) -> None:
    root = alice.say(room, "root")
    replies = [relate(bob, room, "m.thread", root) for _ in range(3)]
    edit = relate(alice, room, "m.replace", root, **{"m.new_content": {"msgtype": "m.text", "body": "edited"}})
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": root, "key": "👍"}}
    reacted = bob.send(room, reaction, "m.reaction")["event_id"]
    base = f"relations/{quoted(root)}"
    assert ids(alice.get(v1(room, base))["chunk"]) == [reacted, edit, *replies[::-1]]
    assert ids(alice.get(v1(room, f"{base}/m.annotation/m.reaction"))["chunk"]) == [reacted]
    first = alice.get(v1(room, f"{base}/m.thread"), query={"limit": 2})
    second = alice.get(v1(room, f"{base}/m.thread"), query={"limit": 2, "from": first["next_batch"]})
    assert ids(first["chunk"] + second["chunk"]) == replies[::-1]
    assert "next_batch" not in second.json
    assert alice.get(v1(room, base), query={"recurse": "true"})["recursion_depth"] >= 1
    relations = alice.event(room, root)["unsigned"]["m.relations"]
    assert relations["m.replace"]["event_id"] == edit
    assert relations["m.thread"]["count"] == 3
    assert relations["m.thread"]["latest_event"]["event_id"] == replies[2]
    assert relations["m.thread"]["current_user_participated"] is True
    page = alice.messages(room, limit=10)["chunk"]
    paged = next(event for event in page if event["event_id"] == root)
    assert paged["unsigned"]["m.relations"].keys() == relations.keys()
    assert ids(alice.get(v1(room, "threads"))["chunk"]) == [root]
    assert ids(bob.get(v1(room, "threads"), query={"include": "participated"})["chunk"]) == [root]
    stranger = new_user()
    assert stranger.get(v1(room, base), expect=404).errcode == "M_NOT_FOUND"
    assert stranger.get(v1(room, "threads"), expect=403).errcode == "M_FORBIDDEN"


def test_initial_sync_of_a_room(alice: MatrixClient, new_user: NewUser, room: str) -> None:
    sent = [alice.say(room, f"{number}") for number in range(3)]
    answer = alice.get(f"/rooms/{quoted(room)}/initialSync", query={"limit": 2}, validate=False)
    assert answer["membership"] == "join"
    assert ids(answer["messages"]["chunk"]) == sent[1:]
    assert "m.room.create" in {event["type"] for event in answer["state"]}
    earlier = alice.messages(room, start=answer["messages"]["start"], limit=1)
    assert ids(earlier["chunk"]) == [sent[0]]
    assert new_user().get(f"/rooms/{quoted(room)}/initialSync", expect=403).errcode == "M_FORBIDDEN"


def test_ignored_users_are_not_heard(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    said = bob.say(room, "hello")
    path = f"/user/{quoted(alice.user_id)}/account_data/m.ignored_user_list"
    alice.put(path, {"ignored_users": {bob.user_id: {}}})
    assert said not in ids(alice.messages(room)["chunk"])
    assert alice.event(room, said, expect=404).errcode == "M_NOT_FOUND"
    alice.put(path, {"ignored_users": {}})
    assert said in ids(alice.messages(room)["chunk"])
