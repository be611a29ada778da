"""Joining rooms of other servers: what is in the database when the user is in the room."""

from __future__ import annotations

import pytest

from matrixd.core.errors import MatrixError
from matrixd.core.versions import ROOM_VERSIONS
from tests.contract.remote_joins.world import JoinWorld
from tests.support.database import OpenDatabase
from tests.support.rooms_elsewhere import Network, Resident, RoomElsewhere

US = "@us:example.org"


def world_of(db: OpenDatabase, room: RoomElsewhere, *names: str, omits: bool = False) -> JoinWorld:
    rooms = {room.room_id: room}
    return JoinWorld(db, Network(*(Resident(name, rooms, omits_members=omits) for name in names or ("far.org",))))


def expected(room: RoomElsewhere) -> dict[tuple[str, str], str]:
    return {key: event.event_id for key, event in room.state.items()}


@pytest.mark.parametrize("version", ["1", "2", "3", "6", "9", "11", "12"])
@pytest.mark.parametrize("omits", [False, True])
def test_the_room_is_here_with_all_its_state(db: OpenDatabase, version: str, omits: bool) -> None:
    room = RoomElsewhere(version=version)
    room.join("@bob:far.org", "@cy:third.org")
    room.send("@ann:far.org", "m.room.name", {"name": "Far"}, "")
    world = world_of(db, room, omits=omits)
    assert world.join(US, room.room_id, "far.org", displayname="Us")
    assert world.current(room.room_id) == expected(room)
    row = world.room_row(room.room_id)
    assert room.newest is not None
    assert row.extremities == (room.newest.event_id,)
    assert (row.version, row.joined_count, row.state_completeness) == (version, 4, "full")
    assert world.servers(room.room_id) == {"far.org": 2, "third.org": 1}
    assert world.memberships(room.room_id)[US] == "join"
    assert room.newest.content["displayname"] == "Us"
    assert world.row(room.room_id).state == "complete"


def test_what_users_say_afterwards_goes_on_from_the_join(db: OpenDatabase) -> None:
    room = RoomElsewhere(version="10")
    world = world_of(db, room)
    world.join(US, room.room_id, "far.org")
    join = room.newest
    assert join is not None
    said = world.sent(room.room_id, "us", "hello")
    assert said.event.prev_events == (join.event_id,)
    assert said.event.depth == join.depth + 1


def test_all_versions_are_offered() -> None:
    assert set(ROOM_VERSIONS) >= {"1", "12"}


def test_a_room_that_nobody_knows(db: OpenDatabase) -> None:
    world = JoinWorld(db, Network())
    with pytest.raises(MatrixError) as raised:
        world.join(US, "!none:far.org", "far.org")
    assert (raised.value.status, raised.value.errcode) == (502, "M_UNKNOWN")
    assert world.row("!none:far.org").state == "abandoned"
