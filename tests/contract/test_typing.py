"""Typing: who is shown, for how long, and what sync gives."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from matrixd.core.errors import MatrixError
from matrixd.queries.typing import Typing as TypingQueries
from matrixd.services import typing
from matrixd.services.typing import Typing
from matrixd.storage.rows import TypingRow
from tests.support.database import OpenDatabase
from tests.support.kept import Kept


class Room:
    def __init__(self, db: OpenDatabase) -> None:
        self.kept = Kept(db)
        self.timer = Clock()
        self.typing = Typing(db.database, self.kept.feed, self.timer)
        self.queries = TypingQueries(self.kept.feed)
        self.announced: list[TypingRow] = []
        self.kept.feed.subscribe(TypingRow, self.announced.append)
        self.alice = self.kept.user("alice")
        self.bob = self.kept.user("bob")
        self.nid = self.kept.room("room")
        for user in (self.alice, self.bob):
            self.kept.join(self.nid, *user)

    def set(self, user: tuple[int, str], is_typing: bool = True, timeout_ms: int = 30_000) -> None:
        self.kept.run(self.typing.set(*user, "!room", is_typing, timeout_ms))

    def shown(self) -> list[str] | None:
        found = self.queries.between([self.nid], None, self.kept.feed.token)
        return found[self.nid]["user_ids"] if found else None


@pytest.fixture
def room(db: OpenDatabase) -> Room:
    return Room(db)


def test_it_ends_when_told_and_by_itself(room: Room) -> None:
    room.set(room.alice)
    room.set(room.bob, timeout_ms=50_000)
    assert room.shown() == [room.alice[1], room.bob[1]]
    room.timer.advance(20)
    room.set(room.alice)
    assert len(room.announced) == 2
    room.timer.advance(29)
    assert room.shown() == [room.alice[1], room.bob[1]]
    room.timer.advance(1)
    assert not room.shown()
    assert room.announced[-1].user_ids == ()
    assert room.timer.getDelayedCalls() == []
    room.set(room.bob)
    room.set(room.bob, False)
    room.set(room.bob, False)
    assert not room.shown()
    assert [row.pos for row in room.announced] == [1, 2, 3, 4, 5]


def test_a_timeout_is_bounded(room: Room) -> None:
    room.set(room.alice, timeout_ms=10**15)
    room.timer.advance(typing.MAX_TIMEOUT_MS / 1000)
    assert not room.shown()


def test_leaving_ends_it_and_sending_does_not(room: Room) -> None:
    room.set(room.alice)
    room.set(room.bob)
    room.kept.event(room.nid, *room.alice)
    room.timer.advance(0)
    assert room.shown() == [room.alice[1], room.bob[1]]
    room.kept.join(room.nid, *room.bob, "leave")
    room.timer.advance(0)
    assert room.shown() == [room.alice[1]]
    with pytest.raises(MatrixError) as error:
        room.set(room.bob)
    assert (error.value.status, error.value.errcode) == (403, "M_FORBIDDEN")


def test_sync_is_told_of_changes_only(room: Room) -> None:
    before = room.kept.feed.token
    room.set(room.alice)
    after = room.kept.feed.token
    assert room.queries.between([room.nid], before, after) == {room.nid: {"user_ids": [room.alice[1]]}}
    assert room.queries.between([room.nid], after, after) == {}
    room.set(room.alice, False)
    assert room.queries.between([room.nid], after, room.kept.feed.token) == {room.nid: {"user_ids": []}}
    assert room.queries.between([room.nid], before, after) == {room.nid: {"user_ids": [room.alice[1]]}}


def test_a_room_shows_no_more_than_its_limit(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typing, "MAX_IN_ROOM", 1)
    room.set(room.alice)
    room.set(room.bob)
    assert room.shown() == [room.alice[1]]
