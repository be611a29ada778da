"""What servers may send that is wrong, late, doubled, incomplete or a lie, on its whole way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from matrixd.core.builder import build_event
from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.receiving.anchors import Anchors
from matrixd.services.receiving.auth_events import AuthEvents
from matrixd.services.receiving.decision import MAX_EXTREMITIES
from matrixd.services.receiving.pdu_checks import PduChecks
from matrixd.services.receiving.receiver import Receiver
from matrixd.storage import events, timeline_gaps
from tests.contract.receiving.forks import OURS, ForkedRoom
from tests.support.database import OpenDatabase
from tests.support.kept import FakeClock
from tests.support.rooms_elsewhere import Keys, NoHistory, RoomElsewhere, Threads, key_of

ALICE, BOB = f"@alice:{OURS}", "@bob:far.org"
FAR = "far.org"


class Teller(NoHistory):
    """A server that tells what it has: `hidden` events it has not."""

    def __init__(self, room: RoomElsewhere) -> None:
        self.room = room
        self.hidden: set[str] = set()
        self.asked: list[str] = []
        self.claimed_state: Sequence[str] | None = None

    def _event(self, destination: str, event_id: str) -> Event:
        if event_id in self.hidden or event_id not in self.room.events:
            raise RemoteError(destination, FailureKind.HTTP, "no such event", status=404, errcode="M_NOT_FOUND")
        return self.room.events[event_id]

    async def event(self, destination: str, event_id: str) -> Any:
        self.asked.append(f"event {event_id}")
        return self._event(destination, event_id).pdu

    async def event_auth(self, destination: str, room_id: str, event_id: str) -> Any:
        return [event.pdu for event in self.room.chain([self._event(destination, event_id)])]

    async def missing_events(
        self, destination: str, room_id: str, earliest: Sequence[str], latest: Sequence[str], limit: int, *more: Any
    ) -> Any:
        self.asked.append("missing")
        ids = list(self.room.events)
        until = ids.index(latest[0])
        found = [event_id for event_id in ids[:until] if event_id not in self.hidden]
        return [self.room.events[event_id].pdu for event_id in found[-limit:]]

    def _state(self, event_id: str) -> Mapping[tuple[str, str], Event]:
        state: dict[tuple[str, str], Event] = {}
        for known in self.room.events.values():
            if known.event_id == event_id:
                break
            if known.is_state:
                state[known.key] = known
        return state

    async def state_ids(self, destination: str, room_id: str, event_id: str) -> Any:
        self.asked.append(f"state_ids {event_id}")
        self._event(destination, event_id)
        if self.claimed_state is not None:
            return self.claimed_state, []
        return [event.event_id for event in self._state(event_id).values()], []

    async def state(self, destination: str, room_id: str, event_id: str) -> Any:
        state = list(self._state(event_id).values())
        return [event.pdu for event in state], [event.pdu for event in self.room.chain(state)]


class NoOutside:
    """No user of ours has anything to do with rooms that we are not in."""

    async def receive(self, origin: str, event: Event) -> bool:
        return False


class World:
    """A room of ours and theirs: its events up to bob's join are here, the rest comes by the test."""

    def __init__(self, db: OpenDatabase, version: str = "11") -> None:
        self.elsewhere = RoomElsewhere(ALICE, version)
        self.elsewhere.join(BOB)
        self.room = ForkedRoom(db, self.elsewhere.events.values())
        self.teller = Teller(self.elsewhere)
        checks = PduChecks(Keys({}), Threads())
        auth_events = AuthEvents(db.database, checks, self.teller)
        clock = FakeClock()
        self.receiver = Receiver(
            db.database, self.room.heads, checks, auth_events,
            Anchors(db.database, checks, auth_events, self.teller, clock), self.room.placing, self.teller,
            NoOutside(), clock,
        )
        self.db = db

    def say(self, text: str) -> Event:
        """Bob says something elsewhere."""
        return self.elsewhere.send(BOB, "m.room.message", {"body": text})

    def receive(self, *pdus: Event | Mapping[str, Any]) -> dict[str, str | None]:
        """What a transaction with these events gives."""
        bodies = [dict(pdu.pdu) if isinstance(pdu, Event) else pdu for pdu in pdus]
        return self.room.run(self.receiver.receive(FAR, self.room.room_id, bodies))

    def verdict(self, event: Event) -> str | None:
        """As stored; LookupError if it is not."""
        return self.room.verdict(event.event_id)

    def accepted(self, event: Event) -> bool:
        """Whether it is in the timeline or the history."""
        stored = self.db.read(events.by_id, event.event_id)
        return stored is not None and stored.pos is not None and stored.verdict is None


def forged(world: World, key_server: str = FAR, **changes: Any) -> Event:
    """An event by bob that is not as it should be."""
    room, newest = world.elsewhere, world.elsewhere.newest
    assert newest is not None
    arguments: dict[str, Any] = {
        "room_id": room.room_id, "event_type": "m.room.message", "sender": BOB, "content": {"body": "x"},
        "prev_events": [newest], "auth_events": room._auth(BOB, "m.room.message", None, {}), "depth": newest.depth + 1,
        "origin_server_ts": 5, "event_id": room._new_id(FAR), **changes,
    }
    return build_event(room.version, server_name=FAR, signing_key=key_of(key_server), **arguments)


@pytest.mark.parametrize("version", ["1", "6", "11", "12"])
def test_a_transaction_in_any_order(db: OpenDatabase, version: str) -> None:
    world = World(db, version)
    said = [world.say(str(number)) for number in range(5)]
    assert world.receive(*reversed(said)) == {event.event_id: None for event in said}
    assert world.room.extremities() == [said[-1].event_id]
    assert all(world.accepted(event) for event in said)
    assert world.teller.asked == []


def test_what_comes_again_changes_nothing(db: OpenDatabase) -> None:
    world = World(db)
    said = [world.say(str(number)) for number in range(3)]
    world.receive(*said)
    before = db.read(lambda tx: tx.all("SELECT event_nid, event_id, pos FROM events ORDER BY 1"))
    assert world.receive(said[0], said[2]) == {said[0].event_id: None, said[2].event_id: None}
    assert world.receive(said[1], said[1]) == {said[1].event_id: None}
    assert db.read(lambda tx: tx.all("SELECT event_nid, event_id, pos FROM events ORDER BY 1")) == before
    assert world.room.extremities() == [said[-1].event_id]


def test_what_is_between_is_asked_for(db: OpenDatabase) -> None:
    world = World(db)
    said = [world.say(str(number)) for number in range(6)]
    assert world.receive(said[-1]) == {said[-1].event_id: None}
    assert world.teller.asked == ["missing"]
    assert world.room.extremities() == [said[-1].event_id]
    assert all(world.accepted(event) for event in said)


def test_a_gap_is_kept_as_one(db: OpenDatabase) -> None:
    world = World(db)
    said = [world.say(str(number)) for number in range(80)]
    topic = world.elsewhere.send(ALICE, "m.room.topic", {"topic": "behind the gap"}, "")
    newest = world.say("newest")
    world.teller.hidden = {event.event_id for event in said[:60]}
    assert world.receive(newest) == {newest.event_id: None}
    assert world.accepted(newest)
    assert world.accepted(said[70])
    # What the missing ones have between them is known, and so is the state behind them.
    assert world.room.current()["m.room.topic", ""] == topic.event_id
    room_nid = 1
    gaps = db.read(timeline_gaps.of_room, room_nid)
    assert {gap.missing_id for gap in gaps} <= {event.event_id for event in said}
    assert gaps
    assert newest.event_id in world.room.extremities()


def test_an_event_that_nobody_can_place_is_kept(db: OpenDatabase) -> None:
    world = World(db)
    lost, newest = world.say("lost"), world.say("newest")
    world.teller.hidden = {lost.event_id}
    assert world.receive(newest)[newest.event_id] is not None
    stored = db.read(events.by_id, newest.event_id)
    assert stored is not None
    assert stored.is_outlier
    gaps = db.read(timeline_gaps.of_room, stored.room_nid)
    assert [(gap.missing_id, gap.event_nid) for gap in gaps] == [(lost.event_id, stored.event_nid)]
    # Somebody tells it after all, and both have their places.
    world.teller.hidden = set()
    assert world.receive(lost) == {lost.event_id: None}
    assert world.receive(newest) == {newest.event_id: None}
    assert world.room.extremities() == [newest.event_id]


def test_one_bad_event_never_costs_the_others(db: OpenDatabase) -> None:
    world = World(db)
    first, second = world.say("first"), world.say("second")
    unsigned = {**first.pdu, "signatures": {}, "content": {"body": "other"}}
    results = world.receive({"garbage": 1}, unsigned, first, {**second.pdu, "type": 7}, second, {})
    assert results[first.event_id] is None
    assert results[second.event_id] is None
    assert world.room.extremities() == [second.event_id]


def test_signatures_of_others_do_not_count(db: OpenDatabase) -> None:
    world = World(db)
    event = forged(world, key_server="another.example")
    assert "signature" in str(world.receive(event)[event.event_id]).lower()
    with pytest.raises(LookupError):
        world.verdict(event)


def test_a_wrong_hash_redacts(db: OpenDatabase) -> None:
    world = World(db)
    event = world.say("what was said")
    changed = {**event.pdu, "content": {"body": "what was never said"}}
    assert world.receive(changed) == {event.event_id: None}
    stored = db.read(events.by_id, event.event_id)
    assert stored is not None
    assert stored.event.content == {}


def test_members_only(db: OpenDatabase) -> None:
    world = World(db)
    eve = forged(world, sender="@eve:far.org", auth_events=world.elsewhere._auth("@eve:far.org", "x", None, {}))
    # "If no error is present, the PDU can be considered successfully handled": it was, by rejecting it.
    assert world.receive(eve) == {eve.event_id: None}
    assert world.verdict(eve) == "rejected"
    assert eve.event_id not in world.room.extremities()


def test_auth_events_of_another_room(db: OpenDatabase) -> None:
    world = World(db)
    other = RoomElsewhere(ALICE, "11")
    other.join(BOB)
    world.teller.room.events.update(other.events)
    event = forged(world, auth_events=other._auth(BOB, "m.room.message", None, {}))
    world.receive(event)
    assert not world.accepted(event)
    assert event.event_id not in world.room.extremities()


def test_auth_events_that_do_not_exist(db: OpenDatabase) -> None:
    world = World(db)
    event = forged(world, auth_events=["$" + "n" * 43])
    assert world.receive(event)[event.event_id] is not None
    assert not world.accepted(event)


@pytest.mark.parametrize("field", ["prev_events", "auth_events"])
def test_too_many_edges(db: OpenDatabase, field: str) -> None:
    world = World(db)
    event = world.say("x")
    pdu = {**event.pdu, field: ["$" + f"{number:043}" for number in range(21)]}
    refused = world.receive(pdu)
    assert len(refused) == 1
    assert field in str(next(iter(refused.values())))


def test_cycles_are_claimed(db: OpenDatabase) -> None:
    # Only where event IDs are chosen can two events name each other.
    world = World(db, "1")
    newest = world.elsewhere.newest
    assert newest is not None
    two_id = "$two:far.org"
    reference = [[two_id, {"sha256": "A" * 43}]]
    one = forged(world, event_id="$one:far.org")
    two = forged(world, event_id=two_id, prev_events=[one])
    circular = forged(world, event_id="$one:far.org", prev_events=[two])
    world.elsewhere.events.update({"$one:far.org": circular, two_id: two})
    assert reference
    results = world.receive(circular, two)
    assert set(results) == {"$one:far.org", two_id}
    assert newest.event_id in world.room.extremities() or world.accepted(two)
    # The room goes on.
    world.elsewhere.newest = newest
    after = world.say("after")
    assert world.receive(after) == {after.event_id: None}


@pytest.mark.parametrize(("version", "depth"), [("11", 2**53), ("6", 2**53), ("11", -1), ("1", 2**63)])
def test_impossible_depths_are_refused(db: OpenDatabase, version: str, depth: int) -> None:
    world = World(db, version)
    event = world.say("x")
    results = world.receive({**event.pdu, "depth": depth})
    assert [bool(reason) for reason in results.values()] == [True]


def test_the_greatest_depth(db: OpenDatabase) -> None:
    world = World(db)
    deepest = world.elsewhere.add(forged(world, depth=2**53 - 1))
    assert world.receive(deepest) == {deepest.event_id: None}
    after = world.say("after")
    assert after.depth == 2**53 - 1
    assert world.receive(after) == {after.event_id: None}
    assert world.room.extremities() == [after.event_id]


def test_forks_do_not_pile_up(db: OpenDatabase) -> None:
    world = World(db)
    root = world.elsewhere.newest
    branches = []
    for number in range(MAX_EXTREMITIES + 20):
        world.elsewhere.newest = root
        branches.append(world.say(str(number)))
    for start in range(0, len(branches), 35):
        assert set(world.receive(*branches[start : start + 35]).values()) == {None}
    assert len(world.room.extremities()) == MAX_EXTREMITIES
    assert branches[-1].event_id in world.room.extremities()


def test_what_the_present_state_forbids_is_soft_failed(db: OpenDatabase) -> None:
    world = World(db)
    before_the_ban = world.elsewhere.newest
    assert before_the_ban is not None
    ban = world.elsewhere.send(ALICE, "m.room.member", {"membership": "ban"}, BOB)
    assert world.receive(ban) == {ban.event_id: None}
    joined = next(e for e in world.elsewhere.events.values() if e.membership == "join" and e.sender == BOB)
    world.elsewhere.state = {**world.elsewhere.state, joined.key: joined}
    world.elsewhere.newest = before_the_ban
    late = world.say("as if nothing had happened")
    # "Soft-failed" is no error for the server that sent it.
    assert world.receive(late) == {late.event_id: None}
    assert world.verdict(late) == "soft_failed"
    assert world.room.extremities() == [ban.event_id]
    # What goes on from it is judged by the present state as well.
    following = world.say("still here")
    world.receive(following)
    assert world.verdict(following) == "soft_failed"
    assert world.room.extremities() == [ban.event_id]


def test_a_state_that_is_too_large_to_be_true(db: OpenDatabase) -> None:
    world = World(db)
    said = [world.say(str(number)) for number in range(70)]
    world.teller.claimed_state = ["$" + f"{number:043}" for number in range(200_001)]
    assert world.receive(said[-1])[said[-1].event_id] is not None
    # One PDU does not make us ask without end.
    assert len([asked for asked in world.teller.asked if asked.startswith("state_ids")]) <= 20
    assert not any(world.accepted(event) for event in said)


def test_redactions_before_their_targets(db: OpenDatabase) -> None:
    world = World(db)
    root = world.elsewhere.newest
    target = world.say("regretted")
    world.elsewhere.newest = root
    redaction = world.elsewhere.send(BOB, "m.room.redaction", {"redacts": target.event_id})
    assert world.receive(redaction) == {redaction.event_id: None}
    assert world.receive(target) == {target.event_id: None}
    stored = db.read(events.by_id, target.event_id)
    assert stored is not None
    assert stored.event.content == {}
    assert stored.redacted_by is not None


def test_redactions_of_others_without_power_have_no_effect(db: OpenDatabase) -> None:
    world = World(db)
    target = world.elsewhere.send(ALICE, "m.room.message", {"body": "stays"})
    redaction = world.elsewhere.send(BOB, "m.room.redaction", {"redacts": target.event_id})
    assert set(world.receive(target, redaction).values()) == {None}
    stored = db.read(events.by_id, target.event_id)
    assert stored is not None
    assert stored.event.content == {"body": "stays"}


def test_integers_of_any_size_stay_integers_in_old_rooms(db: OpenDatabase) -> None:
    world = World(db, "5")
    event = world.elsewhere.send(BOB, "m.room.message", {"body": "x", "n": 2**70})
    assert world.receive(event) == {event.event_id: None}
    stored = db.read(events.by_id, event.event_id)
    assert stored is not None
    assert stored.event.content["n"] == 2**70
    assert ROOM_VERSIONS["5"] is stored.event.version


def test_a_nul_is_refused(db: OpenDatabase) -> None:
    world = World(db)
    event = world.elsewhere.build(BOB, "m.room.na\0me", {}, "")
    assert "NUL" in str(world.receive(event)[event.event_id])


def test_what_was_kept_waits_for_nothing_once_it_has_its_place(db: OpenDatabase) -> None:
    world = World(db)
    lost, newest = world.say("lost"), world.say("newest")
    world.teller.hidden = {lost.event_id}
    world.receive(newest)
    # Both come again, with a transaction, before anybody has looked for what is missing.
    assert set(world.receive(lost, newest).values()) == {None}
    assert world.accepted(newest)
    assert db.read(timeline_gaps.of_room, 1) == []


def test_a_redaction_prunes_what_comes_as_an_anchor(db: OpenDatabase) -> None:
    world = World(db)
    root = world.elsewhere.newest
    said = [world.say(str(number)) for number in range(70)]
    world.elsewhere.newest = root
    # Of what is before the newest one the last fifty are told: the one before these is fetched with its state.
    anchored = said[18]
    redaction = world.elsewhere.send(BOB, "m.room.redaction", {"redacts": anchored.event_id})
    assert world.receive(redaction) == {redaction.event_id: None}
    del world.elsewhere.events[redaction.event_id]
    world.receive(said[-1])
    assert f"state_ids {anchored.event_id}" in world.teller.asked
    stored = db.read(events.by_id, anchored.event_id)
    assert stored is not None
    assert stored.event.content == {}
