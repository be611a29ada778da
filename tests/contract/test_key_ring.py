"""The key ring: what is asked of whom, how often, what is believed, and what is remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from matrixd.core.server_keys import published_keys
from matrixd.core.signing import MAX_KEY_VALIDITY_MS, SigningKey, VerifyKey, sign_json
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.key_ring import ALL_KEYS, KeyRing, Purpose
from matrixd.net.key_search import CHUNK, FEW
from matrixd.net.key_sources import Notary
from matrixd.storage import server_keys
from matrixd.storage.server_keys import StoredKeys
from matrixd.util.lru import CacheBudget
from tests.support.clock import TestClock
from tests.support.database import OpenDatabase

DAY_MS = 24 * 60 * 60 * 1000
OWN = SigningKey.from_seed("own", b"o" * 32)
NOTARY = SigningKey.from_seed("n", b"n" * 32)
KEY = "ed25519:k"
Keys = dict[str, dict[str, VerifyKey]]

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite3"])


def key_of(server_name: str, version: str = "k") -> SigningKey:
    return SigningKey.from_seed(version, f"{version}/{server_name}".encode().ljust(32, b"!")[:32])


class Network:
    """The other servers, in the place of the federation client."""

    def __init__(self, clock: TestClock) -> None:
        self.clock = clock
        #: What servers answer about themselves, and notaries about each server; all others do not answer.
        self.direct: dict[str, Callable[[], Any]] = {}
        self.notaries: dict[str, Callable[[str], Any]] = {}
        #: Who was asked: for its own keys, and as a notary for whose.
        self.asked: list[str] = []
        self.queries: list[tuple[str, Mapping[str, Any]]] = []
        self.ignored_backoff: list[bool] = []
        #: While this is a list, who is asked itself waits for the test.
        self.hanging: list[Deferred[None]] | None = None

    def add(self, *server_names: str, valid_ms: int = DAY_MS) -> None:
        for server_name in server_names:
            self.direct[server_name] = lambda name=server_name: self.published(name, valid_ms)  # type: ignore[misc]

    def published(self, server_name: str, valid_ms: int = DAY_MS, *old: VerifyKey) -> dict[str, Any]:
        return published_keys(server_name, [key_of(server_name)], old, self.clock.now_ms() + valid_ms)

    async def get_unsigned(
        self, destination: str, path: str, *, timeout_s: float, max_bytes: int, ignore_backoff: bool
    ) -> Any:
        assert path == "/_matrix/key/v2/server"
        self.asked.append(destination)
        self.ignored_backoff.append(ignore_backoff)
        if self.hanging is not None:
            waiting: Deferred[None] = Deferred()
            self.hanging.append(waiting)
            await waiting
        if destination not in self.direct:
            raise RemoteError(destination, FailureKind.CONNECT, "nobody is there")
        return self.direct[destination]()

    async def post(self, destination: str, path: str, content: Any, *, timeout_s: float, max_bytes: int) -> Any:
        assert path == "/_matrix/key/v2/query"
        self.queries.append((destination, content["server_keys"]))
        if destination not in self.notaries:
            raise RemoteError(destination, FailureKind.TIMEOUT, "it does not answer")
        answers = [self.notaries[destination](name) for name in content["server_keys"]]
        return {"server_keys": [answer for answer in answers if answer is not None]}


class World:
    """A key ring, its database, and its network."""

    def __init__(self, db: OpenDatabase) -> None:
        self.db = db
        self.clock = TestClock()
        self.network = Network(self.clock)
        self.notaries = [Notary("notary", {NOTARY.key_id: NOTARY.verify_key})]
        self.ring = self.new_ring()

    def new_ring(self, *notaries: Notary) -> KeyRing:
        own = {OWN.key_id: OWN.verify_key, "ed25519:old": VerifyKey("ed25519:old", b"x" * 32, expired_ts=5)}
        return KeyRing(
            "own", own, self.network, notaries, self.db.database, self.clock, CacheBudget(10**7), self.db.call_later
        )  # fmt: skip

    def wait(self, *coroutines: Any) -> list[Any]:
        waiting = [Deferred.fromCoroutine(coroutine) for coroutine in coroutines]
        return [self.db.wait(each) for each in waiting]

    def keys(self, wanted: Mapping[str, Mapping[str, int]], purpose: Purpose = Purpose.EVENTS) -> Keys:
        (found,) = self.wait(self.ring.keys(wanted, purpose))
        assert isinstance(found, dict)
        return found

    def has(self, server_name: str, key_id: str = KEY, at: int | None = None, **options: Any) -> bool:
        timestamp = self.clock.now_ms() if at is None else at
        return key_id in self.keys({server_name: {key_id: timestamp}}, **options).get(server_name, {})

    def settle(self) -> None:
        """Lets what was learned be stored."""
        for _ in range(3):
            self.db.write(lambda tx: None)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Lets things go on until something is so. Raises AssertionError if that does not come."""
        for _ in range(1000):
            if is_so():
                return
            self.db.read(lambda tx: None)
        raise AssertionError("it does not come")

    def with_notary(self, answer: Callable[[str], Any] | None = None) -> None:
        self.ring = self.new_ring(*self.notaries)
        self.network.notaries["notary"] = answer or (
            lambda name: sign_json(self.network.published(name), "notary", NOTARY)
        )


@pytest.fixture
def world(db: OpenDatabase) -> World:
    return World(db)


# What is asked


def test_a_server_tells_its_keys_once(world: World) -> None:
    world.network.add("a")
    found = world.keys({"a": {KEY: world.clock.now_ms()}})
    assert found["a"][KEY].public == key_of("a").public
    assert world.has("a")
    world.settle()
    world.ring = world.new_ring()
    assert world.has("a")
    assert world.network.asked == ["a"]
    assert world.network.ignored_backoff == [False]


def test_what_is_asked_at_the_same_moment_is_fetched_once(world: World) -> None:
    world.network.add("a", "b")
    wanted = {"a": {KEY: 1}}
    answers = world.wait(*(world.ring.keys(each) for each in (wanted, wanted, {**wanted, "b": {KEY: 1}})))
    assert [sorted(answer) for answer in answers] == [["a"], ["a"], ["a", "b"]]
    assert sorted(world.network.asked) == ["a", "b"]


def test_own_keys_are_known(world: World) -> None:
    found = world.keys({"own": {OWN.key_id: 2**52, "ed25519:old": 5, "ed25519:other": 1}})
    assert found["own"].keys() == {OWN.key_id, "ed25519:old"}
    assert world.keys({"own": {"ed25519:old": 6}}) == {}
    assert world.network.asked == []


def test_no_more_than_fifty_are_asked_at_once(world: World) -> None:
    names = [f"server{number}" for number in range(120)]
    world.network.add(*names)
    world.network.hanging = []
    waiting = Deferred.fromCoroutine(world.ring.keys({name: {KEY: 1} for name in names}))
    world.until(lambda: len(world.network.asked) >= 50)
    world.settle()
    assert len(world.network.asked) == 50
    # A request that comes meanwhile need not wait for them.
    other = Deferred.fromCoroutine(world.ring.keys({"x": {KEY: 1}}, Purpose.REQUEST))
    world.until(lambda: world.network.asked[-1] == "x")
    held, world.network.hanging = world.network.hanging, None
    for each in held:
        each.callback(None)
    assert len(world.db.wait(waiting)) == 120
    assert world.db.wait(other) == {}
    assert len(world.network.asked) == 121


def test_a_late_asker_shares_the_search_and_its_own_key_is_looked_for(world: World) -> None:
    world.network.add("a")
    world.network.hanging = []
    first = Deferred.fromCoroutine(world.ring.keys({"a": {KEY: 1}}))
    world.until(lambda: world.network.asked == ["a"])
    second = Deferred.fromCoroutine(world.ring.keys({"a": {KEY: 2, "ed25519:other": 1}}))
    world.settle()
    world.network.hanging.pop().callback(None)
    assert world.db.wait(first).keys() == {"a"}
    assert world.db.wait(second)["a"].keys() == {KEY}
    assert world.network.asked == ["a"]


# Validity


def test_a_key_is_good_for_a_week_at_most(world: World) -> None:
    world.network.add("a", valid_ms=365 * DAY_MS)
    now = world.clock.now_ms()
    assert world.has("a", at=now + MAX_KEY_VALIDITY_MS)
    assert not world.has("a", at=now + MAX_KEY_VALIDITY_MS + 1)
    assert world.network.asked == ["a"]
    world.clock.advance(8 * DAY_MS / 1000)
    assert world.has("a", at=now)
    assert world.network.asked == ["a"]
    assert world.has("a")
    assert world.network.asked == ["a", "a"]


def test_an_old_key_counts_until_it_went_out_of_use(world: World) -> None:
    old = VerifyKey("ed25519:old", b"y" * 32, expired_ts=1000)
    world.network.direct["a"] = lambda: world.network.published("a", DAY_MS, old)
    assert world.has("a", "ed25519:old", at=1000)
    assert not world.has("a", "ed25519:old", at=1001)
    assert world.network.asked == ["a"]


def test_a_key_that_its_server_does_not_name_any_more_stays_good_for_its_time(world: World) -> None:
    world.network.add("a", valid_ms=DAY_MS)
    then = world.clock.now_ms()
    assert world.has("a")
    new = key_of("a", "new")
    world.network.direct["a"] = lambda: published_keys("a", [new], (), world.clock.now_ms() + DAY_MS)
    world.clock.advance(2 * DAY_MS / 1000)
    assert world.has("a", new.key_id)
    assert world.has("a", at=then)
    assert not world.has("a")


# Notaries


def test_a_notary_is_asked_for_what_a_server_does_not_tell(world: World) -> None:
    world.with_notary()
    world.network.add("a")
    now = world.clock.now_ms()
    found = world.keys({"a": {KEY: now}, "dead": {KEY: now + 5, ALL_KEYS: now}})
    assert found.keys() == {"a", "dead"}
    assert sorted(world.network.asked) == ["a", "dead"]
    assert world.network.queries == [("notary", {"dead": {KEY: {"minimum_valid_until_ts": now}}})]


def test_of_many_the_notary_is_asked_first_in_chunks(world: World) -> None:
    names = [f"server{number}" for number in range(250)]
    world.with_notary(
        lambda name: None if name == names[7] else sign_json(world.network.published(name), "notary", NOTARY)
    )
    world.network.add(names[7])
    found = world.keys({name: {KEY: 1} for name in names})
    assert found.keys() == set(names)
    assert sorted(len(servers) for _, servers in world.network.queries) == [50, CHUNK, CHUNK]
    assert world.network.asked == [names[7]]


def test_few_are_asked_themselves(world: World) -> None:
    names = [f"server{number}" for number in range(FEW)]
    world.with_notary()
    world.network.add(*names)
    assert len(world.keys({name: {KEY: 1} for name in names})) == FEW
    assert world.network.queries == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda world, name: world.network.published(name),
        lambda world, name: sign_json(world.network.published(name), "notary", key_of("forger", "n")),
        lambda world, name: sign_json({**world.network.published(name), "valid_until_ts": 2**50}, "notary", NOTARY),
        lambda world, name: sign_json(world.network.published("another"), "notary", NOTARY),
        lambda world, name: "no object",
        lambda world, name: {},
        lambda world, name: None,
    ],
)
def test_a_notary_is_not_believed_without_both_signatures(world: World, answer: Callable[[World, str], Any]) -> None:
    world.with_notary(lambda name: answer(world, name))
    assert not world.has("dead")
    assert len(world.network.queries) == 1


def test_the_second_notary_is_asked_for_what_the_first_does_not_know(world: World) -> None:
    world.ring = world.new_ring(*world.notaries, Notary("second", {}), Notary("own", {}))
    world.network.notaries = {
        "notary": lambda name: sign_json(world.network.published(name), "notary", NOTARY) if name == "a" else None,
        "second": lambda name: world.network.published(name),
    }
    assert world.keys({"a": {KEY: 1}, "b": {KEY: 1}}).keys() == {"a", "b"}
    assert [(notary, set(servers)) for notary, servers in world.network.queries] == [
        ("notary", {"a", "b"}),
        ("second", {"b"}),
    ]


def test_a_notary_that_fails_is_left_out_for_a_minute(world: World) -> None:
    world.ring = world.new_ring(*world.notaries)
    for server_name in ("a", "b"):
        assert not world.has(server_name)
    assert len(world.network.queries) == 1
    world.clock.advance(60)
    assert not world.has("c")
    assert len(world.network.queries) == 2


def test_what_a_notary_asks_for_is_asked_of_the_server_only(world: World) -> None:
    world.with_notary()
    assert not world.has("dead", purpose=Purpose.NOTARY)
    assert world.network.queries == []


def test_an_older_answer_does_not_count_over_a_newer(world: World) -> None:
    world.network.add("a")
    assert world.has("a")
    retired = VerifyKey(KEY, key_of("a").public, expired_ts=world.clock.now_ms())
    new = key_of("a", "new")
    now = world.clock.now_ms()
    world.network.direct["a"] = lambda: published_keys("a", [new], [retired], now + DAY_MS)
    world.clock.advance(1)
    assert world.has("a", new.key_id)
    del world.network.direct["a"]
    world.with_notary(
        lambda name: sign_json(published_keys(name, [key_of(name)], (), now + DAY_MS // 2), "notary", NOTARY)
    )
    world.settle()
    assert not world.has("a", "ed25519:unknown")
    assert len(world.network.queries) == 1
    assert not world.has("a")
    world.settle()
    stored = world.db.read(server_keys.of_servers, ["a"])["a"]
    assert (stored.keys[KEY].expired_ts, stored.from_server) == (retired.expired_ts, "a")
    assert "new" in world.db.read(server_keys.responses, ["a"])["a"]


# What goes wrong


@pytest.mark.parametrize(
    "answer",
    [
        lambda world: None,
        lambda world: [],
        lambda world: {"server_name": "a"},
        lambda world: world.network.published("b"),
        lambda world: {**world.network.published("a"), "valid_until_ts": 1.5},
        lambda world: {**world.network.published("a"), "valid_until_ts": 2**50},
        lambda world: {**world.network.published("a"), "verify_keys": {}},
        lambda world: {**world.network.published("a"), "verify_keys": {KEY: {"key": "AA"}}},
        lambda world: {**world.network.published("a"), "signatures": {"a": {KEY: "A" * 86}}},
        lambda world: {**world.network.published("a"), "x": "\ud800"},
        lambda world: published_keys("a", [key_of("a", f"k{n}") for n in range(201)], (), 2**50),
    ],
)
def test_answers_that_are_no_good(world: World, answer: Callable[[World], Any]) -> None:
    world.network.direct["a"] = lambda: answer(world)
    assert not world.has("a")
    assert not world.has("a", "ed25519:k1")
    assert world.network.asked == ["a"]
    world.settle()
    assert world.db.read(server_keys.of_servers, ["a"]) == {}


def test_keys_of_other_algorithms_are_left_out(world: World) -> None:
    def answer() -> dict[str, Any]:
        unsigned = {name: value for name, value in world.network.published("a").items() if name != "signatures"}
        keys = {**unsigned["verify_keys"], "rsa:1": {"key": "AAAA"}}
        return sign_json({**unsigned, "verify_keys": keys}, "a", key_of("a"))

    world.network.direct["a"] = answer
    assert world.keys({"a": {KEY: 1, "rsa:1": 1}})["a"].keys() == {KEY}


def test_a_dead_server_is_asked_ever_less_often(world: World) -> None:
    asked_after = []
    for second in range(200):
        before = len(world.network.asked)
        assert not world.has("dead")
        if len(world.network.asked) > before:
            asked_after.append(second)
        world.clock.advance(1)
    assert asked_after == [0, 20, 60, 140]


def test_who_sends_requests_is_asked_again_soon(world: World) -> None:
    for _ in range(8):
        assert not world.has("late")
        world.clock.advance(3600)
    assert not world.has("late")
    world.network.add("late")
    world.clock.advance(10)
    assert not world.has("late")
    assert world.has("late", purpose=Purpose.REQUEST)
    assert world.network.ignored_backoff[-1] is True


def test_who_sends_requests_is_not_asked_all_the_time(world: World) -> None:
    for _ in range(11):
        assert not world.has("late", purpose=Purpose.REQUEST)
        world.clock.advance(1)
    assert len(world.network.asked) == 2


def test_a_key_that_a_server_does_not_have_is_asked_for_every_ten_seconds(world: World) -> None:
    world.network.add("a")
    for second in range(31):
        assert not world.has("a", f"ed25519:x{second}")
        world.clock.advance(1)
    assert len(world.network.asked) == 4
    new = key_of("a", "new")
    world.network.direct["a"] = lambda: published_keys("a", [new], (), world.clock.now_ms() + DAY_MS)
    world.clock.advance(10)
    assert world.has("a", new.key_id)


# What is kept


def test_the_answer_is_kept_as_it_was_received(world: World) -> None:
    world.network.direct["a"] = lambda: sign_json(
        {**{k: v for k, v in world.network.published("a").items() if k != "signatures"}, "more": {"é": 2**70}},
        "a",
        key_of("a"),
    )
    assert world.has("a")
    world.settle()
    assert f'"more":{{"é":{2**70}}}' in world.db.read(server_keys.responses, ["a"])["a"]


def test_all_keys_are_asked_for_again_after_half_of_their_time(world: World) -> None:
    world.network.add("a")

    def refresh() -> StoredKeys:
        (known,) = world.wait(world.ring.known({"a": {ALL_KEYS: world.clock.now_ms()}}, Purpose.NOTARY))
        found = known["a"]
        assert isinstance(found, StoredKeys)
        return found

    first = refresh()
    world.clock.advance(DAY_MS / 2000 - 1)
    assert refresh() == first
    world.clock.advance(2)
    assert refresh().received_ts == world.clock.now_ms()
    assert world.network.asked == ["a", "a"]


def test_keys_that_nobody_needs_for_a_year_are_forgotten(world: World) -> None:
    world.network.add("a", "b")
    assert world.keys({"a": {KEY: 1}, "b": {KEY: 1}}).keys() == {"a", "b"}
    world.settle()
    for _ in range(10):
        world.clock.advance(40 * DAY_MS / 1000)
        assert world.has("a", at=1)
        world.wait(world.ring.note_use())
    assert world.db.read(server_keys.of_servers, ["a", "b"]).keys() == {"a"}
