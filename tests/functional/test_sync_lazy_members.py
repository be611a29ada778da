"""Lazy loading of members in sync."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted
from tests.support.sync_answers import bodies_in, members_in, room_in

People = tuple[MatrixClient, MatrixClient, MatrixClient]


@pytest.fixture
def people(new_user: NewUser) -> People:
    return new_user(), new_user(), new_user()


@pytest.fixture
def named_room(people: People) -> str:
    """A room with a name, so that nobody is wanted as a hero."""
    alice, *others = people
    room = alice.create_room(preset="public_chat", name="tea")
    for other in others:
        other.join(room)
    return room


def lazily(limit: int = 10, **more: Any) -> dict[str, Any]:
    return {"room": {"timeline": {"limit": limit}, "state": {"lazy_load_members": True, **more}}}


def test_only_those_who_speak_are_told_and_each_once(people: People, named_room: str) -> None:
    alice, bob, carol = people
    bob.say(named_room, "hello")
    found = room_in(alice.sync(filter=lazily(1)), named_room)
    assert members_in(found) == {alice.user_id, bob.user_id}
    bob.say(named_room, "again")
    carol.say(named_room, "hello")
    found = room_in(alice.sync(filter=lazily(1)), named_room)
    assert (bodies_in(found), members_in(found)) == (["hello"], {carol.user_id})
    bob.say(named_room, "still here")
    carol.say(named_room, "me too")
    assert members_in(room_in(alice.sync(filter=lazily()), named_room)) == set()


def test_redundant_members_are_told_on_demand(people: People, named_room: str) -> None:
    alice, bob, _ = people
    redundantly = lazily(1, include_redundant_members=True)
    for text in ("one", "two"):
        bob.say(named_room, text)
        assert bob.user_id in members_in(room_in(alice.sync(filter=redundantly), named_room))


def test_an_answer_that_was_lost_is_not_one_that_the_client_has(people: People, named_room: str) -> None:
    alice, bob, _ = people
    alice.sync(filter=lazily(1))
    since = alice.since
    bob.say(named_room, "hello")
    for _ in range(2):
        assert members_in(room_in(alice.sync(since=since, filter=lazily(1)), named_room)) == {bob.user_id}
    bob.say(named_room, "again")
    assert members_in(room_in(alice.sync(filter=lazily(1)), named_room)) == set()
    # Restored from a backup, a client has what it had then.
    assert members_in(room_in(alice.sync(since=since, filter=lazily(2)), named_room)) == {bob.user_id}


def test_members_who_changed_in_a_gap_are_told(people: People, named_room: str) -> None:
    alice, bob, carol = people
    bob.say(named_room, "hello")
    alice.sync(filter=lazily(1))
    bob.put(f"/profile/{quoted(bob.user_id)}/displayname", {"displayname": "Robert"})
    alice.sync_until(lambda answer: "Robert" in str(answer), since=alice.since)
    carol.leave(named_room)
    for number in range(3):
        alice.say(named_room, f"{number}")
    found = room_in(alice.sync(since=None, filter=lazily(1)), named_room)
    since = alice.since
    carol.join(named_room)
    bob.leave(named_room)
    for number in range(3):
        alice.say(named_room, f"{number}")
    found = room_in(alice.sync(since=since, filter=lazily(2)), named_room)
    assert (found["timeline"]["limited"], members_in(found)) == (True, {bob.user_id, carol.user_id})


def test_a_join_in_the_timeline_needs_no_repeating(people: People, new_user: NewUser, named_room: str) -> None:
    alice, dave = people[0], new_user()
    alice.sync(filter=lazily())
    dave.join(named_room)
    assert members_in(room_in(alice.sync(filter=lazily()), named_room), "timeline") == {dave.user_id}
    dave.say(named_room, "hello")
    assert members_in(room_in(alice.sync(filter=lazily()), named_room)) == set()


def test_ones_own_member_event_comes_on_joining(people: People, new_user: NewUser, named_room: str) -> None:
    dave = new_user()
    dave.sync(filter=lazily(1))
    dave.join(named_room)
    people[0].say(named_room, "welcome")
    found = room_in(dave.sync(filter=lazily(1)), named_room)
    assert members_in(found) == {dave.user_id, people[0].user_id}


def test_heroes_come_with_their_member_events(people: People) -> None:
    alice, bob, carol = people
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    carol.join(room)
    alice.say(room, "hello")
    found = room_in(alice.sync(filter=lazily(1)), room)
    assert found["summary"]["m.heroes"] == [bob.user_id, carol.user_id]
    assert members_in(found) == {alice.user_id, bob.user_id, carol.user_id}
