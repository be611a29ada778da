"""History that a server was not there for: from before it joined, and from an outage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import database
from tests.support.client import MatrixClient
from tests.support.federation.copies import wait_until_same
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
    again = paged(bob, room_id, 100)
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
    before = bob.sync()
    servers.network.part(one.server_name, two.server_name)
    said = []
    for number in range(170):
        said.append(alice.say(room_id, f"missed {number}"))
        if number % 40 == 5:
            alice.set_state(room_id, "m.room.topic", {"topic": f"topic {number}"})
    servers.network.heal()
    last = alice.say(room_id, "and now")
    timeline = bob.sync_until(
        lambda answer: answer["rooms"]["join"][room_id]["timeline"] if last in str(bob.timeline(room_id, answer)) else 0,
        within_s=_SECONDS,
    )
    assert timeline["limited"], before
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
