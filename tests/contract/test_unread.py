"""Unread counts: memory, the database and a naive recount agree whatever happens in whatever order."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from matrixd.queries import unread
from matrixd.queries.unread import Counts, UnreadCounts
from matrixd.services.read_cleanup import ReadCleanup
from matrixd.services.receipts import Receipts
from matrixd.storage import read_marks
from matrixd.storage.database import Database
from matrixd.storage.read_marks import MAIN
from matrixd.storage.rows import EventRow
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.kept import FakeClock, Kept

THREADS = 3


@dataclass
class Naive:
    """Remembers of each user and event whether it is unread, and adds up."""

    events: list[EventRow] = field(default_factory=list)
    unread: dict[int, set[int]] = field(default_factory=dict)

    def happens(self, row: EventRow) -> None:
        self.events.append(row)
        for marked in self.unread.values():
            marked.add(row.pos)
        if row.member is None:
            self.read(row.sender_nid, row.pos, row.thread_id or MAIN)
        elif row.member.membership != row.member.before:
            self.unread.pop(row.sender_nid, None)
            if row.member.membership == "join":
                self.unread[row.sender_nid] = set()

    def read(self, user_nid: int, pos: int, thread_id: str) -> None:
        for row in self.events:
            if row.pos <= pos and thread_id in ("", row.thread_id or MAIN):
                self.unread[user_nid].discard(row.pos)

    def counts(self, user_nid: int) -> Counts:
        sums: dict[str, list[int]] = {MAIN: [0, 0]}
        for row in self.events:
            if row.pos in self.unread[user_nid]:
                pair = sums.setdefault(row.thread_id or MAIN, [0, 0])
                pair[0] += row.notifies
                for user, notify, highlight in row.push_deltas:
                    if user == user_nid:
                        pair[0] += notify
                        pair[1] += highlight
        main = sums.pop(MAIN)
        return Counts((main[0], main[1]), {key: (n, h) for key, (n, h) in sums.items() if (n, h) != (0, 0)})


class SlowReads:
    """Reads at once, and answers when it is told to, so that commits come by meanwhile."""

    def __init__(self, db: OpenDatabase) -> None:
        self._db = db
        self._waiting: list[tuple[Deferred[Any], Any]] = []

    def read(self, function: Any, *args: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self._waiting.append((answer, self._db.read(function, *args)))
        return answer

    def release(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for answer, result in waiting:
                answer.callback(result)


class Play:
    """A room in which three users do something at random."""

    def __init__(self, db: OpenDatabase, seed: int, budget: CacheBudget) -> None:
        self.random = random.Random(seed)
        self.kept = Kept(db)
        self.reads = SlowReads(db)
        self.counts = UnreadCounts(cast(Database, self.reads), self.kept.feed, budget)
        self.receipts = Receipts(db.database, FakeClock())
        self.naive = Naive()
        self.delta_chance = 0.15 if seed % 4 else 0.0
        self.users = [self.kept.user(f"user{n}") for n in range(3)]
        self.room_nid = self.kept.room("room")
        self.joined: set[int] = set()
        for index in range(3):
            self.join_or_leave(index)

    def join_or_leave(self, index: int) -> None:
        nid, user_id = self.users[index]
        membership = "leave" if nid in self.joined else "join"
        self.naive.happens(self.kept.join(self.room_nid, nid, user_id, membership))
        self.joined ^= {nid}

    def rename(self, index: int) -> None:
        nid, user_id = self.users[index]
        if nid in self.joined:
            self.naive.happens(self.kept.join(self.room_nid, nid, user_id))

    def send(self, index: int) -> None:
        nid, user_id = self.users[index]
        if nid not in self.joined:
            return
        thread = self.random.choice([None, None, *(f"$root{n}" for n in range(THREADS))])
        notifies = self.random.random() < 0.8
        deltas = []
        for other, _ in self.users:
            if other != nid and other in self.joined and self.random.random() < self.delta_chance:
                deltas.append((other, -1, 0) if notifies and self.random.random() < 0.5 else (other, 0, 1))
        row = self.kept.event(
            self.room_nid, nid, user_id, notifies=notifies, thread_id=thread, deltas=tuple(deltas)
        )
        self.naive.happens(row)

    def read(self, index: int) -> None:
        nid, user_id = self.users[index]
        if nid not in self.joined:
            return
        row = self.random.choice(self.naive.events[-8:])
        thread = self.random.choice([None, row.thread_id or MAIN])
        kind = self.random.choice(["m.read", "m.read.private"])
        self.kept.run(self.receipts.send(nid, user_id, "!room", kind, row.event.event_id, thread))
        self.naive.read(nid, row.pos, thread or "")

    def step(self) -> None:
        act = self.random.choices(
            [self.send, self.read, self.rename, self.join_or_leave, self.ask], [60, 25, 4, 3, 20]
        )[0]
        act(self.random.randrange(3))

    def ask(self, index: int) -> None:
        """Somebody syncs; the answer may have to wait while others go on."""
        nid, _ = self.users[index]
        if nid in self.joined:
            Deferred.fromCoroutine(self.counts.counts(nid, self.room_nid))
            if self.random.random() < 0.5:
                self.kept.flush()
            if self.random.random() < 0.5:
                self.reads.release()

    def check(self) -> None:
        self.kept.holds = False
        self.kept.flush()
        self.reads.release()
        for nid in self.joined:
            expected = self.naive.counts(nid)
            stored = self.kept.db.read(read_marks.unread, nid, self.room_nid).counts
            main = stored.get(MAIN, (0, 0))
            assert Counts(main, {key: pair for key, pair in stored.items() if key != MAIN}) == expected
            cached = self.counts.cached(nid, self.room_nid)
            assert cached is None or cached == expected
            found: list[Counts] = []
            Deferred.fromCoroutine(self.counts.counts(nid, self.room_nid)).addCallback(found.append)
            self.reads.release()
            assert found == [expected]


@pytest.mark.parametrize("seed", range(8))
def test_all_ways_to_count_agree(db: OpenDatabase, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:
        monkeypatch.setattr(unread, "MAX_LOG", 6)
    play = Play(db, seed, CacheBudget(10_000_000 if seed % 3 else 1_500))
    for _ in range(60):
        play.kept.holds = play.random.random() < 0.5
        for _ in range(play.random.randrange(5)):
            play.step()
        play.check()


def test_an_answer_that_is_up_to_date_reads_no_database(db: OpenDatabase) -> None:
    kept = Kept(db)
    counts = UnreadCounts(db.database, kept.feed, CacheBudget(1_000_000))
    (alice, alice_id), (bob, bob_id) = kept.user("alice"), kept.user("bob")
    room = kept.room("room")
    kept.join(room, alice, alice_id)
    kept.join(room, bob, bob_id)
    assert counts.cached(bob, room) is None
    assert kept.run(counts.counts(bob, room)) == Counts()
    kept.event(room, alice, alice_id)
    kept.event(room, alice, alice_id, thread_id="$root", deltas=((bob, 0, 1),))
    found = counts.cached(bob, room)
    assert found == Counts((1, 0), {"$root": (1, 1)})
    assert found.total == (2, 1)
    kept.event(room, bob, bob_id)
    assert counts.cached(bob, room) == Counts((0, 0), {"$root": (1, 1)})
    kept.event(room, bob, bob_id, thread_id="$root")
    assert counts.cached(bob, room) == Counts()


def test_a_receipt_deletes_the_differences_that_it_covers(db: OpenDatabase) -> None:
    kept = Kept(db)
    receipts = Receipts(db.database, FakeClock())
    (alice, alice_id), (bob, bob_id) = kept.user("alice"), kept.user("bob")
    room = kept.room("room")
    kept.join(room, alice, alice_id)
    kept.join(room, bob, bob_id)
    in_main = kept.event(room, alice, alice_id, deltas=((bob, 0, 1),))
    kept.event(room, alice, alice_id, thread_id=in_main.event.event_id, deltas=((bob, 0, 1),))
    newest = kept.event(room, alice, alice_id)

    def left() -> list[str]:
        return [row[0] for row in db.read(lambda tx: tx.all("SELECT thread_id FROM push_deltas ORDER BY pos"))]

    assert left() == ["", in_main.event.event_id]
    kept.run(receipts.send(bob, bob_id, "!room", "m.read", newest.event.event_id, MAIN))
    assert left() == [in_main.event.event_id]
    kept.run(receipts.send(bob, bob_id, "!room", "m.read.private", newest.event.event_id, None))
    assert left() == []


def test_what_was_read_before_it_was_announced_counts_once(db: OpenDatabase) -> None:
    kept = Kept(db)
    reads = SlowReads(db)
    counts = UnreadCounts(cast(Database, reads), kept.feed, CacheBudget(1_000_000))
    (alice, alice_id), (bob, bob_id) = kept.user("alice"), kept.user("bob")
    room = kept.room("room")
    kept.join(room, alice, alice_id)
    kept.join(room, bob, bob_id)
    kept.holds = True
    kept.event(room, alice, alice_id, deltas=((bob, 0, 1),))
    found: list[Counts] = []
    Deferred.fromCoroutine(counts.counts(bob, room)).addCallback(found.append)
    kept.flush()
    reads.release()
    assert found == [Counts((1, 1))]
    assert counts.cached(bob, room) == Counts((1, 1))


def test_the_cleanup_deletes_what_was_read_by_sending(db: OpenDatabase) -> None:
    kept = Kept(db)
    (alice, alice_id), (bob, bob_id) = kept.user("alice"), kept.user("bob")
    room = kept.room("room")
    kept.join(room, alice, alice_id)
    kept.join(room, bob, bob_id)
    kept.event(room, alice, alice_id, deltas=((bob, 0, 1),))
    kept.event(room, alice, alice_id, thread_id="$root", deltas=((bob, 0, 1),))
    kept.event(room, bob, bob_id)
    kept.event(room, alice, alice_id, deltas=((bob, 0, 1),))
    before = db.read(read_marks.unread, bob, room)
    kept.run(ReadCleanup(db.database).run())
    assert [row[0] for row in db.read(lambda tx: tx.all("SELECT thread_id FROM push_deltas ORDER BY pos"))] == [
        "$root", ""
    ]  # fmt: skip
    assert db.read(read_marks.unread, bob, room) == before
