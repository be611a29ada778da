"""What clients use that are older than /sync: /events, peeking, and both kinds of initialSync."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted
from tests.support.exchange import Answer

Event = dict[str, Any]


def events(client: MatrixClient, **query: Any) -> Answer:
    """One answer of /events; `start` stands for `from`. It comes at once unless a `timeout` is given."""
    if "start" in query:
        query["from"] = query.pop("start")
    # The data knows no `limit`, which these clients send, and nothing but events of rooms in the chunk.
    answer = client.get("/events", query={"timeout": 0, **query}, validate="limit" not in query, check_answer=False)
    found = json.dumps({**answer.json, "chunk": [event for event in answer["chunk"] if "event_id" in event]}).encode()
    client.specification.check_answer("GET", "/_matrix/client/v3/events", 200, answer.headers, found)
    return answer


def ids(chunk: list[Event]) -> list[str]:
    return [event["event_id"] for event in chunk if "event_id" in event]


def of_type(chunk: list[Event], event_type: str) -> list[Event]:
    return [event for event in chunk if event["type"] == event_type]


def room_in(answer: Answer, room: str) -> Event:
    (found,) = [item for item in answer["rooms"] if item["room_id"] == room]
    return dict(found)


def publish(client: MatrixClient, room: str) -> None:
    client.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})


def test_events_go_on_where_they_ended(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    start = events(alice)["end"]
    assert ids(events(alice, start=start)["chunk"]) == []  # her own presence may have come
    sent = [bob.say(room, f"{number}") for number in range(5)]
    first = events(alice, start=start, limit=2)
    assert first["start"] == start
    assert ids(first["chunk"]) == sent[:2]
    told = [event for event in first["chunk"] if "event_id" in event]
    assert {(event["room_id"], event["user_id"]) for event in told} == {(room, bob.user_id)}
    rest = events(alice, start=first["end"])
    assert ids(rest["chunk"]) == sent[2:]
    assert ids(events(alice, start=rest["end"])["chunk"]) == []
    synced = alice.sync(since=first["end"])["rooms"]["join"][room]
    assert ids(synced["timeline"]["events"]) == sent[2:]


def test_events_tell_what_is_beside_the_history(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    said = alice.say(room, "hello")
    start = events(alice)["end"]
    bob.post(f"/rooms/{quoted(room)}/receipt/m.read/{quoted(said)}")
    bob.put(f"/rooms/{quoted(room)}/typing/{quoted(bob.user_id)}", {"typing": True, "timeout": 30000})
    bob.put(f"/presence/{quoted(bob.user_id)}/status", {"presence": "online", "status_msg": "here"})
    alice.put(f"/user/{quoted(alice.user_id)}/account_data/org.example.all", {"a": 1})
    alice.put(f"/user/{quoted(alice.user_id)}/rooms/{quoted(room)}/tags/u.work", {"order": 0.5})
    chunk = events(alice, start=start)["chunk"]
    (receipt,) = of_type(chunk, "m.receipt")
    assert (receipt["room_id"], list(receipt["content"])) == (room, [said])
    assert of_type(chunk, "m.typing") == [{"type": "m.typing", "room_id": room, "content": {"user_ids": [bob.user_id]}}]
    assert "here" in [event["content"].get("status_msg") for event in of_type(chunk, "m.presence")]
    assert bob.user_id in [event["content"]["user_id"] for event in of_type(chunk, "m.presence")]
    assert of_type(chunk, "org.example.all") == [{"type": "org.example.all", "content": {"a": 1}}]
    (tag,) = of_type(chunk, "m.tag")
    assert tag == {"type": "m.tag", "room_id": room, "content": {"tags": {"u.work": {"order": 0.5}}}}


def test_events_tell_ones_own_membership(alice: MatrixClient, bob: MatrixClient) -> None:
    start = events(bob)["end"]
    room = alice.create_room(preset="private_chat", invite=[bob.user_id], name="Two")
    answer = events(bob, start=start)
    (invite,) = [event for event in answer["chunk"] if "event_id" in event]
    assert (invite["state_key"], invite["content"]["membership"]) == (bob.user_id, "invite")
    assert "Two" in [event["content"].get("name") for event in invite["unsigned"]["invite_room_state"]]
    listed = room_in(bob.get("/initialSync"), room)["invite"]["unsigned"]["invite_room_state"]
    assert listed == invite["unsigned"]["invite_room_state"]
    bob.join(room)
    said = alice.say(room, "hello")
    alice.kick(room, bob.user_id)
    hidden = alice.say(room, "he is gone")
    answer = events(bob, start=answer["end"])
    assert said in ids(answer["chunk"])
    assert hidden not in ids(answer["chunk"])
    memberships = [event["content"]["membership"] for event in of_type(answer["chunk"], "m.room.member")]
    assert memberships == ["join", "leave"]


@pytest.mark.parametrize("peeks", [False, True])
def test_events_are_waited_for(alice: MatrixClient, bob: MatrixClient, room: str, peeks: bool) -> None:
    query: dict[str, Any] = {"room_id": room} if peeks else {}
    start = events(alice, **query)["end"]
    bob.sync()
    start = events(alice, start=start, **query)["end"]
    found: list[Answer] = []

    def wait() -> None:
        token = start
        while not found or not ids(found[-1]["chunk"]):
            found.append(events(alice.copy(), start=token, timeout=20_000, **query))
            token = found[-1]["end"]

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    said = bob.say(room, "hello")
    waiting.join(20)
    assert ids(found[-1]["chunk"]) == [said]
    started = time.monotonic()
    end = found[-1]["end"]
    while events(alice, start=end, timeout=300, **query)["end"] != end:
        end = events(alice, start=end, **query)["end"]
    assert time.monotonic() - started > 0.3


@pytest.mark.parametrize(
    "query",
    [{"from": "garbage"}, {"from": "s999999999"}, {"timeout": "long"}, {"timeout": -1}, {"limit": "x"}, {"limit": -2}],
)
def test_wrong_parameters_of_events(alice: MatrixClient, query: dict[str, Any]) -> None:
    answer = alice.get("/events", query=query, validate=False, expect=400)
    assert answer.errcode == "M_INVALID_PARAM"
    assert next(iter(query)) in answer["error"]


def test_peeking(alice: MatrixClient, bob: MatrixClient, guest: MatrixClient, new_user: NewUser, room: str) -> None:
    carol = new_user()
    for stranger in (guest, carol):
        for wanted in (room, "!nowhere:test"):
            assert stranger.get("/events", query={"room_id": wanted}, expect=403).errcode == "M_FORBIDDEN"
    assert guest.get("/events", expect=403).errcode == "M_GUEST_ACCESS_FORBIDDEN"
    assert carol.get("/events", query={"room_id": "room"}, expect=400).errcode == "M_INVALID_PARAM"
    alice.say(room, "before")
    publish(alice, room)
    shown = alice.say(room, "for all")
    for stranger in (guest, carol):
        snapshot = stranger.get(f"/rooms/{quoted(room)}/initialSync")
        assert "membership" not in snapshot.json
        assert shown in ids(snapshot["messages"]["chunk"])
        assert "before" not in [event["content"].get("body") for event in snapshot["messages"]["chunk"]]
        start = snapshot["messages"]["end"]
        said = bob.say(room, "hello")
        bob.post(f"/rooms/{quoted(room)}/receipt/m.read/{quoted(said)}")
        answer = events(stranger, room_id=room, start=start)
        assert ids(answer["chunk"]) == [said]
        assert [list(event["content"]) for event in of_type(answer["chunk"], "m.receipt")] == [[said]]
        assert events(stranger, room_id=room, start=answer["end"], limit=1)["start"] == answer["end"]
    last = events(guest, room_id=room)["end"]
    alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    alice.say(room, "not for all")
    assert guest.get("/events", query={"room_id": room, "from": last}, expect=403).errcode == "M_FORBIDDEN"
    carol.get(f"/rooms/{quoted(room)}/initialSync", expect=403)


def test_peeking_ends_when_the_world_is_shut_out(alice: MatrixClient, new_user: NewUser, room: str) -> None:
    carol = new_user()
    publish(alice, room)
    end = events(carol, room_id=room)["end"]
    end = events(carol, room_id=room, start=end)["end"]
    answers: list[Answer] = []

    def wait() -> None:
        token = end
        while not answers or answers[-1].status == 200:
            query = {"room_id": room, "from": token, "timeout": 10_000}
            answers.append(carol.copy().get("/events", query=query, expect={200, 403}, check_answer=False))
            token = answers[-1].get("end", "")

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.2)
    alice.set_state(room, "m.room.history_visibility", {"history_visibility": "shared"})
    hidden = alice.say(room, "hidden")
    waiting.join(20)
    assert answers[-1].errcode == "M_FORBIDDEN"
    assert hidden not in [event_id for answer in answers[:-1] for event_id in ids(answer["chunk"])]


def test_initial_sync_has_all_of_a_user(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    said = [alice.say(room, f"{number}") for number in range(3)]
    bob.post(f"/rooms/{quoted(room)}/receipt/m.read/{quoted(said[0])}")
    left, asked = alice.create_room(preset="public_chat"), alice.create_room(preset="private_chat")
    bob.join(left)
    last = bob.say(left, "good-bye")
    bob.leave(left)
    alice.set_state(left, "m.room.topic", {"topic": "later"})
    alice.invite(asked, bob.user_id)
    bob.put(f"/user/{quoted(bob.user_id)}/account_data/org.example.all", {"a": 1})
    bob.put(f"/user/{quoted(bob.user_id)}/rooms/{quoted(room)}/tags/u.work", {})
    answer = bob.get("/initialSync", query={"limit": 2})
    joined = room_in(answer, room)
    assert ids(joined["messages"]["chunk"]) == said[1:]
    assert (joined["membership"], joined["visibility"]) == ("join", "private")
    assert {"m.room.create", "m.room.member"} <= {event["type"] for event in joined["state"]}
    assert joined["account_data"] == [{"type": "m.tag", "content": {"tags": {"u.work": {}}}}]
    assert answer["account_data"] == [{"type": "org.example.all", "content": {"a": 1}}]
    invited = room_in(answer, asked)
    assert (invited["membership"], invited["invite"]["state_key"]) == ("invite", bob.user_id)
    assert left not in [item["room_id"] for item in answer["rooms"]]
    assert bob.user_id in [event["content"]["user_id"] for event in answer["presence"]]
    assert [event["content"].keys() for event in answer["receipts"] if event["room_id"] == room] == [{said[0]}]
    earlier = bob.messages(room, start=joined["messages"]["start"], limit=1)
    assert ids(earlier["chunk"]) == [said[0]]
    new = alice.say(room, "new")
    assert ids(events(bob, start=answer["end"])["chunk"]) == [new]
    archived = room_in(bob.get("/initialSync", query={"limit": 2, "archived": True}), left)
    assert archived["membership"] == "leave"
    assert ids(archived["messages"]["chunk"])[0] == last
    assert "m.room.topic" not in {event["type"] for event in archived["state"]}
    assert room_in(bob.get("/initialSync", query={"limit": 0}), room)["messages"]["chunk"] == []


def test_initial_sync_says_what_is_wrong(alice: MatrixClient, guest: MatrixClient) -> None:
    for query in ({"limit": "many"}, {"limit": -1}, {"archived": "perhaps"}):
        answer = alice.get("/initialSync", query=query, validate=False, expect=400)
        assert answer.errcode == "M_INVALID_PARAM"
    assert guest.get("/initialSync", expect=403).errcode == "M_GUEST_ACCESS_FORBIDDEN"
    assert guest.get("/initialSync", token=None, expect=401).errcode == "M_MISSING_TOKEN"
    assert alice.get("/initialSync")["rooms"] == []


def test_initial_sync_of_a_room_one_has_left(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    said = alice.say(room, "one")
    bob.post(f"/rooms/{quoted(room)}/receipt/m.read/{quoted(said)}")
    here = alice.get(f"/rooms/{quoted(room)}/initialSync")
    assert [event["content"].keys() for event in here["receipts"]] == [{said}]
    bob.sync()
    bob.leave(room)
    hidden = alice.say(room, "two")
    there = bob.get(f"/rooms/{quoted(room)}/initialSync")
    assert there["membership"] == "leave"
    assert hidden not in ids(there["messages"]["chunk"])
    assert said in ids(there["messages"]["chunk"])
    assert (there["presence"], there["receipts"]) == ([], [])


def test_one_event_of_any_room(alice: MatrixClient, new_user: NewUser, room: str) -> None:
    said = alice.say(room, "hello")
    assert alice.get(f"/events/{quoted(said)}")["room_id"] == room
    for client, wanted in ((new_user(), said), (alice, "$nothing")):
        assert client.get(f"/events/{quoted(wanted)}", expect=404).errcode == "M_NOT_FOUND"
