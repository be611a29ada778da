"""Room states and auth chains for other servers."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.queries.federation import auth_chains, shared_answers
from matrixd.queries.federation.auth_chains import auth_event_ids
from matrixd.queries.federation.shared_answers import SharedAnswers
from matrixd.storage import rooms
from matrixd.storage.event_state import EventState
from matrixd.util.lru import CacheBudget
from tests.contract.federation.conftest import ReadWorld
from tests.support.kept import FakeClock

OTHER = "other.example"
BOB = "bob:other.example"


def refused(world: ReadWorld, work: Any) -> tuple[int, str]:
    with pytest.raises(MatrixError) as caught:
        world.run(work)
    return caught.value.status, caught.value.errcode


def keys(pdus: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(pdu["type"], pdu["state_key"]) for pdu in pdus}


@pytest.fixture(params=["2", "12"])
def room(world: ReadWorld, request: pytest.FixtureRequest) -> str:
    """A room with a user of another server."""
    return world.room("alice", BOB, version=request.param)


BASE = {("m.room.create", ""), ("m.room.join_rules", ""), ("m.room.history_visibility", "")}
ALICE = ("m.room.member", "@alice:example.org")
BOB_KEY = ("m.room.member", "@bob:other.example")


def test_the_state_is_that_before_the_event(world: ReadWorld, room: str) -> None:
    topic = world.set_state(room, "alice", "m.room.topic", {"topic": "first"})
    second = world.set_state(room, "alice", "m.room.topic", {"topic": "second"})
    state = world.json(world.states.state(OTHER, room, second))
    assert keys(state["pdus"]) == {*BASE, ALICE, BOB_KEY, ("m.room.topic", "")}
    assert [pdu["content"] for pdu in state["pdus"] if pdu["type"] == "m.room.topic"] == [{"topic": "first"}]
    # From room version 12 on the room's ID stands for the creation event.
    create = {("m.room.create", "")} if ":" in room else set()
    assert keys(state["auth_chain"]) == {*create, ("m.room.join_rules", ""), ALICE}
    ids = world.json(world.states.state_ids(OTHER, room, second))
    assert topic in ids["pdu_ids"]
    assert second not in ids["pdu_ids"]
    assert (len(ids["pdu_ids"]), len(ids["auth_chain_ids"])) == (len(state["pdus"]), len(state["auth_chain"]))
    chain = world.json(world.states.event_auth(OTHER, room, second))["auth_chain"]
    assert keys(chain) == {*create, ALICE}


def test_a_chain_goes_all_the_way(world: ReadWorld, room: str) -> None:
    for _ in range(4):
        world.member(room, BOB, "leave")
        joined = world.member(room, BOB, "join")
    chain = world.json(world.states.event_auth(OTHER, room, joined))["auth_chain"]
    assert [pdu["content"]["membership"] for pdu in chain if pdu.get("state_key") == "@bob:other.example"].count(
        "leave"
    ) == 4


def test_a_fork_has_its_own_state(world: ReadWorld, room: str) -> None:
    topic = world.set_state(room, "alice", "m.room.topic", {"topic": "first"})
    said = world.send(room, "alice", "said")
    base = world.state_at(said)

    def nid_of_topic(tx: Any) -> int:
        row = tx.one("SELECT key_nid FROM events WHERE event_id = ?", (topic,))
        return int(row[0])

    without = EventState(base.room_nid, base.base_pos, {world.db.read(nid_of_topic): None})
    fork = world.beside(room, BOB, "fork", [said], depth=9, state=without)
    assert ("m.room.topic", "") not in keys(world.json(world.states.state(OTHER, room, fork))["pdus"])


def test_who_gets_no_state(world: ReadWorld, room: str) -> None:
    said = world.send(room, "alice", "said")
    unknown, forbidden = (404, "M_NOT_FOUND"), (403, "M_FORBIDDEN")
    elsewhere = world.send(world.room("alice"), "alice", "elsewhere")
    outlier = world.beside(room, BOB, "outlier", [said], depth=9)
    rejected = world.beside(room, BOB, "no", [said], depth=9, state=world.state_at(said), verdict="rejected")
    for ask in (world.states.state, world.states.state_ids):
        assert refused(world, ask(OTHER, room, "$unknown")) == unknown
        assert refused(world, ask(OTHER, room, elsewhere)) == unknown
        assert refused(world, ask(OTHER, "!unknown", said)) == unknown
        assert refused(world, ask(OTHER, room, outlier)) == unknown
        assert refused(world, ask(OTHER, room, rejected)) == unknown
        assert refused(world, ask("third.example", room, said)) == forbidden
    assert refused(world, world.states.event_auth("third.example", room, said)) == forbidden
    assert refused(world, world.states.event_auth(OTHER, room, elsewhere)) == unknown
    assert world.json(world.states.event_auth(OTHER, room, rejected)) == {"auth_chain": []}
    world.member(room, BOB, "leave")
    assert refused(world, world.states.state(OTHER, room, said)) == forbidden


def test_a_state_that_is_not_whole_is_not_given(world: ReadWorld, room: str) -> None:
    said = world.send(room, "alice", "said")
    world.db.write(lambda tx: tx.execute("UPDATE rooms SET state_completeness = 'partial'"))
    assert world.db.read(rooms.by_id, room) is not None
    assert refused(world, world.states.state(OTHER, room, said)) == (404, "M_NOT_FOUND")
    assert world.json(world.states.event_auth(OTHER, room, said))["auth_chain"]


def test_erased_users_are_redacted(world: ReadWorld, room: str) -> None:
    world.member(room, "gone", "join", displayname="Secret")
    said = world.send(room, "gone", "said")
    assert b"Secret" in world.run(world.states.state(OTHER, room, said))
    world.erase("gone")
    world.clock.ms += 60_000
    assert b"Secret" not in world.run(world.states.state(OTHER, room, said))
    assert b"Secret" not in world.run(world.states.event_auth(OTHER, room, said))


def test_auth_events_of_every_format() -> None:
    assert auth_event_ids('{"auth_events":["$a","$b"],"depth":1}') == ["$a", "$b"]
    assert auth_event_ids('{"auth_events":[["$a:x",{"sha256":"y"}]],"big":%s}' % ("1" * 40)) == ["$a:x"]


def test_a_chain_is_bounded(world: ReadWorld, room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth_chains, "MAX_EVENTS", 0)
    said = world.send(room, "alice", "said")
    assert refused(world, world.states.event_auth(OTHER, room, said)) == (413, "M_TOO_LARGE")


class Work:
    """An answer that the test makes."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[bytes]] = []

    async def make(self) -> bytes:
        answer: Deferred[bytes] = Deferred()
        self.waiting.append(answer)
        return await answer


def test_large_answers_are_made_once_and_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_answers, "MAX_WAITING", 1)
    clock, work = FakeClock(), Work()
    answers = SharedAnswers(clock, CacheBudget(2**20))

    def ask(name: str) -> Deferred[bytes]:
        return Deferred.fromCoroutine(answers.get((name,), work.make))

    results: list[bytes] = []
    first = [ask("a"), ask("a"), ask("b"), ask("c")]
    refusal: list[Any] = []
    ask("d").addErrback(refusal.append)
    assert len(work.waiting) == 2
    assert refusal[0].value.errcode == "M_LIMIT_EXCEEDED"
    for waiting in first:
        waiting.addCallback(results.append)
    work.waiting[0].callback(b"1")
    work.waiting[1].callback(b"2")
    work.waiting[2].callback(b"3")
    assert sorted(results) == [b"1", b"1", b"2", b"3"]
    ask("a").addCallback(results.append)
    assert (results[-1], len(work.waiting)) == (b"1", 3)
    clock.ms += 31_000
    ask("a")
    assert len(work.waiting) == 4


def test_a_large_room(world: ReadWorld) -> None:
    room = world.room("alice", BOB)
    user = "@alice:third.example"
    template = world.sent(room, user[1:], {"membership": "join"}, "m.room.member", state_key=user)
    count = 3_000

    def fill(tx: Any) -> None:
        events, state = [], []
        key = tx.next_id("state_keys", count)
        nid = tx.next_id("event_nids", count)
        pos = tx.next_id("events", count)
        keys = [(key + number, "m.room.member", f"@user{number}:third.example") for number in range(count)]
        for number in range(count):
            pdu = {**template.event.pdu, "state_key": f"@user{number}:third.example"}
            events.append(
                (nid + number, f"$m{number}", template.room_nid, pos + number, 5, "m.room.member",
                 template.sender_nid, key + number, 1, 0, orjson.dumps(pdu).decode())
            )  # fmt: skip
            state.append((template.room_nid, key + number, pos + number, nid + number))
        tx.insert_many("state_keys", ("key_nid", "type", "state_key"), keys)
        tx.insert_many(
            "events",
            ("event_nid", "event_id", "room_nid", "pos", "depth", "type", "sender_nid", "key_nid", "origin_server_ts",
             "unread", "json"), events,
        )  # fmt: skip
        tx.insert_many("room_state", ("room_nid", "key_nid", "valid_from", "event_nid"), state)

    world.db.write(fill)
    base = EventState(template.room_nid, 2**40)
    last = world.beside(room, BOB, "last", [], depth=9, state=base)
    started = time.monotonic()
    answer = world.json(world.states.state(OTHER, room, last))
    assert time.monotonic() - started < 5
    assert len(answer["pdus"]) == count + 6
    assert len(answer["auth_chain"]) == 2
    assert len(world.json(world.states.state_ids(OTHER, room, last))["pdu_ids"]) == count + 6
