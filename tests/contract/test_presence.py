"""Presence: devices put together, idleness, what is announced, and who may see it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from matrixd.config.ratelimits import RateLimit
from matrixd.core.errors import MatrixError
from matrixd.queries.presence import Presence as PresenceQueries
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.services.presence import Mode, Presence
from matrixd.storage.rows import PresenceRow
from matrixd.util.lru import CacheBudget
from matrixd.util.ratelimit import RateLimiter
from tests.support.database import OpenDatabase
from tests.support.kept import Kept

PHONE, LAPTOP = 1, 2
UNLIMITED = RateLimit(1e6, 1e6)


class World:
    """Alice with two devices, and Bob who shares a room with her."""

    def __init__(self, db: OpenDatabase, mode: Mode = "local", rate: RateLimit = UNLIMITED) -> None:
        self.kept = Kept(db)
        self.timer = Clock()
        self.timer.rightNow = 1_000_000.0
        self.index = UserRoomsIndex(db.database, self.kept.feed, CacheBudget(1_000_000))
        self.queries = PresenceQueries(db.database, self.kept.feed, self.index, self)
        self.presence = Presence(
            db.database, self.kept.feed, self, self.timer, mode, RateLimiter(rate), self._in_background
        )
        self.announced: list[PresenceRow] = []
        self.kept.feed.subscribe(PresenceRow, self.announced.append)
        self.alice, self.alice_id = self.kept.user("alice")
        self.bob, self.bob_id = self.kept.user("bob")
        self.room = self.kept.room("room")
        self.kept.join(self.room, self.alice, self.alice_id)
        self.kept.join(self.room, self.bob, self.bob_id)

    def now_ms(self) -> int:
        return round(self.timer.seconds() * 1000)

    def monotonic(self) -> float:
        return self.timer.seconds()

    def _in_background(self, what: str, work: Coroutine[Any, Any, object]) -> None:
        self.kept.db.wait(Deferred.fromCoroutine(work))

    def sync(self, device: int, state: Any = "online") -> None:
        self.presence.sync_begins(self.alice, self.alice_id, device, state)

    def done(self, device: int, state: Any = "online") -> None:
        self.presence.sync_ends(self.alice, device, state)

    def put(self, state: Any, status_msg: str | None = None, device: int = PHONE) -> None:
        self.kept.run(self.presence.put(self.alice, self.alice_id, device, state, status_msg))

    def get(self, asking: int | None = None) -> dict[str, Any]:
        return self.kept.run(self.presence.get(self.bob if asking is None else asking, self.alice_id))

    def states(self) -> list[tuple[str, bool]]:
        """What was announced since the last call."""
        self.timer.advance(0.25)
        found = [(row.state, row.currently_active) for row in self.announced]
        self.announced.clear()
        return found


@pytest.fixture
def world(db: OpenDatabase) -> World:
    return World(db)


def test_someone_who_syncs_is_online_until_half_a_minute_after(world: World) -> None:
    assert world.get() == {"presence": "offline"}
    world.sync(PHONE)
    assert world.states() == [("online", True)]
    world.done(PHONE)
    for _ in range(5):
        world.timer.advance(10)
        world.sync(PHONE)
        world.done(PHONE)
    assert world.states() == []
    world.timer.advance(15)
    assert world.states() == [("online", False)]
    world.timer.advance(15)
    assert world.states() == [("offline", False)]
    assert world.get() == {"presence": "offline", "last_active_ago": pytest.approx(80_000, abs=2000)}
    assert world.timer.getDelayedCalls() == []


def test_the_best_of_several_devices_counts(world: World) -> None:
    world.sync(PHONE, "unavailable")
    assert world.states() == [("unavailable", False)]
    world.sync(LAPTOP)
    assert world.states() == [("online", True)]
    world.presence.logged_out(world.alice, LAPTOP)
    assert world.states() == [("unavailable", False)]


def test_a_sync_that_shall_not_mark_as_online_changes_nothing(world: World) -> None:
    world.sync(LAPTOP, "offline")
    world.done(LAPTOP, "offline")
    assert world.states() == []
    world.sync(PHONE)
    world.done(PHONE)
    world.timer.advance(20)
    world.sync(PHONE, "offline")
    assert world.states() == [("online", True)]
    world.timer.advance(10)
    world.done(PHONE, "offline")
    assert world.states() == [("offline", False)]


def test_who_does_nothing_becomes_idle_and_wakes_up_by_sending(world: World) -> None:
    world.sync(PHONE)
    world.states()
    world.timer.advance(61)
    assert world.states() == [("online", False)]
    world.timer.advance(240)
    assert world.states() == [("unavailable", False)]
    world.sync(PHONE)
    assert world.states() == []
    world.kept.event(world.room, world.alice, world.alice_id, device_nid=PHONE)
    assert world.states() == [("online", True)]


def test_what_happens_within_a_moment_is_announced_once(world: World) -> None:
    world.sync(PHONE)
    world.done(PHONE)
    world.sync(LAPTOP, "unavailable")
    world.presence.logged_out(world.alice, PHONE)
    assert world.states() == [("unavailable", False)]


def test_a_status_message_outlives_the_server(world: World) -> None:
    world.put("unavailable", "gone fishing")
    assert [row.status_msg for row in world.announced] == ["gone fishing"]
    again = World.__new__(World)
    again.kept, again.timer, again.announced = world.kept, world.timer, []
    again.alice, again.alice_id, again.bob = world.alice, world.alice_id, world.bob
    again.presence = Presence(
        world.kept.db.database, world.kept.feed, world, world.timer, "local", RateLimiter(RateLimit(1, 1)),
        world._in_background,
    )
    assert again.get()["status_msg"] == "gone fishing"
    again.sync(PHONE)
    assert again.get() == {
        "presence": "online", "currently_active": True, "last_active_ago": 0, "status_msg": "gone fishing"
    }  # fmt: skip
    again.put("online")
    assert "status_msg" not in again.get()


def test_only_who_shares_a_room_may_see_it(world: World) -> None:
    carol, _ = world.kept.user("carol")
    with pytest.raises(MatrixError) as error:
        world.get(carol)
    assert (error.value.status, error.value.errcode) == (403, "M_FORBIDDEN")
    world.put("online")
    now = world.kept.feed.token
    expected = [
        {
            "type": "m.presence", "sender": world.alice_id,
            "content": {"presence": "online", "currently_active": True, "last_active_ago": 0},
        }
    ]  # fmt: skip
    for _ in range(2):
        assert world.kept.run(world.queries.between(world.bob, None, now)) == expected
        assert world.kept.run(world.queries.between(world.alice, None, now)) == expected
        assert world.kept.run(world.queries.between(carol, None, now)) == []
        for user in (world.alice, world.bob, carol):
            world.kept.run(world.index.get(user))
    assert world.kept.run(world.queries.between(world.bob, now, now)) == []
    absent = {"type": "m.presence", "sender": world.bob_id, "content": {"presence": "offline"}}
    assert world.queries.of_users({world.alice: world.alice_id, world.bob: world.bob_id}) == [*expected, absent]


def test_a_status_message_has_a_limit(world: World) -> None:
    with pytest.raises(MatrixError) as error:
        world.put("online", "x" * 1025)
    assert (error.value.status, error.value.errcode) == (400, "M_INVALID_PARAM")


def test_when_it_is_off_nothing_happens(db: OpenDatabase) -> None:
    world = World(db, "off")
    world.sync(PHONE)
    world.put("online", "here")
    world.done(PHONE)
    assert world.states() == []
    assert world.get() == {"presence": "offline"}


def test_syncs_change_the_presence_only_so_often(db: OpenDatabase) -> None:
    world = World(db, rate=RateLimit(0.1, 1))
    world.sync(PHONE)
    assert world.states() == [("online", True)]
    world.sync(PHONE, "unavailable")
    assert world.states() == []
    world.timer.advance(11)
    world.sync(PHONE, "unavailable")
    assert [state for state, _ in world.states()] == ["unavailable"]
    # What a user chooses is not a sync.
    world.put("online")
    assert [state for state, _ in world.states()] == ["online"]
