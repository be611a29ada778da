"""Both servers change the room while they cannot hear each other, and agree afterwards."""

from __future__ import annotations

from tests.interop.people import Person, Side, same_state, talk
from tests.support.federation.network import Network


def test_bans_and_power_levels_race(
    home: Side, away: Side, alice: Person, bob: Person, room_version: str, network: Network
) -> None:
    harold, wanda = home.person("harold"), away.person("wanda")
    users = {bob.id: 100, harold.id: 50, wanda.id: 50}
    if room_version != "12":
        users[alice.id] = 100
    room_id = alice.create_room(room_version, power_level_content_override={"users": users})
    for guest in (bob, harold, wanda):
        guest.join(room_id, alice)
    talk(room_id, alice, bob)
    before = same_state(room_id, alice, bob)

    network.part(home.name, away.name)
    alice.client.ban(room_id, wanda.id)
    harold.client.set_state(room_id, "m.room.name", {"name": "of the one who is banned there"})
    alice.client.set_state(room_id, "m.room.join_rules", {"join_rule": "invite"})
    wanda.client.set_state(room_id, "m.room.topic", {"topic": "of the one who is banned here"})
    bob.client.ban(room_id, harold.id)
    levels = dict(bob.client.state_content(room_id, "m.room.power_levels").json)
    levels["users"] = {**levels["users"], harold.id: 0}
    bob.client.set_state(room_id, "m.room.power_levels", {**levels, "events_default": 10})
    network.heal()

    talk(room_id, alice, bob)
    after = same_state(room_id, alice, bob)
    for banned in (harold, wanda):
        assert {person.membership(room_id, banned) for person in (alice, bob)} == {"ban"}
    assert ("m.room.name", "") not in after
    assert ("m.room.topic", "") not in after
    for key in (("m.room.join_rules", ""), ("m.room.power_levels", "")):
        assert after[key] != before[key]


def test_both_change_the_power_levels(
    home: Side, away: Side, alice: Person, bob: Person, room_version: str, network: Network
) -> None:
    users = {bob.id: 100} if room_version == "12" else {alice.id: 100, bob.id: 100}
    room_id = alice.create_room(room_version, power_level_content_override={"users": users})
    carol = away.person("carol")
    for guest in (bob, carol):
        guest.join(room_id, alice)
    talk(room_id, alice, bob)
    network.part(home.name, away.name)
    for person, level in ((alice, 70), (bob, 30), (alice, 60), (bob, 40)):
        levels = dict(person.client.state_content(room_id, "m.room.power_levels").json)
        levels["users"] = {**levels["users"], carol.id: level}
        person.client.set_state(room_id, "m.room.power_levels", levels)
        person.client.set_state(room_id, "m.room.topic", {"topic": f"{level}"})
    network.heal()
    talk(room_id, alice, bob)
    same_state(room_id, alice, bob)


def test_joins_race_with_the_rules_for_joining(
    home: Side, away: Side, alice: Person, bob: Person, room_version: str, network: Network
) -> None:
    room_id = alice.create_room(room_version)
    bob.join(room_id, alice)
    talk(room_id, alice, bob)
    late = away.person("late")
    network.part(home.name, away.name)
    alice.client.set_state(room_id, "m.room.join_rules", {"join_rule": "invite"})
    late.join(room_id, bob)
    heard_here_only = late.client.say(room_id, "is anybody there?")
    network.heal()
    talk(room_id, alice, bob)
    state = same_state(room_id, alice, bob)
    assert ("m.room.member", late.id) not in state
    assert late.client.event(room_id, heard_here_only, expect=(200, 403, 404)) is not None
