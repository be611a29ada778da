"""History that a server was not there for: from before it joined, and from an outage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import database
from tests.support.client import MatrixClient, quoted
from tests.support.federation.copies import read_copy, wait_until_same
from tests.support.federation.servers import FederatedServer, Servers, federated

_SECONDS = 40.0


@pytest.fixture
def servers() -> Iterator[Servers]:
    with federated([database.fresh("sqlite3"), database.fresh("psycopg2")], seed=1) as both:
        yield both


def paged(client: MatrixClient, room_id: str, limit: int, start: str | None = None) -> list[dict[str, Any]]:
    """All that a client comes upon going back, newest first, until there is no more."""
    found: list[dict[str, Any]] = []
    for _ in range(200):
        page = client.messages(room_id, limit=limit, **({"start": start} if start else {})).json
        found += page["chunk"]
        if "end" not in page:
            return found
        start = page["end"]
    raise AssertionError("the pages do not end")


def quietly_paged(client: MatrixClient, room_id: str, limit: int) -> list[dict[str, Any]]:
    """As `paged`, once all that can be fetched was."""
    paged(client, room_id, 100)
    return paged(client, room_id, limit)


def described(events: list[dict[str, Any]]) -> list[tuple[str, str, Any]]:
    return [(event["event_id"], event["type"], event["content"]) for event in events]


def busy_room(one: FederatedServer, version: str) -> tuple[MatrixClient, str]:
    """A room with 300 events: messages, and state between them."""
    alice = one.new_client("alice")
    room_id = alice.create_room(preset="public_chat", room_version=version)
    carol = one.new_client("carol")
    for number in range(150):
        alice.say(room_id, f"message {number}")
        if number % 25 == 10:
            alice.set_state(room_id, "m.room.topic", {"topic": f"topic {number}"})
        if number == 70:
            carol.join(room_id)
    said = alice.say(room_id, "redact me")
    alice.redact(room_id, said)
    for number in range(150, 280):
        (carol if number % 3 else alice).say(room_id, f"message {number}")
    return alice, room_id


@pytest.mark.parametrize(("version", "limit"), [("12", 10), ("10", 100), ("6", 37), ("1", 60)])
def test_all_of_a_rooms_past_can_be_paged_after_joining(servers: Servers, version: str, limit: int) -> None:
    one, two = servers
    alice, room_id = busy_room(one, version)
    bob = two.new_client("bob")
    bob.join(room_id, query={"via": one.server_name})
    there, here = paged(alice, room_id, 100), paged(bob, room_id, limit)
    assert len(here) > 295
    assert described(here) == described(there)
    # What a state event replaced is shown once it is known where that stands.
    again = quietly_paged(bob, room_id, 100)
    assert described(again) == described(there)
    topics = [event for event in again if event["type"] == "m.room.topic"]
    expected = [event for event in there if event["type"] == "m.room.topic"]
    assert [event["unsigned"].get("prev_content") for event in topics] == [
        event["unsigned"].get("prev_content") for event in expected
    ]
    assert {event["unsigned"]["membership"] for event in here[1:]} == {"leave"}
    forwards: list[dict[str, Any]] = []
    page = bob.messages(room_id, "f", limit=70).json
    while page["chunk"]:
        forwards += page["chunk"]
        page = bob.messages(room_id, "f", limit=70, start=page["end"]).json if "end" in page else {"chunk": []}
    assert described(forwards) == described(here)[::-1]


def test_what_was_missed_in_an_outage_is_behind_a_gap(servers: Servers) -> None:
    one, two = servers
    alice = one.new_client("alice")
    bob = two.new_client("bob")
    room_id = alice.create_room(preset="public_chat", room_version="11")
    bob.join(room_id, query={"via": one.server_name})
    bob.say(room_id, "here")
    alice.sync_until(lambda answer: "here" in str(alice.timeline(room_id, answer)))
    bob.sync()
    servers.network.part(one.server_name, two.server_name)
    said = []
    for number in range(170):
        said.append(alice.say(room_id, f"missed {number}"))
        if number % 40 == 5:
            alice.set_state(room_id, "m.room.topic", {"topic": f"topic {number}"})
    servers.network.heal()
    last = alice.say(room_id, "and now")

    def with_last(answer: Any) -> Any:
        return last in str(bob.timeline(room_id, answer)) and answer["rooms"]["join"][room_id]["timeline"]

    timeline = bob.sync_until(with_last, within_s=_SECONDS)
    # Whether anything was left out depends on how soon the other server finds out that this one is back.
    seen = {event["event_id"] for event in timeline["events"]}
    assert timeline["limited"] or read_copy(two, room_id).accepted() >= set(said) or set(said) <= seen
    back = [event["event_id"] for event in timeline["events"]][::-1]
    back += [event["event_id"] for event in paged(bob, room_id, 20, timeline["prev_batch"])]
    there = [event["event_id"] for event in paged(alice, room_id, 100)]
    assert back == there
    assert set(said) <= set(back)
    copies = wait_until_same(servers, room_id, within_s=_SECONDS)
    assert len(copies[1].extremities) == 1


def test_a_gap_is_filled_without_anybody_asking(servers: Servers) -> None:
    one, two = servers
    alice, bob = one.new_client("alice"), two.new_client("bob")
    room_id = alice.create_room(preset="public_chat", room_version="11")
    bob.join(room_id, query={"via": one.server_name})
    servers.network.part(one.server_name, two.server_name)
    for number in range(230):
        alice.say(room_id, f"missed {number}")
    servers.network.heal()
    alice.say(room_id, "and now")
    # The holes are due half a minute after they were found, and looked for every half minute.
    wait_until_same(servers, room_id, within_s=100.0)


def test_who_may_see_what_was_fetched(servers: Servers) -> None:
    one, two = servers
    alice, bob = one.new_client("alice"), two.new_client("bob")
    room_id = alice.create_room(preset="public_chat", room_version="11")
    shared = alice.say(room_id, "shared")
    alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    hidden = alice.say(room_id, "for those who are there")
    alice.set_state(room_id, "m.room.topic", {"topic": "hidden"})
    alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": "shared"})
    open_again = alice.say(room_id, "shared again")
    alice.set_state(room_id, "m.room.topic", {"topic": "shown"})
    bob.join(room_id, query={"via": one.server_name})
    found = {event["event_id"]: event for event in quietly_paged(bob, room_id, 5)}
    assert {shared, open_again} <= found.keys()
    assert hidden not in found
    assert [event["content"]["topic"] for event in found.values() if event["type"] == "m.room.topic"] == ["shown"]
    shown = next(event for event in found.values() if event["type"] == "m.room.topic")
    assert "prev_content" not in shown["unsigned"]
    bob.event(room_id, hidden, expect=404)
    assert bob.event(room_id, shared).json["content"]["body"] == "shared"
    bob.get(f"/rooms/{quoted(room_id)}/context/{quoted(hidden)}", expect=404)


def test_what_can_be_asked_of_fetched_history(servers: Servers) -> None:
    one, two = servers
    alice, bob = one.new_client("alice"), two.new_client("bob")
    room_id = alice.create_room(preset="public_chat", room_version="11")
    root = alice.say(room_id, "root")
    edited = {"msgtype": "m.text", "body": "edited"}
    relation = {"rel_type": "m.replace", "event_id": root}
    edit = alice.send(room_id, content={**edited, "m.new_content": edited, "m.relates_to": relation}).json["event_id"]
    thread = {"rel_type": "m.thread", "event_id": root}
    answers = [
        alice.send(room_id, content={"msgtype": "m.text", "body": str(number), "m.relates_to": thread}).json["event_id"]
        for number in range(5)
    ]
    middle = alice.say(room_id, "middle")
    alice.set_state(room_id, "m.room.topic", {"topic": "later"})
    bob.join(room_id, query={"via": one.server_name})
    paged(bob, room_id, 3)
    for client in (alice, bob):
        path = f"/rooms/{quoted(room_id)}"
        context = client.get(f"{path}/context/{quoted(middle)}", query={"limit": 4}).json
        assert [event["event_id"] for event in context["events_before"]] == answers[:2:-1]
        assert context["events_after"][0]["content"] == {"topic": "later"}
        around = client.get(f"{path}/context/{quoted(middle)}", query={"limit": 0}).json
        assert "m.room.topic" not in [event["type"] for event in around["state"]]
        assert "m.room.power_levels" in [event["type"] for event in around["state"]]
        before = client.messages(room_id, start=context["start"], limit=100).json["chunk"]
        assert before[0]["event_id"] == answers[2]
        shown = client.event(room_id, root).json["unsigned"]["m.relations"]
        assert shown["m.thread"]["count"] == 5
        assert shown["m.thread"]["latest_event"]["event_id"] == answers[-1]
        assert shown["m.replace"]["event_id"] == edit
        url = f"/_matrix/client/v1/rooms/{quoted(room_id)}"
        related = client.get(f"{url}/relations/{quoted(root)}/m.thread", query={"limit": 3}).json
        assert [event["event_id"] for event in related["chunk"]] == answers[:1:-1]
        more = client.get(
            f"{url}/relations/{quoted(root)}/m.thread", query={"limit": 3, "from": related["next_batch"]}
        ).json
        assert [event["event_id"] for event in more["chunk"]] == answers[1::-1]
        assert [event["event_id"] for event in client.get(f"{url}/threads").json["chunk"]] == [root]
        moment = client.event(room_id, middle).json["origin_server_ts"]
        nearest = client.get(f"{url}/timestamp_to_event", query={"ts": moment, "dir": "f"}).json
        assert nearest["origin_server_ts"] == moment


def test_who_comes_back_can_page_what_was_said_meanwhile(servers: Servers) -> None:
    one, two = servers
    alice, bob = one.new_client("alice"), two.new_client("bob")
    room_id = alice.create_room(preset="public_chat", room_version="11")
    bob.join(room_id, query={"via": one.server_name})
    bob.say(room_id, "here")
    bob.leave(room_id)
    alice.sync_until(lambda answer: '"leave"' in json.dumps(alice.timeline(room_id, answer)))
    for number in range(130):
        alice.say(room_id, f"without bob {number}")
    bob.join(room_id, query={"via": one.server_name})
    assert described(paged(bob, room_id, 30)) == described(paged(alice, room_id, 100))


def test_the_members_of_then(servers: Servers) -> None:
    one, two = servers
    alice, carol, bob = one.new_client("alice"), one.new_client("carol"), two.new_client("bob")
    room_id = alice.create_room(preset="public_chat", room_version="11")
    early = alice.say(room_id, "early")
    carol.join(room_id)
    alice.say(room_id, "late")
    bob.join(room_id, query={"via": one.server_name})
    quietly_paged(bob, room_id, 10)
    context = bob.get(f"/rooms/{quoted(room_id)}/context/{quoted(early)}", query={"limit": 0}).json
    assert bob.members(room_id, query={"at": context["end"]}) == {alice.user_id: "join"}
