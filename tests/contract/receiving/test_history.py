"""History that is fetched later: whatever way it comes, each event has the state before it that the algorithms give."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from twisted.internet.task import Clock as Timer

from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.backfill import Backfill, Filled
from matrixd.services.gap_repair import GapRepair
from matrixd.services.receiving.anchors import Anchors
from matrixd.services.receiving.auth_events import AuthEvents
from matrixd.services.receiving.history_chunks import HistoryChunks, Told
from matrixd.services.receiving.pdu_checks import PduChecks
from matrixd.services.receiving.receiver import Receiver
from matrixd.storage import events, room_servers, rooms, timeline_gaps
from matrixd.storage.timeline_gaps import ON_PAGING, Gap
from matrixd.storage.transaction import Transaction
from tests.contract.receiving.forks import ForkedRoom
from tests.contract.receiving.test_bad_events import FAR, NoOutside, World, forged
from tests.contract.receiving.test_placing import random_moves
from tests.support.database import OpenDatabase
from tests.support.kept import FakeClock
from tests.support.rooms_elsewhere import Keys, NoHistory, Threads
from tests.unit.core.build import KEY
from tests.unit.core.stateres.random_rooms import Server, beginning, build


class OneKey:
    """The key of the random rooms' server."""

    async def keys(self, wanted: Mapping[str, Mapping[str, int]]) -> Any:
        return {server: dict.fromkeys(ids, KEY.verify_key) for server, ids in wanted.items()}


class Oracle(NoHistory):
    """A server that has all of a random room."""

    def __init__(self, server: Server, room_id: str) -> None:
        self.server = server
        self.room_id = room_id

    async def event(self, destination: str, event_id: str) -> Any:
        return self.server.events[event_id].pdu

    def _chain(self, found: Collection[Event]) -> list[Event]:
        chain: dict[str, Event] = {}
        waiting = [auth_id for event in found for auth_id in event.auth_events]
        while waiting:
            event = self.server.events[waiting.pop()]
            if event.event_id not in chain:
                chain[event.event_id] = event
                waiting += event.auth_events
        return list(chain.values())

    async def event_auth(self, destination: str, room_id: str, event_id: str) -> Any:
        return [event.pdu for event in self._chain([self.server.events[event_id]])]

    async def state_ids(self, destination: str, room_id: str, event_id: str) -> Any:
        state = self.server.state_of(self.server.events[event_id].prev_events)
        return [event.event_id for event in state.values()], []

    async def state(self, destination: str, room_id: str, event_id: str) -> Any:
        state = list(self.server.state_of(self.server.events[event_id].prev_events).values())
        return [event.pdu for event in state], [event.pdu for event in self._chain(state)]

    async def backfill(self, destination: str, room_id: str, event_ids: Sequence[str], limit: int) -> Any:
        reached = [self.server.events[event_id] for event_id in event_ids]
        taken: dict[str, Event] = {}
        while reached and len(taken) < limit:
            reached.sort(key=lambda event: event.depth)
            event = reached.pop()
            taken[event.event_id] = event
            reached += [self.server.events[prev] for prev in event.prev_events if prev not in taken]
            reached = list({event.event_id: event for event in reached}.values())
        return [event.pdu for event in taken.values()]


def gaps_of(db: OpenDatabase, room_id: str) -> list[Gap]:
    def read(tx: Transaction) -> list[Gap]:
        room_nid = rooms.nid(tx, room_id)
        assert room_nid is not None
        return [found.gap for found in timeline_gaps.before_placed(tx, room_nid, 100)]

    return db.read(read)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("version", ["1", "2", "6", "11", "12"])
def test_the_states_of_fetched_history_are_those_of_the_algorithm(db: OpenDatabase, version: str, seed: int) -> None:
    random = Random(f"history {version} {seed}")
    oracle = build(ROOM_VERSIONS[version], random_moves(random))
    first = Server(ROOM_VERSIONS[version], Random(0))
    beginning(first)
    room = ForkedRoom(db, first.events.values())
    remote = Oracle(oracle, room.room_id)
    checks = PduChecks(OneKey(), Threads())
    auth_events = AuthEvents(db.database, checks, remote)
    anchors = Anchors(db.database, checks, auth_events, remote, FakeClock())
    chunks = HistoryChunks(db.database, room.heads, checks, auth_events, anchors)
    newest = list(oracle.events.values())[-1]
    for prev in newest.prev_events:
        room.run(anchors.anchor(["domain"], newest.version, room.room_id, prev))
    room.place(newest)
    limit = random.choice((1, 3, 7, 100))
    for _ in range(200):
        gaps = gaps_of(db, room.room_id)
        if not gaps:
            break
        pdus = room.run(remote.backfill("domain", room.room_id, [gaps[0].missing_id], limit))
        random.shuffle(pdus)
        assert room.run(chunks.take(Told("domain", newest.version, room.room_id, pdus, 0)))
    assert not gaps_of(db, room.room_id)
    past = {newest.event_id}
    for event in reversed(oracle.events.values()):
        if event.event_id in past:
            past.update(event.prev_events)
    for event_id in past:
        assert room.verdict(event_id) in (None, "soft_failed")
        assert room.after(event_id) == {key: event.event_id for key, event in oracle.after[event_id].items()}
    current = {key: event.event_id for key, event in oracle.state_of(room.extremities()).items()}
    assert room.current() == current


class Part:
    """A world with the parts that fill holes. `servers` are in the room; those in `silent` tell nothing of history."""

    def __init__(self, db: OpenDatabase, missed: int, *, may_bridge: bool = False) -> None:
        self.world = world = World(db)
        self.db, self.room = db, world.room
        self.silent: set[str] = set()
        self.stateless: set[str] = set()
        self.asked: list[str] = []
        self.clock, self.timer = FakeClock(), Timer()
        checks = PduChecks(Keys({}), Threads())
        teller = world.teller
        auth_events = AuthEvents(db.database, checks, self)
        anchors = Anchors(db.database, checks, auth_events, self, self.clock)
        chunks = HistoryChunks(db.database, self.room.heads, checks, auth_events, anchors)
        self.receiver = Receiver(
            db.database, self.room.heads, checks, auth_events, anchors, self.room.placing, self,
            NoOutside(), self.clock,
        )
        self.backfiller = Backfill(
            db.database, self.room.heads, chunks, self, self.clock, self.timer
        )
        self.repair = GapRepair(db.database, self.room.heads, self.receiver, self.backfiller, self.clock)
        self.event, self.event_auth, self.state = teller.event, teller.event_auth, teller.state
        self.missed = [world.say(f"missed {number}") for number in range(missed)]
        self._set_servers()

    def _set_servers(self) -> None:
        def write(tx: Transaction) -> None:
            room_nid = rooms.nid(tx, self.room.room_id)
            assert room_nid is not None
            room_servers.replace(tx, room_nid, {FAR: 1})
            rooms.set_counts(tx, room_nid, 3, 0)

        self.db.write(write)

        async def forget() -> None:
            async with self.room.heads.exclusive(self.room.room_id):
                self.room.heads.forget(self.room.room_id)

        self.room.run(forget())

    async def missing_events(self, *arguments: Any) -> Any:
        return await self.world.teller.missing_events(*arguments)

    async def state_ids(self, destination: str, room_id: str, event_id: str) -> Any:
        if destination in self.stateless:
            raise RemoteError(destination, FailureKind.HTTP, "no state", status=403, errcode="M_FORBIDDEN")
        return await self.world.teller.state_ids(destination, room_id, event_id)

    async def backfill(self, destination: str, room_id: str, event_ids: Sequence[str], limit: int) -> Any:
        self.asked.append(destination)
        if destination in self.silent:
            raise RemoteError(destination, FailureKind.TIMEOUT, "it is silent")
        known = list(self.world.elsewhere.events.values())
        until = max(index for index, event in enumerate(known) if event.event_id in event_ids)
        return [event.pdu for event in known[: until + 1][::-1][:limit]]

    def receive(self, event: Event) -> str | None:
        results = self.room.run(self.receiver.receive(FAR, self.room.room_id, [dict(event.pdu)]))
        return results[event.event_id]

    def lacking(self) -> list[str]:
        """Those of the missed events that have no place."""
        return [event.event_id for event in self.missed if not self.world.accepted(event)]

    def fill(self) -> Filled:
        return self.db.wait(self.backfiller.fill(self.room.room_id, gaps_of(self.db, self.room.room_id), ON_PAGING))


def test_a_line_of_messages_needs_no_more_states(db: OpenDatabase) -> None:
    part = Part(db, 160)
    assert part.receive(part.missed.pop()) is None
    told = sum(asked.startswith("state_ids") for asked in part.world.teller.asked)
    part.clock.ms += 60_000
    room_ends = part.room.extremities()
    assert len(room_ends) == 2
    while part.lacking():
        assert part.fill().count
    assert sum(asked.startswith("state_ids") for asked in part.world.teller.asked) == told
    assert not gaps_of(db, part.room.room_id)
    assert part.room.extremities() == room_ends[1:]
    order = [db.read(events.by_id, event.event_id) for event in part.missed]
    places = [(stored.event.depth, stored.pos) for stored in order if stored is not None and stored.pos is not None]
    assert places == sorted(places)
    assert len(places) == len(part.missed)


def test_the_repair_fills_holes_when_they_are_due(db: OpenDatabase) -> None:
    part = Part(db, 300)
    assert part.receive(part.missed[-1]) is None
    part.room.run(part.repair.run())
    assert part.lacking()
    part.clock.ms += 31_000
    part.silent.add(FAR)
    part.room.run(part.repair.run())
    gap = gaps_of(db, part.room.room_id)[0]
    assert gap.tries == 1
    assert gap.last_error is not None
    assert "silent" in gap.last_error
    asked = len(part.asked)
    part.room.run(part.repair.run())
    assert len(part.asked) == asked
    part.silent.clear()
    part.clock.ms += 31_000
    part.room.run(part.repair.run())
    assert not part.lacking()
    assert len(part.room.extremities()) == 1


def test_what_is_before_a_hole_is_no_news(db: OpenDatabase) -> None:
    part = Part(db, 100)
    assert part.receive(part.missed[-1]) is None
    (gap,) = gaps_of(db, part.room.room_id)
    ends = part.room.extremities()
    known = {event.event_id: event for event in part.missed}
    hole = known[gap.missing_id]
    fork = forged(part.world, prev_events=[hole], depth=hole.depth + 1)
    last = forged(part.world, prev_events=[fork], depth=hole.depth + 2)
    told = [*part.missed[: part.missed.index(hole) + 1][-5:], fork]

    async def much(*_arguments: Any) -> Any:
        return [event.pdu for event in told]

    part.missing_events = much  # type: ignore[method-assign]
    assert part.receive(last) is None
    assert part.world.accepted(last)
    assert set(part.room.extremities()) == {*ends, last.event_id}
    # Only what is needed for the state before the fork has been placed, as history.
    for event in told[:-1]:
        stored = db.read(events.by_id, event.event_id)
        assert stored is None or (stored.pos is not None and stored.pos < 0)


def test_what_could_not_be_placed_is_tried_again(db: OpenDatabase) -> None:
    part = Part(db, 80)
    part.stateless.add(FAR)
    last = part.missed[-1]
    assert part.receive(last) is not None
    assert last.event_id in part.lacking()
    part.clock.ms += 31_000
    part.room.run(part.repair.run())
    assert last.event_id in part.lacking()
    part.stateless.clear()
    part.clock.ms += 61_000
    part.room.run(part.repair.run())
    assert last.event_id not in part.lacking()
    part.clock.ms += 31_000
    part.room.run(part.repair.run())
    assert not part.lacking()


def test_one_bad_event_costs_none_of_the_others(db: OpenDatabase) -> None:
    part = Part(db, 70)
    assert part.receive(part.missed[-1]) is None
    bad = dict(part.missed[3].pdu)
    bad["signatures"] = {}
    told = part.backfill

    async def with_bad(*arguments: Any) -> Any:
        pdus = await told(*arguments)
        return ["nonsense", *(bad if pdu == part.missed[3].pdu else pdu for pdu in pdus)]

    part.backfill = with_bad  # type: ignore[assignment,method-assign]
    for _ in range(4):
        part.fill()
    # The event is a hole, with what comes before it tied to the room by itself.
    assert set(part.lacking()) <= {event.event_id for event in part.missed[:4]}
    assert part.missed[3].event_id in part.lacking()


def test_a_page_waits_no_longer_than_it_may(db: OpenDatabase) -> None:
    part = Part(db, 70)
    assert part.receive(part.missed[-1]) is None
    part.silent.add(FAR)
    gaps = gaps_of(db, part.room.room_id)
    assert not part.room.run(part.backfiller.for_page(part.room.room_id, gaps, 5.0))
    asked = len(part.asked)
    assert not part.room.run(part.backfiller.for_page(part.room.room_id, gaps, 5.0))
    assert len(part.asked) == asked


@pytest.mark.parametrize("missed", [2, 51, 52, 53])
def test_an_end_that_is_none_any_more_goes(db: OpenDatabase, missed: int) -> None:
    part = Part(db, missed)
    last = part.missed[-1]
    assert part.receive(last) is None
    while part.lacking():
        assert part.fill().count
    assert part.room.extremities() == [last.event_id]
