"""The event nearest to a moment where this server's history has a hole, on both engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from matrixd.core.errors import MatrixError
from matrixd.core.versions import RoomVersion
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.queries.event_visibility import Viewer
from matrixd.services.jump_to_date import JumpToDate
from matrixd.services.receiving.anchors import NoAnchor
from matrixd.storage.transaction import Transaction
from tests.contract.federation.conftest import ReadWorld
from tests.support.database import OpenDatabase

FAR, NEAR = "far.example", "near.example"


class Elsewhere(ReadWorld):
    """A room with a hole, and other servers that say which event is the nearest and have events to be fetched."""

    def __init__(self, db: OpenDatabase) -> None:
        super().__init__(db)
        self.answers: dict[str, tuple[str, int]] = {}
        self.asked: list[str] = []
        self.fetched: list[str] = []
        #: What stores the event that somebody has.
        self.brings: Callable[[Transaction], None] | None = None
        self.jump = JumpToDate(db.database, self, self)
        self.room_id = self.room("alice", f"r:{FAR}", f"q:{FAR}", f"n:{NEAR}", version="11")

    async def timestamp_to_event(self, destination: str, room_id: str, ts: int, *, backwards: bool) -> tuple[str, int]:
        self.asked.append(destination)
        if destination not in self.answers:
            raise RemoteError(destination, FailureKind.CONNECT, "nobody is there")
        return self.answers[destination]

    async def anchor(self, servers: Sequence[str], version: RoomVersion, room_id: str, event_id: str) -> None:
        assert (version.identifier, room_id, list(servers)) == ("11", self.room_id, [FAR, NEAR])
        self.fetched.append(event_id)
        if self.brings is None:
            raise NoAnchor("nobody has it")
        await self.db.database.write(self.brings)

    def hole(self) -> int:
        """Let time pass, and say something of which the event before it is not here. When that was said."""
        self.clock.ms += 1_000_000
        said = self.sent(self.room_id, "alice", "after the hole")
        before = said.event.prev_events[0]

        def cut(tx: Transaction) -> None:
            sql = "UPDATE events SET json = replace(json, ?, ?) WHERE event_nid = ?"
            tx.execute(sql, (before, "$lost", said.event_nid))

        self.db.write(cut)
        return said.event.origin_server_ts

    def elsewhere(self, ts: int) -> str:
        """An event of the time of the hole that is to be had from others; its ID."""
        state = self.state_at(self.send(self.room_id, "alice", "newest"))
        event_id, self.brings = self.storing(
            self.room_id, f"r:{FAR}", "old", ["$lost"], depth=7, state=state, pos=-1, origin_server_ts=ts
        )
        return event_id


@pytest.fixture
def world(db: OpenDatabase) -> Elsewhere:
    return Elsewhere(db)


@pytest.fixture
def alice(world: Elsewhere) -> Viewer:
    return world.viewer("alice")


def jump(world: Elsewhere, viewer: Viewer, ts: int, *, backwards: bool = False) -> str:
    """The ID of the event; it is checked that its time is told too."""
    found = world.run(world.jump.nearest(viewer, world.room_id, ts, backwards))
    assert found.keys() == {"event_id", "origin_server_ts"}
    return str(found["event_id"])


def test_nobody_is_asked_where_nothing_is_missing(world: Elsewhere, alice: Viewer) -> None:
    first = world.sent(world.room_id, "alice", "first").event
    world.clock.ms += 1_000_000
    second = world.sent(world.room_id, "alice", "second").event
    assert jump(world, alice, first.origin_server_ts + 1) == second.event_id
    assert jump(world, alice, first.origin_server_ts + 1, backwards=True) == first.event_id
    assert jump(world, alice, second.origin_server_ts + 10**9, backwards=True) == second.event_id
    with pytest.raises(MatrixError):
        jump(world, alice, second.origin_server_ts + 10**9)
    assert world.asked == []


@pytest.mark.parametrize("backwards", [False, True])
def test_what_is_nearer_elsewhere_is_fetched(world: Elsewhere, alice: Viewer, backwards: bool) -> None:
    after = world.hole()
    ts = after - 500_000 + (1 if backwards else -1)
    old = world.elsewhere(after - 500_000)
    world.answers = {NEAR: (old, after - 500_000)}
    assert jump(world, alice, ts, backwards=backwards) == old
    assert (world.asked, world.fetched) == ([FAR, NEAR], [old])
    assert jump(world, alice, ts, backwards=backwards) == old, "it is here now"
    assert world.fetched == [old]


def test_what_cannot_be_had_is_not_named(world: Elsewhere, alice: Viewer) -> None:
    after = world.hole()
    ours = jump(world, alice, after - 600_000)
    world.answers = {FAR: ("$old", after - 500_000)}
    assert jump(world, alice, after - 600_000) == ours
    assert world.fetched == ["$old"]


def test_a_lie_about_a_time_helps_nobody(world: Elsewhere, alice: Viewer) -> None:
    first = world.send(world.room_id, "alice", "first")
    after = world.hole()
    ours = jump(world, alice, after - 600_000)
    world.answers = {FAR: (first, after - 500_000)}
    assert (jump(world, alice, after - 600_000), world.fetched) == (ours, [])


@pytest.mark.parametrize(
    ("offset", "backwards"), [(-700_000, False), (+1, False), (-500_000, True), (-2_000_000, True)]
)
def test_what_is_no_nearer_is_not_looked_at(world: Elsewhere, alice: Viewer, offset: int, backwards: bool) -> None:
    after = world.hole()
    ts = after - 600_000
    ours = jump(world, alice, ts, backwards=backwards)
    world.answers = {FAR: ("$old", after + offset), NEAR: ("$old", after + offset)}
    assert jump(world, alice, ts, backwards=backwards) == ours
    assert world.fetched == []


def test_who_is_not_in_the_room_asks_nobody(world: Elsewhere) -> None:
    after = world.hole()
    with pytest.raises(MatrixError) as caught:
        jump(world, world.viewer("carol"), after - 600_000)
    assert (caught.value.status, world.asked) == (403, [])
