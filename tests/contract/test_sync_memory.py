"""What sync finds in memory: the newest events of rooms, and each user's rooms while they change."""

from __future__ import annotations

import pytest

from matrixd.queries.room_tails import MAX_TAIL, RoomTails
from matrixd.queries.user_rooms import UserRooms, UserRoomsIndex
from matrixd.storage import rooms
from matrixd.storage.rows import RoomForgotten
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.rooms import RoomWorld


class World(RoomWorld):
    def __init__(self, db: OpenDatabase) -> None:
        super().__init__(db)
        self.tails = RoomTails(self.feed, CacheBudget(10**7), lambda room_nid: True)
        self.rooms = UserRoomsIndex(db.database, self.feed, CacheBudget(10**7))

    def nid(self, room_id: str) -> int:
        room = self.db.read(rooms.by_id, room_id)
        assert room is not None
        number: int = room.room_nid
        return number

    def tail(self, room_id: str, after: int) -> list[str] | None:
        rows = self.tails.after(self.nid(room_id), after, self.newest())
        return None if rows is None else [row.event.event_id for row in rows]

    def index(self, name: str) -> UserRooms:
        return self.run(self.rooms.get(self.viewer(name).user_nid))


@pytest.fixture
def world(db: OpenDatabase) -> World:
    return World(db)


def test_a_tail_holds_the_newest_events(world: World) -> None:
    room = world.room("alice")
    start = world.newest()
    sent = [world.send(room, "alice", f"{number}") for number in range(MAX_TAIL + 1)]
    assert world.tail(room, start) is None
    assert world.tail(room, start + 1) == sent[1:]
    assert world.tail(room, start + 5) == sent[5:]
    assert world.tail(room, world.newest()) == []


def test_what_shows_something_redacted_is_left_to_the_database(world: World) -> None:
    room = world.room("alice")
    start = world.newest()
    first = world.set_state(room, "alice", "m.room.topic", {"topic": "secret"})
    said = world.send(room, "alice", "something")
    second = world.set_state(room, "alice", "m.room.topic", {"topic": "open"})
    third = world.send(room, "alice", "more")
    assert world.tail(room, start) == [first, said, second, third]
    redaction = world.redact(room, "alice", first)
    assert world.tail(room, start) is None
    assert world.tail(room, start + 2) is None
    assert world.tail(room, start + 3) == [third, redaction]
    world.redact(room, "alice", said)
    assert len(world.tail(room, start + 3) or ()) == 3


def test_an_index_follows_and_a_snapshot_stays(world: World) -> None:
    room, index = world.room("alice"), world.index("bob")
    assert index.entries == {}
    world.member(room, "bob", "join")
    taken, joined = index.snapshot(), world.newest()
    assert [(entry.membership, entry.pos, entry.since) for entry in index.joined()] == [("join", joined, joined)]
    world.member(room, "bob", "join", displayname="Bob")
    assert [(entry.pos, entry.since) for entry in index.joined()] == [(joined + 1, joined)]
    world.member(room, "bob", "leave")
    assert index.joined() == []
    assert not index.is_joined(world.nid(room))
    assert [(entry.membership, entry.pos) for entry in taken.joined()] == [("join", joined)]
    world.feed.append([RoomForgotten(index.user_nid, world.nid(room))])
    assert [entry.forgotten for entry in index.entries.values()] == [True]
