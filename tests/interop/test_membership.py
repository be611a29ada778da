"""Every way into a room of the other server, and out of it."""

from __future__ import annotations

from functools import partial

import pytest

from tests.interop.people import Person, Side, content_of, eventually, same_state, talk


def test_joining_and_talking(alice: Person, bob: Person, room_version: str) -> None:
    room_id = alice.create_room(room_version, name="Tea", topic="with milk")
    said = alice.client.say(room_id, "before")
    bob.join(room_id, alice)
    bob.finds(room_id, said)
    talk(room_id, alice, bob)
    state = same_state(room_id, alice, bob)
    assert ("m.room.member", bob.id) in state
    topic = bob.client.state_content(room_id, "m.room.topic")["topic"]
    assert topic == "with milk"


def test_state_and_redactions_cross(alice: Person, bob: Person, room_version: str) -> None:
    room_id = alice.create_room(room_version, power_level_content_override={"state_default": 0, "redact": 50})
    bob.join(room_id, alice)
    topic = str(bob.client.set_state(room_id, "m.room.topic", {"topic": "set by the guest"})["event_id"])
    alice.hears(room_id, topic)
    said = bob.client.say(room_id, "a secret")
    alice.hears(room_id, said)
    redaction = str(alice.client.redact(room_id, said, "not here")["event_id"])
    bob.hears(room_id, redaction)
    for person in (alice, bob):
        eventually(partial(_is_empty, person, room_id, said), f"{person.id} still has the text")
    assert same_state(room_id, alice, bob)["m.room.topic", ""] == topic


def test_invitations_both_ways(home: Side, alice: Person, bob: Person, room_version: str) -> None:
    room_id = alice.create_room(room_version, preset="private_chat", name="Tea")
    alice.client.invite(room_id, bob.id)
    stripped = {event["type"]: event["content"] for event in bob.is_invited(room_id)}
    assert stripped["m.room.name"] == {"name": "Tea"}
    bob.join(room_id, alice)
    alice.sees(room_id, bob, "join")
    eve = home.person("eve")
    bob.client.invite(room_id, eve.id)
    eve.is_invited(room_id)
    eve.join(room_id, bob)
    talk(room_id, alice, bob, eve)
    same_state(room_id, alice, bob)


def test_invitations_are_turned_down_and_taken_back(
    away: Side, alice: Person, bob: Person, room_version: str
) -> None:
    room_id = alice.create_room(room_version, preset="private_chat")
    mallory = away.person("mallory")
    for guest in (bob, mallory):
        alice.client.invite(room_id, guest.id)
        guest.is_invited(room_id)
    bob.client.leave(room_id)
    alice.sees(room_id, bob, "leave")
    bob.is_out(room_id)
    alice.client.kick(room_id, mallory.id)
    mallory.is_out(room_id)


@pytest.mark.parametrize("room_version", ["10", "11", "12"])
def test_knocking(away: Side, alice: Person, bob: Person, room_version: str) -> None:
    room_id = alice.create_room(room_version, preset="private_chat", name="Tea")
    alice.client.set_state(room_id, "m.room.join_rules", {"join_rule": "knock"})
    bob.knock(room_id, alice)
    bob.has_knocked(room_id)
    alice.sees(room_id, bob, "knock")
    alice.client.invite(room_id, bob.id)
    bob.is_invited(room_id)
    bob.join(room_id, alice)
    talk(room_id, alice, bob)
    same_state(room_id, alice, bob)
    mallory = away.person("mallory")
    mallory.knock(room_id, alice)
    alice.sees(room_id, mallory, "knock")
    mallory.client.leave(room_id)
    alice.sees(room_id, mallory, "leave")


@pytest.mark.parametrize("room_version", ["10", "11", "12"])
def test_restricted_joins(away: Side, alice: Person, bob: Person, room_version: str) -> None:
    club = alice.create_room(room_version)
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    state = [{"type": "m.room.join_rules", "state_key": "", "content": rule}]
    room_id = alice.create_room(room_version, preset="private_chat", initial_state=state)
    bob.join(room_id, alice, expect=403)
    bob.join(club, alice)
    alice.sees(club, bob, "join")
    bob.join(room_id, alice)
    talk(room_id, alice, bob)
    joined = same_state(room_id, alice, bob)["m.room.member", bob.id]
    assert content_of(alice, room_id, joined)["join_authorised_via_users_server"] == alice.id
    stranger = away.person("stranger")
    stranger.join(room_id, alice, expect=403)


def test_leaving_being_kicked_and_banned(away: Side, alice: Person, bob: Person, room_version: str) -> None:
    room_id = alice.create_room(room_version)
    # Keeps the other server in the room.
    carol = away.person("carol")
    carol.join(room_id, alice)
    bob.join(room_id, alice)
    alice.sees(room_id, bob, "join")
    bob.client.leave(room_id)
    alice.sees(room_id, bob, "leave")
    bob.join(room_id, alice)
    alice.sees(room_id, bob, "join")
    alice.client.kick(room_id, bob.id)
    carol.sees(room_id, bob, "leave")
    bob.join(room_id, alice)
    alice.sees(room_id, bob, "join")
    alice.client.ban(room_id, bob.id)
    carol.sees(room_id, bob, "ban")
    bob.join(room_id, alice, expect=403)
    alice.client.unban(room_id, bob.id)
    carol.sees(room_id, bob, "leave")
    bob.join(room_id, alice)
    talk(room_id, alice, bob, carol)
    same_state(room_id, alice, carol)


def test_the_last_of_a_server_leaves_and_comes_back(alice: Person, bob: Person, room_version: str) -> None:
    room_id = alice.create_room(room_version)
    bob.join(room_id, alice)
    talk(room_id, alice, bob)
    bob.client.leave(room_id)
    alice.sees(room_id, bob, "leave")
    meanwhile = alice.client.say(room_id, "while nobody of the other server listened")
    alice.client.set_state(room_id, "m.room.topic", {"topic": "new"})
    bob.join(room_id, alice)
    talk(room_id, alice, bob)
    same_state(room_id, alice, bob)
    assert bob.client.state_content(room_id, "m.room.topic")["topic"] == "new"
    bob.finds(room_id, meanwhile)


def _is_empty(person: Person, room_id: str, event_id: str) -> bool:
    return content_of(person, room_id, event_id) == {}
