"""Rooms of many members: what is in memory does not grow with them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence

import pytest

from matrixd.core.builder import build_event
from matrixd.core.event import Event
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.handshakes.peers import TakePdu
from tests.contract.remote_joins.world import JoinWorld
from tests.support.database import OpenDatabase
from tests.support.rooms_elsewhere import Network, Resident, RoomElsewhere, key_of

US = "@us:example.org"


class Crowd(Network):
    """A room with many members, who are made while they are told of."""

    def __init__(self, members: int, resident: Resident) -> None:
        super().__init__(resident)
        self.members = members

    async def _tell(
        self, resident: Resident, room: RoomElsewhere, state: Sequence[Event], chain_of: Sequence[Event], take: TakePdu
    ) -> None:
        await super()._tell(resident, room, state, chain_of, take)
        if resident.asked[-1] == "state" or not resident.omits_members:
            for member in self._members(room):
                waiting = take(True, dict(member.pdu))
                if waiting is not None:
                    await waiting

    def _members(self, room: RoomElsewhere) -> Iterator[Event]:
        types = ("m.room.create", "m.room.power_levels", "m.room.join_rules")
        auth = [room.state[event_type, ""] for event_type in types]
        for number in range(self.members):
            user_id = f"@user{number}:crowd.org"
            yield build_event(
                room.version, room_id=room.room_id, event_type="m.room.member", sender=user_id, state_key=user_id,
                content={"membership": "join", "displayname": "x" * 1_000}, prev_events=auth[-1:], auth_events=auth,
                depth=10 + number, origin_server_ts=number, server_name="crowd.org", signing_key=key_of("crowd.org"),
            )


def a_world(db: OpenDatabase, members: int, *, omits: bool) -> tuple[JoinWorld, RoomElsewhere]:
    room = RoomElsewhere(version="10")
    resident = Resident("far.org", {room.room_id: room}, omits_members=omits)
    return JoinWorld(db, Crowd(members, resident)), room


def test_memory_is_bounded(db: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matrixd.services.remote_joins.checking._CHUNK", 100)
    monkeypatch.setattr("matrixd.services.remote_joins.checking._MAX_KNOWN", 100)
    monkeypatch.setattr("matrixd.services.remote_joins.staging._CHUNK", 100)
    monkeypatch.setattr("matrixd.services.remote_joins.filling._CHUNK", 100)
    monkeypatch.setattr("matrixd.services.remote_joins.room_import.MAX_AT_ONCE", 100)
    peaks = []
    for members in (200, 1_000):
        world, room = a_world(db, members, omits=True)
        tracemalloc.start()
        world.join(US, room.room_id, "far.org")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert world.room_row(room.room_id).joined_count == members + 2
        assert world.servers(room.room_id) == {"far.org": 1, "crowd.org": members}
    # The 800 members more have a megabyte of JSON more, and parsed several; what grows is a few numbers for each.
    assert peaks[1] - peaks[0] < 1_000_000


def test_an_answer_without_end_is_cut_off(db: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matrixd.services.remote_joins.staging.MAX_PDUS", 500)
    world, room = a_world(db, 1_000, omits=False)
    world.network.residents["third.org"] = third = Resident("third.org", {room.room_id: room}, omits_members=True)
    third.errors["state"] = RemoteError("third.org", FailureKind.CONNECT, "nobody is there")
    room.join("@rob:third.org")
    world.run(world.joins.join(US, room.room_id, {}, ["far.org", "third.org"]))
    assert world.row(room.room_id).resident == "third.org"
    assert third.asked[:2] == ["make_join", "send_join"]
