"""The notary, and the keys that the server publishes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from matrixd.core.builder import build_event
from matrixd.core.errors import SignatureInvalid
from matrixd.core.event import Event
from matrixd.core.event_signing import verify_event
from matrixd.core.server_keys import ServerKeys
from matrixd.core.signing import SigningKey, VerifyKey, verify_json
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.services.notary import Notary
from matrixd.services.own_keys import OwnKeys
from matrixd.util.lru import CacheBudget
from tests.contract.test_key_ring import DAY_MS, KEY, OWN, World, key_of
from tests.support.clock import TestClock
from tests.support.database import OpenDatabase

HOUR_MS = 60 * 60 * 1000
SECOND = SigningKey.from_seed("second", b"2" * 32)
OLD = VerifyKey("ed25519:old", b"x" * 32, expired_ts=5)
AGAIN = VerifyKey(SECOND.key_id, b"y" * 32, expired_ts=5)


def own_keys(clock: TestClock, refresh_ms: int = DAY_MS) -> OwnKeys:
    return OwnKeys("own", [OWN, SECOND], [OLD, AGAIN], refresh_ms, clock)


# The own keys


def test_all_own_keys_are_published_and_sign() -> None:
    clock = TestClock()
    answer = msgspec.json.decode(own_keys(clock).published())
    assert answer["signatures"]["own"].keys() == {OWN.key_id, SECOND.key_id}
    found = ServerKeys.from_response(answer, "own", clock.now_ms())
    assert found.valid_until_ts == clock.now_ms() + DAY_MS
    assert found.keys.keys() == {OWN.key_id, SECOND.key_id, OLD.key_id}
    assert (found.keys[OLD.key_id].expired_ts, found.keys[SECOND.key_id].public) == (5, SECOND.public)
    assert own_keys(clock).verify_keys == {OLD.key_id: OLD} | {k.key_id: k.verify_key for k in (OWN, SECOND)}


@pytest.mark.parametrize(("refresh_ms", "kept_ms"), [(DAY_MS, HOUR_MS), (HOUR_MS, HOUR_MS // 10)])
def test_an_answer_is_kept_for_a_small_part_of_its_time(refresh_ms: int, kept_ms: int) -> None:
    clock = TestClock()
    keys = own_keys(clock, refresh_ms)
    first = keys.published()
    clock.advance((kept_ms - 1000) / 1000)
    assert keys.published() is first
    clock.advance(1)
    assert msgspec.json.decode(keys.published())["valid_until_ts"] == clock.now_ms() + refresh_ms


def test_events_of_an_old_key_still_verify_up_to_its_end() -> None:
    clock = TestClock()
    former = SigningKey.from_seed("former", b"f" * 32)
    ended_ts = clock.now_ms()
    keys = OwnKeys("own", [OWN], [VerifyKey(former.key_id, former.public, expired_ts=ended_ts)], DAY_MS, clock)
    published = ServerKeys.from_response(msgspec.json.decode(keys.published()), "own", clock.now_ms())

    def signed(key: SigningKey, at: int) -> Event:
        return build_event(
            ROOM_VERSIONS["10"], room_id="!a:own", event_type="m.x", sender="@a:own", content={}, prev_events=["$a"],
            auth_events=["$b"], depth=2, origin_server_ts=at, server_name="own", signing_key=key,
        )  # fmt: skip

    verify_event(signed(former, ended_ts), "own", published.keys)
    verify_event(signed(OWN, ended_ts + 1), "own", published.keys)
    with pytest.raises(SignatureInvalid):
        verify_event(signed(former, ended_ts + 1), "own", published.keys)


# The notary


class NotaryWorld(World):
    """A notary on a key ring."""

    def __init__(self, db: OpenDatabase) -> None:
        super().__init__(db)
        self.own_keys = own_keys(self.clock)
        self.notary = Notary("own", self.own_keys, self.ring, self.clock, CacheBudget(10**6))

    def tell(self, wanted: Mapping[str, Mapping[str, int | None]]) -> dict[str, Any]:
        (answers,) = self.wait(self.notary.answers(wanted))
        found = [msgspec.json.decode(answer) for answer in answers]
        for answer in found:
            verify_json(answer, "own", self.own_keys.verify_keys)
            ServerKeys.from_response(answer, answer["server_name"], self.clock.now_ms())
        return {answer["server_name"]: answer for answer in found}


@pytest.fixture
def world(db: OpenDatabase) -> NotaryWorld:
    return NotaryWorld(db)


ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite3"])


def test_answers_are_signed_and_kept(world: NotaryWorld) -> None:
    world.network.add("a", "b")
    for _ in range(3):
        found = world.tell({"a": {}, "b": {KEY: None}, "gone": {}, "own": {}})
        assert found.keys() == {"a", "b", "own"}
    assert sorted(world.network.asked) == ["a", "b", "gone"]
    assert world.tell({}) == {}


@ONE_ENGINE
def test_what_was_stored_by_another_process_is_told(world: NotaryWorld, db: OpenDatabase) -> None:
    world.network.add("a")
    assert world.tell({"a": {}}).keys() == {"a"}
    world.settle()
    world.network.direct.clear()
    assert NotaryWorld(db).tell({"a": {KEY: 1}}).keys() == {"a"}


@ONE_ENGINE
def test_what_is_no_longer_good_is_asked_for_again_and_told_nevertheless(world: NotaryWorld) -> None:
    world.network.add("a", valid_ms=HOUR_MS)
    assert world.tell({"a": {KEY: None}}).keys() == {"a"}
    world.clock.advance(2 * HOUR_MS / 1000)
    first = world.tell({"a": {KEY: None}})
    assert first["a"]["valid_until_ts"] == world.clock.now_ms() + HOUR_MS
    world.network.direct.clear()
    world.clock.advance(2 * HOUR_MS / 1000)
    assert world.tell({"a": {KEY: None}}) == first
    assert world.network.asked == ["a"] * 3
    assert world.tell({"a": {}, "b": {}}) == first
    assert world.network.asked == ["a", "a", "a", "b"]


@ONE_ENGINE
def test_many_queries_for_dead_servers_ask_little(world: NotaryWorld) -> None:
    wanted: dict[str, dict[str, int | None]] = {f"dead{number}": {} for number in range(30)}
    for _ in range(5):
        assert world.tell(wanted) == {}
        world.clock.advance(1)
    assert len(world.network.asked) == 30


@ONE_ENGINE
def test_an_answer_too_long_to_be_kept_is_not_told(world: NotaryWorld) -> None:
    old = [VerifyKey(f"ed25519:{'x' * 180}{number}", b"x" * 32, expired_ts=1) for number in range(100)]
    world.network.direct["a"] = lambda: world.network.published("a", DAY_MS, *old)
    assert world.tell({"a": {}}) == {}
    assert world.has("a")
    assert key_of("a").key_id == KEY
