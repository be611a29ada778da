"""What was said before somebody came, and while a server was away."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.interop.conftest import VERSIONS
from tests.interop.people import Person, Side, eventually, restart, same_state, talk
from tests.support.federation.network import Network, Passage

BEFORE = 300
DURING = 15
NEWS_S = 2.0


@pytest.mark.parametrize("room_version", ["6", "12"])
def test_three_hundred_events_are_fetched_by_paging_back(alice: Person, bob: Person, room_version: str) -> None:
    room_id = alice.create_room(room_version)
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda number: alice.client.say(room_id, f"line {number}"), range(BEFORE)))
    bob.join(room_id, alice)
    created = alice.state(room_id)["m.room.create", ""]

    def whole_history() -> bool:
        found = [event["event_id"] for event in bob.pages_back(room_id)]
        assert len(found) == len(set(found)), "an event came twice"
        return {*said, created} <= set(found)

    eventually(whole_history, "the history is not whole", 30)


def test_an_outage_is_caught_up_with(home: Side, away: Side, alice: Person, bob: Person) -> None:
    rooms = [alice.create_room(version) for version in VERSIONS]
    for room_id in rooms:
        bob.join(room_id, alice)
        talk(room_id, alice, bob)
    away.server.kill()
    said = {room_id: _say_and_change(alice, room_id) for room_id in rooms}
    restart(away.server, bob)
    _the_other_has_caught_up(said, alice, bob)
    home.server.kill()
    said = {room_id: [bob.client.say(room_id, f"{number}") for number in range(DURING)] for room_id in rooms}
    restart(home.server, alice)
    _the_other_has_caught_up(said, bob, alice)


def test_a_silent_network_is_caught_up_with(
    home: Side, away: Side, alice: Person, bob: Person, network: Network
) -> None:
    rooms = [alice.create_room(version) for version in VERSIONS]
    for room_id in rooms:
        bob.join(room_id, alice)
        talk(room_id, alice, bob)
    network.part(home.name, away.name, Passage.SILENT)
    here = {room_id: _say_and_change(alice, room_id) for room_id in rooms}
    there = {room_id: [bob.client.say(room_id, f"{number}") for number in range(DURING)] for room_id in rooms}
    network.heal()
    _the_other_has_caught_up(here, alice, bob)
    _the_other_has_caught_up(there, bob, alice)


def _say_and_change(alice: Person, room_id: str) -> list[str]:
    said = [alice.client.say(room_id, f"{number}") for number in range(DURING)]
    return [*said, str(alice.client.set_state(room_id, "m.room.topic", {"topic": "changed"})["event_id"])]


def _the_other_has_caught_up(said: dict[str, list[str]], alice: Person, bob: Person) -> None:
    for room_id in said:
        eventually(partial(_news_arrives, room_id, alice, bob), f"{bob.id} hears nothing in {room_id}", 40)
    for room_id, event_ids in said.items():
        bob.finds(room_id, *event_ids)
        same_state(room_id, alice, bob)


def _news_arrives(room_id: str, alice: Person, bob: Person) -> bool:
    # A server that was told nothing because it was away may have to wait until there is news for it.
    news = alice.client.say(room_id, "news")
    deadline = time.monotonic() + NEWS_S
    while time.monotonic() < deadline:
        if bob.client.event(room_id, news, expect=(200, 403, 404)).status == 200:
            return True
        time.sleep(0.05)
    return False
