"""Receipts and read markers: what is refused, that they only go forward, and who sees them."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.queries.receipts import Receipts as ReceiptQueries
from matrixd.services.account_data import AccountData
from matrixd.services.read_markers import ReadMarkers
from matrixd.services.receipts import Receipts
from matrixd.storage.rows import EventRow, ReceiptRow
from tests.support.database import OpenDatabase
from tests.support.kept import FakeClock, Kept


class Room:
    """Alice and Bob in a room with three events of the main timeline and one of a thread."""

    def __init__(self, db: OpenDatabase) -> None:
        self.kept = Kept(db)
        self.clock = FakeClock(1000)
        self.receipts = Receipts(db.database, self.clock)
        self.markers = ReadMarkers(db.database, self.clock)
        self.queries = ReceiptQueries(db.database, self.kept.feed)
        self.alice, self.alice_id = self.kept.user("alice")
        self.bob, self.bob_id = self.kept.user("bob")
        self.nid = self.kept.room("room")
        self.begin = self.kept.feed.token
        for nid, user_id in ((self.alice, self.alice_id), (self.bob, self.bob_id)):
            self.kept.join(self.nid, nid, user_id)
        self.events = [self.event(), self.event(), self.event()]
        self.root = self.events[0].event.event_id
        self.threaded = self.event(self.root)

    def event(self, thread_id: str | None = None) -> EventRow:
        return self.kept.event(self.nid, self.alice, self.alice_id, thread_id=thread_id)

    def send(self, event_id: str, thread_id: str | None = None, receipt_type: str = "m.read") -> None:
        self.kept.run(self.receipts.send(self.bob, self.bob_id, "!room", receipt_type, event_id, thread_id))

    def read(self, index: int, thread_id: str | None = None, receipt_type: str = "m.read") -> None:
        self.send(self.events[index].event.event_id, thread_id, receipt_type)

    def seen_by(self, user_nid: int) -> dict[str, Any]:
        now = self.kept.feed.token
        stored = self.kept.run(self.queries.between(user_nid, [self.nid], None, now)).get(self.nid, {})
        recent = self.queries.recent(user_nid, [self.nid], self.begin, now)
        assert recent is not None
        assert recent.get(self.nid, {}) == stored
        return stored

    def moved(self) -> list[ReceiptRow]:
        return [row for row in self.kept.db.announced if isinstance(row, ReceiptRow)]


@pytest.fixture
def room(db: OpenDatabase) -> Room:
    return Room(db)


def refused(room: Room, coroutine: Any) -> tuple[int, str]:
    with pytest.raises(MatrixError) as error:
        room.kept.run(coroutine)
    return error.value.status, error.value.errcode


def test_a_receipt_only_goes_forward(room: Room) -> None:
    room.read(1)
    room.clock.ms = 2000
    room.read(0)
    room.read(1)
    assert len(room.moved()) == 1
    assert room.seen_by(room.alice) == {room.events[1].event.event_id: {"m.read": {room.bob_id: {"ts": 1000}}}}
    room.read(2)
    assert room.seen_by(room.alice) == {room.events[2].event.event_id: {"m.read": {room.bob_id: {"ts": 2000}}}}


def test_private_receipts_are_seen_by_nobody_else(room: Room) -> None:
    room.read(2, receipt_type="m.read.private")
    room.read(1)
    public = {room.events[1].event.event_id: {"m.read": {room.bob_id: {"ts": 1000}}}}
    private = {room.events[2].event.event_id: {"m.read.private": {room.bob_id: {"ts": 1000}}}}
    assert room.seen_by(room.alice) == public
    assert room.seen_by(room.bob) == {**public, **private}


def test_threads_have_receipts_of_their_own(room: Room) -> None:
    room.read(2, "main")
    room.send(room.threaded.event.event_id, room.root)
    room.read(1)
    assert room.seen_by(room.alice) == {
        room.events[2].event.event_id: {"m.read": {room.bob_id: {"ts": 1000, "thread_id": "main"}}},
        room.threaded.event.event_id: {"m.read": {room.bob_id: {"ts": 1000, "thread_id": room.root}}},
        room.events[1].event.event_id: {"m.read": {room.bob_id: {"ts": 1000}}},
    }
    room.read(2)
    assert room.seen_by(room.alice)[room.events[2].event.event_id] == {"m.read": {room.bob_id: {"ts": 1000}}}


def test_the_thread_must_fit_the_event(room: Room) -> None:
    wrong = [
        (room.threaded.event.event_id, "main"),
        (room.threaded.event.event_id, room.events[1].event.event_id),
        (room.events[1].event.event_id, room.root),
        (room.events[1].event.event_id, "no event id"),
    ]
    for event_id, thread_id in wrong:
        sending = room.receipts.send(room.bob, room.bob_id, "!room", "m.read", event_id, thread_id)
        assert refused(room, sending) == (400, "M_INVALID_PARAM")
    room.send(room.root, room.root)
    assert len(room.moved()) == 1


def test_what_cannot_be_read_is_refused(room: Room) -> None:
    other = room.kept.room("other")
    room.kept.join(other, room.alice, room.alice_id)
    elsewhere = room.kept.event(other, room.alice, room.alice_id).event.event_id

    def sending(room_id: str, event_id: str) -> Any:
        return room.receipts.send(room.bob, room.bob_id, room_id, "m.read", event_id, None)

    assert refused(room, sending("!room", elsewhere)) == (404, "M_NOT_FOUND")
    assert refused(room, sending("!room", "$unknown")) == (404, "M_NOT_FOUND")
    assert refused(room, sending("!room", "unknown")) == (400, "M_INVALID_PARAM")
    assert refused(room, sending("!other", elsewhere)) == (403, "M_FORBIDDEN")
    assert refused(room, sending("!unknown", elsewhere)) == (403, "M_FORBIDDEN")
    assert refused(room, sending("room", elsewhere)) == (400, "M_INVALID_PARAM")
    assert room.moved() == []


def test_markers_move_together_and_only_forward(room: Room) -> None:
    ids = [row.event.event_id for row in room.events]
    data = AccountData(room.kept.db.database)

    def move(fully_read: str | None, **read: str) -> Any:
        receipts = {"m.read": read["public"]} if "public" in read else {}
        return room.markers.set(room.bob, room.bob_id, "!room", fully_read, receipts)

    room.kept.run(move(ids[1], public=ids[2]))
    assert room.kept.run(data.get(room.bob, "!room", "m.fully_read")) == {"event_id": ids[1]}
    assert [row.event_id for row in room.moved()] == [ids[2]]
    room.kept.run(move(ids[0]))
    assert room.kept.run(data.get(room.bob, "!room", "m.fully_read")) == {"event_id": ids[1]}
    assert refused(room, move("$unknown", public=room.threaded.event.event_id)) == (404, "M_NOT_FOUND")
    assert [row.event_id for row in room.moved()] == [ids[2]]
    room.kept.run(move(None))
