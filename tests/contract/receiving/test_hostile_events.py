"""What only somebody who means harm would send: others must not be harmed by it, and nobody be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from matrixd.core.event import Event
from matrixd.services.receiving.placing import Placed, Received
from matrixd.storage import events
from tests.contract.receiving.test_bad_events import ALICE, BOB, FAR, World, forged
from tests.support.database import OpenDatabase

EVE = "@eve:far.org"


def member(world: World, membership: dict[str, Any], target: str, **changes: Any) -> Event:
    """A membership by bob, as it comes."""
    auth_events = world.elsewhere._auth(changes.get("sender", BOB), "m.room.member", target, membership)
    return forged(
        world, event_type="m.room.member", state_key=target, content=membership, auth_events=auth_events, **changes
    )


@pytest.mark.parametrize("version", ["6", "10", "11", "12"])
@pytest.mark.parametrize("third_party_invite", [{}, {"display_name": "x"}, None])
def test_nobody_invites_in_the_name_of_others(db: OpenDatabase, version: str, third_party_invite: Any) -> None:
    # Without its hash it is redacted, and then nothing is left of what spared it the sender's signature.
    world = World(db, version)
    content = {"membership": "invite", "third_party_invite": third_party_invite}
    invite = member(world, content, EVE, sender=ALICE)
    pdu = {**invite.pdu, "hashes": {"sha256": "A" * 43}, "signatures": {FAR: invite.pdu["signatures"][FAR]}}
    answer = world.receive(pdu)
    assert all(error is not None for error in answer.values()), answer
    assert ("m.room.member", EVE) not in world.room.current()


def test_lies_about_what_is_between_stop_nobody(db: OpenDatabase) -> None:
    world = World(db)
    hidden = [world.say("hidden"), world.say("hidden too")]
    world.teller.hidden.update(event.event_id for event in hidden)
    said = [forged(world, prev_events=[before], content={"body": before.event_id}) for before in hidden]

    async def missing_events(
        destination: str, room_id: str, earliest: Sequence[str], latest: Sequence[str], limit: int, *more: Any
    ) -> Any:
        return [event.pdu for event in said if event.event_id not in latest]

    world.teller.missing_events = missing_events  # type: ignore[method-assign]

    async def at_once() -> list[dict[str, str | None]]:
        works = [
            Deferred.fromCoroutine(world.receiver.receive(FAR, world.room.room_id, [dict(event.pdu)]))
            for event in said
        ]
        return [await work for work in works]

    answers = world.room.run(at_once())
    assert [list(answer) for answer in answers] == [[event.event_id] for event in said]


@pytest.mark.parametrize("is_state", [False, True])
def test_an_event_id_of_another_room(db: OpenDatabase, is_state: bool) -> None:
    rooms = World(db, "1"), World(db, "1")
    changes: dict[str, Any] = {"event_id": "$same:far.org"}
    if is_state:
        changes |= {"event_type": "org.example", "state_key": BOB, "content": {}}
        for world in rooms:
            content = {"users": {ALICE: 100, BOB: 100}}
            levels = world.elsewhere.send(ALICE, "m.room.power_levels", content, "")
            assert world.receive(levels) == {levels.event_id: None}
    first, second = (
        forged(world, auth_events=world.elsewhere._auth(BOB, "org.example", None, {}), **changes) for world in rooms
    )
    assert rooms[0].receive(first) == {first.event_id: None}
    after = rooms[1].elsewhere.send(BOB, "m.room.message", {"body": "after"})
    answer = rooms[1].receive(second, after)
    assert answer["$same:far.org"] is not None
    assert answer[after.event_id] is None
    assert rooms[1].accepted(after)
    stored = db.read(events.by_id, "$same:far.org")
    assert stored is not None
    assert stored.event.room_id == rooms[0].room.room_id
    assert stored.pos is not None
    # What comes after it in the other room has no place, and does no harm.
    later = forged(rooms[1], prev_events=[second])
    assert rooms[1].receive(later)[later.event_id] is not None


@pytest.mark.parametrize("redacts", ["\0", "$\0", "$" + "".join(chr(0x4E00 + i) for i in range(9_000)), ""])
def test_redactions_of_what_cannot_be(db: OpenDatabase, redacts: str) -> None:
    world = World(db, "11")
    redaction = forged(world, event_type="m.room.redaction", content={"redacts": redacts})
    answer = world.receive(redaction)
    assert list(answer) == [redaction.event_id]
    after = world.elsewhere.build(BOB, "m.room.message", {"body": "after"})
    assert world.receive(after) == {after.event_id: None}


@pytest.mark.parametrize(
    "content",
    [
        {"membership": "invite", "third_party_invite": {"signed": {"mxid": EVE, "token": "\0"}}},
        {"membership": "join", "join_authorised_via_users_server": "@\0:domain"},
        {"membership": "join", "join_authorised_via_users_server": "\0"},
    ],
)
def test_keys_that_no_database_has(db: OpenDatabase, content: dict[str, Any]) -> None:
    world = World(db, "11")
    event = member(world, content, EVE, sender=EVE if content["membership"] == "join" else BOB)
    answer = world.receive(event)
    assert list(answer) == [event.event_id]
    assert ("m.room.member", EVE) not in world.room.current()


@pytest.mark.parametrize("version", ["1", "6", "11"])
def test_a_room_is_created_once(db: OpenDatabase, version: str) -> None:
    world = World(db, version)
    before = world.room.current()
    content = {"room_version": version, "creator": "@eve:domain", "m.federate": False}
    create = world.elsewhere.build(
        "@eve:domain", "m.room.create", content, "", prev_events=[], auth_events=[], depth=1
    )
    world.receive(create)
    assert world.room.current() == before
    assert create.event_id not in world.room.extremities()
    said = world.say("still here")
    assert world.receive(said) == {said.event_id: None}


def test_an_event_that_fails_costs_the_others_nothing(
    db: OpenDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(db)
    bad, good = world.say("bad"), world.say("good")
    follow, place = world.room.placing.follow, world.room.placing.place

    async def failing_place(received: Received) -> Placed:
        if received.event == bad:
            raise ZeroDivisionError("nobody has thought of it")
        return await place(received)

    async def failing_follow(received: Received) -> Any:
        return None if received.event == bad else await follow(received)

    monkeypatch.setattr(world.room.placing, "follow", failing_follow)
    monkeypatch.setattr(world.room.placing, "place", failing_place)
    answer = world.receive(bad)
    assert answer[bad.event_id] is not None
    assert "nobody has thought of it" in caplog.text
    monkeypatch.undo()
    assert world.receive(bad, good) == {bad.event_id: None, good.event_id: None}


def test_who_repeats_old_messages_stops_nobody(db: OpenDatabase) -> None:
    world = World(db)
    said = [world.say(str(number)) for number in range(3)]
    assert world.receive(*said) == {event.event_id: None for event in said}
    head = world.room.heads.in_memory(world.room.room_id)
    assert head is not None
    for event in said:
        assert world.receive(event) == {event.event_id: None}
    assert not head.broken
    assert world.room.heads.in_memory(world.room.room_id) is head
