"""Joins that take their time: restarts in every state, several who wait, members that come later."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.handshakes.peers import SentJoin
from matrixd.storage import remote_joins
from matrixd.storage.transaction import Transaction
from tests.contract.remote_joins.world import JoinWorld
from tests.support.database import OpenDatabase
from tests.support.rooms_elsewhere import Network, Resident, RoomElsewhere

US, OTHER = "@us:example.org", "@other:example.org"
AWAY = RemoteError("far.org", FailureKind.CONNECT, "nobody is there")


def a_room(members: int = 3) -> RoomElsewhere:
    room = RoomElsewhere(version="10")
    room.join(*(f"@user{number}:s{number % 3}.org" for number in range(members)))
    return room


def a_world(db: OpenDatabase, room: RoomElsewhere, **more: Any) -> tuple[JoinWorld, Resident]:
    resident = Resident("far.org", {room.room_id: room}, **more)
    return JoinWorld(db, Network(resident)), resident


class Interrupted(BaseException):
    """The server ends."""


def ids(room: RoomElsewhere) -> dict[tuple[str, str], str]:
    return {key: event.event_id for key, event in room.state.items()}


class TestMembersLater:
    def test_the_room_is_usable_before_its_members_are_known(self, db: OpenDatabase) -> None:
        room = a_room()
        world, resident = a_world(db, room, omits_members=True, errors={"state": AWAY})
        world.join(US, room.room_id, "far.org")
        row = world.room_row(room.room_id)
        assert row.state_completeness == "partial"
        assert world.row(room.room_id).state == "filling"
        assert set(world.servers(room.room_id)) == {"far.org", "s0.org", "s1.org", "s2.org"}
        assert row.joined_count == 5
        world.send(room.room_id, "us", "hello")
        assert resident.asked == ["make_join", "send_join", "state"]

    def test_what_happened_meanwhile_stays(self, db: OpenDatabase) -> None:
        room = a_room()
        world, resident = a_world(db, room, omits_members=True, errors={"state": AWAY})
        world.join(US, room.room_id, "far.org")
        renamed = world.send(
            room.room_id, "us", {"membership": "join", "displayname": "New"}, "m.room.member", state_key=US
        )
        resident.errors.clear()
        world.clock.ms += 120_000
        world.run(world.joins.resume())
        world.settle(room.room_id)
        assert world.current(room.room_id) == {**ids(room), ("m.room.member", US): renamed}
        row = world.room_row(room.room_id)
        assert (row.state_completeness, row.joined_count) == ("full", 5)
        assert world.servers(room.room_id) == {"far.org": 1, "s0.org": 1, "s1.org": 1, "s2.org": 1}

    def test_tries_have_growing_pauses(self, db: OpenDatabase) -> None:
        room = a_room()
        world, resident = a_world(db, room, omits_members=True, errors={"state": AWAY})
        world.join(US, room.room_id, "far.org")
        asked = resident.asked.count("state")
        world.run(world.joins.resume())
        world.settle(room.room_id)
        assert resident.asked.count("state") == asked
        pauses = []
        for _ in range(4):
            row = world.row(room.room_id)
            pauses.append(row.next_try_ts - world.clock.ms)
            world.clock.ms = row.next_try_ts
            world.run(world.joins.resume())
            world.settle(room.room_id)
        assert pauses == [60_000, 120_000, 240_000, 480_000]

    def test_after_days_in_vain_the_users_leave(self, db: OpenDatabase) -> None:
        room = a_room()
        world, _ = a_world(db, room, omits_members=True, errors={"state": AWAY})
        world.join(US, room.room_id, "far.org")
        for _ in range(25):
            world.clock.ms = max(world.row(room.room_id).next_try_ts, world.clock.ms)
            world.run(world.joins.resume())
            world.settle(room.room_id)
        row = world.row(room.room_id)
        assert row.state == "abandoned"
        assert row.error is not None
        assert "nobody is there" in row.error
        assert world.memberships(room.room_id)[US] == "leave"

    def test_many_members_come_in_several_commits(self, db: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("matrixd.services.remote_joins.room_import.MAX_AT_ONCE", 10)
        monkeypatch.setattr("matrixd.services.remote_joins.filling._CHUNK", 7)
        monkeypatch.setattr("matrixd.services.remote_joins.checking._CHUNK", 5)
        monkeypatch.setattr("matrixd.services.remote_joins.checking._MAX_KNOWN", 3)
        room = a_room(40)
        world, resident = a_world(db, room)
        world.join(US, room.room_id, "far.org")
        assert world.current(room.room_id) == ids(room)
        assert resident.asked == ["make_join", "send_join"]
        assert world.room_row(room.room_id).joined_count == 42


class TestRestart:
    @pytest.mark.parametrize("omits", [False, True])
    @pytest.mark.parametrize(
        "where",
        [
            "handshake.JoinHandshake.make", "handshake.JoinHandshake.send", "checking.SnapshotChecks.run",
            "checking.SnapshotChecks.authorise", "room_import.RoomImport.run", "filling.Filling.run",
        ],
    )
    def test_in_every_state(
        self, db: OpenDatabase, monkeypatch: pytest.MonkeyPatch, where: str, omits: bool
    ) -> None:
        room = a_room()
        world, resident = a_world(db, room, omits_members=omits)
        with monkeypatch.context() as patched:
            patched.setattr(f"matrixd.services.remote_joins.{where}", _hang)
            Deferred.fromCoroutine(world.joins.join(US, room.room_id, {"displayname": "Us"}, ["far.org"]))
            world.pump(lambda: bool(_hanging) or world.is_complete(room.room_id))
            _hanging.clear()
        again = JoinWorld(db, world.network)
        again.clock.ms = world.clock.ms
        again.run(again.joins.resume())
        again.pump(lambda: again.is_complete(room.room_id))
        assert again.memberships(room.room_id)[US] == "join"
        assert again.room_row(room.room_id).state_completeness == "full"
        current = again.current(room.room_id)
        assert {key: current[key] for key in ids(room)} == ids(room)
        assert resident.sent[-1].content["displayname"] == "Us"

    def test_what_was_forgotten_for_long_is_given_up(self, db: OpenDatabase) -> None:
        room = a_room()
        world, _ = a_world(db, room)
        db.write(_begin, room.room_id, world.clock.ms)
        world.clock.ms += 2 * 60 * 60 * 1000
        world.run(world.joins.resume())
        world.pump(lambda: world.row(room.room_id).state == "abandoned")
        assert world.room_is_unknown(room.room_id)


_hanging: list[str] = []


async def _hang(*_args: Any, **_more: Any) -> Any:
    _hanging.append("here")
    await Deferred()


def _begin(tx: Transaction, room_id: str, now_ms: int) -> None:
    remote_joins.begin(tx, room_id, US, "made", {}, ["far.org"], now_ms)


class Gate:
    """Holds answers to joins back."""

    def __init__(self, world: JoinWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: Deferred[None] = Deferred()
        send = world.network.send_join

        async def gated(*args: Any) -> SentJoin:
            await self.opened
            return await send(*args)

        monkeypatch.setattr(world.network, "send_join", gated)


class TestSeveralUsers:
    def test_others_wait_and_look_again(self, db: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        room = a_room()
        world, resident = a_world(db, room)
        gate = Gate(world, monkeypatch)
        first = Deferred.fromCoroutine(world.joins.join(US, room.room_id, {}, ["far.org"]))
        second = Deferred.fromCoroutine(world.joins.join(OTHER, room.room_id, {}, ["far.org"]))
        third = Deferred.fromCoroutine(world.joins.join(US, room.room_id, {}, ["far.org"]))
        world.pump(lambda: "make_join" in resident.asked)
        gate.opened.callback(None)
        assert (db.wait(first), db.wait(second), db.wait(third)) == (True, False, True)
        assert len(resident.sent) == 1

    def test_what_fails_for_one_does_not_fail_for_others(
        self, db: OpenDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = a_room()
        world, resident = a_world(db, room, errors={"send_join": AWAY})
        gate = Gate(world, monkeypatch)
        first = Deferred.fromCoroutine(world.joins.join(US, room.room_id, {}, ["far.org"]))
        second = Deferred.fromCoroutine(world.joins.join(OTHER, room.room_id, {}, ["far.org"]))
        world.pump(lambda: "make_join" in resident.asked)
        gate.opened.callback(None)
        with pytest.raises(MatrixError):
            db.wait(first)
        assert db.wait(second) is False

    def test_nobody_waits_for_ever(self, db: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        room = a_room()
        world, resident = a_world(db, room)
        gate = Gate(world, monkeypatch)
        waiting = Deferred.fromCoroutine(world.joins.join(US, room.room_id, {}, ["far.org"]))
        world.pump(lambda: "make_join" in resident.asked)
        world.timer.advance(121)
        with pytest.raises(MatrixError) as raised:
            db.wait(waiting)
        assert raised.value.status == 504
        gate.opened.callback(None)
        world.pump(lambda: world.is_complete(room.room_id))
        assert world.memberships(room.room_id)[US] == "join"


class TestRejoining:
    @pytest.mark.parametrize("omits", [False, True])
    def test_the_state_of_now_takes_the_place_of_what_was(self, db: OpenDatabase, omits: bool) -> None:
        room = a_room()
        room.send(room.creator, "m.room.topic", {"topic": "old"}, "")
        world, _ = a_world(db, room, omits_members=omits)
        world.join(US, room.room_id, "far.org")
        joined_at = world.room_row(room.room_id).last_pos
        left = world.member(room.room_id, "us", "leave")
        room.add(world.event(left))
        room.send(room.creator, "m.room.topic", {"topic": "new"}, "")
        room.send("@user1:s1.org", "m.room.member", {"membership": "leave"}, "@user1:s1.org")
        room.join("@late:late.org")
        world.join(US, room.room_id, "far.org")
        assert world.current(room.room_id) == ids(room)
        assert world.memberships(room.room_id)["@user1:s1.org"] == "leave"
        assert world.servers(room.room_id) == {"far.org": 1, "s0.org": 1, "s2.org": 1, "late.org": 1}
        assert world.room_row(room.room_id).joined_count == 5
        topic = world.state_at(room.room_id, joined_at)["m.room.topic", ""]
        assert topic.content == {"topic": "old"}

    def test_the_state_before_the_join_is_that_which_was_told(self, db: OpenDatabase) -> None:
        room = a_room()
        room.invite(US)
        before = ids(room)
        world, _ = a_world(db, room, omits_members=True)
        world.join(US, room.room_id, "far.org")
        assert room.newest is not None
        assert world.before(room.newest.event_id) == before
        assert world.after(room.newest.event_id) == ids(room)
