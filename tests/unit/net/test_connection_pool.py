"""Connections that are handed out, kept and shared, without a network."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from matrixd.net.connection_pool import ConnectionPool, PoolFull, PoolLimits


class FakeConnection:
    """Open until it is lost."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.is_open = True
        self.on_idle: Callable[[Any], None] = lambda _: None
        self.on_lost: Callable[[Any], None] = lambda _: None

    def finish(self) -> None:
        """Its answer is complete."""
        self.on_idle(self)

    def lose(self) -> None:
        """The other side closes it."""
        self.is_open = False
        self.on_lost(self)

    def abort_now(self) -> None:
        self.is_open = False


class World:
    def __init__(self, **limits: float) -> None:
        self.clock = Clock()
        self.opened: list[FakeConnection] = []
        self.opening: list[Deferred[None]] = []
        self.is_slow = False
        self.pool = ConnectionPool(self.clock, self._connect, PoolLimits(**limits))  # type: ignore[arg-type]

    async def _connect(self, destination: str) -> Any:
        if self.is_slow:
            waiting: Deferred[None] = Deferred()
            self.opening.append(waiting)
            await waiting
        made = FakeConnection(destination)
        self.opened.append(made)
        return made

    def take(self, destination: str = "a", *, fresh: bool = False) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.pool.take(destination, fresh=fresh))

    def taken(self, destination: str = "a", *, fresh: bool = False) -> FakeConnection:
        got: list[FakeConnection] = []
        self.take(destination, fresh=fresh).addCallback(got.append)
        (connection,) = got
        return connection


def test_the_one_used_last_is_used_again() -> None:
    world = World()
    first, second = world.taken(), world.taken()
    first.finish()
    second.finish()
    assert (world.taken(), world.taken()) == (second, first)
    assert (world.pool.open, world.pool.idle) == (2, 0)


def test_destinations_share_none() -> None:
    world = World()
    world.taken("a").finish()
    assert world.taken("b").destination == "b"
    assert len(world.opened) == 2


def test_one_that_is_lost_is_not_used() -> None:
    world = World()
    first = world.taken()
    first.finish()
    first.lose()
    assert world.pool.open == 0
    assert world.taken() is not first


def test_a_fresh_one_is_new_and_takes_the_place_of_an_idle_one() -> None:
    world = World(per_destination=1)
    old = world.taken()
    old.finish()
    assert world.taken(fresh=True) is not old
    assert (old.is_open, world.pool.open) == (False, 1)


def test_who_waits_comes_in_turn() -> None:
    world = World(per_destination=1)
    first = world.taken()
    order: list[int] = []

    def served(connection: FakeConnection, number: int) -> None:
        order.append(number)
        connection.finish()

    for number in range(3):
        world.take().addCallback(served, number)
    assert order == []
    first.finish()
    assert order == [0, 1, 2]
    assert (len(world.opened), world.pool.idle) == (1, 1)


def test_a_lost_connection_makes_room() -> None:
    world = World(per_destination=1)
    first = world.taken()
    waiting = world.take()
    first.lose()
    assert waiting.called
    assert len(world.opened) == 2


def test_a_failure_to_connect_makes_room_too() -> None:
    world = World(per_destination=1)
    world.is_slow = True
    first, second = world.take(), world.take()
    world.opening[0].errback(OSError("no"))
    first.addErrback(lambda reason: reason.trap(OSError))
    assert len(world.opening) == 2
    world.opening[1].callback(None)
    assert (second.called, world.pool.open) == (True, 1)


def test_the_idle_ones_of_others_make_room() -> None:
    world = World(connections=2)
    for destination in "ab":
        world.taken(destination).finish()
    world.taken("c")
    assert [connection.is_open for connection in world.opened] == [False, True, True]
    assert world.pool.open == 2


def test_others_get_the_place_of_one_that_nobody_needs() -> None:
    world = World(connections=1)
    first = world.taken("a")
    waiting = [world.take("b"), world.take("b"), world.take("c")]
    first.finish()
    assert [each.called for each in waiting] == [True, False, False]
    world.opened[-1].finish()
    assert [each.called for each in waiting] == [True, True, False]
    world.opened[-1].finish()
    assert [each.called for each in waiting] == [True, True, True]
    assert world.pool.open == 1


def test_not_too_many_wait() -> None:
    world = World(per_destination=1, waiting=2)
    world.taken()
    waiting = [world.take() for _ in range(2)]
    world.take().addErrback(lambda reason: reason.trap(PoolFull))
    for each in waiting:
        each.addErrback(lambda reason: reason.trap(PoolFull))
        each.cancel()
    assert world.opened[0].is_open
    world.opened[0].finish()
    assert world.pool.idle == 1


def test_idle_ones_are_closed_after_a_while() -> None:
    world = World(idle_s=10)
    first, second = world.taken(), world.taken()
    first.finish()
    world.clock.advance(6)
    second.finish()
    world.clock.advance(5)
    assert (first.is_open, second.is_open) == (False, True)
    world.clock.advance(5)
    assert not second.is_open
    assert world.clock.getDelayedCalls() == []


def test_old_ones_are_not_kept() -> None:
    world = World(age_s=100)
    first = world.taken()
    world.clock.advance(101)
    first.finish()
    assert not first.is_open


@pytest.mark.parametrize("seed", range(20))
def test_the_books_are_right_whatever_happens(seed: int) -> None:
    chance = random.Random(seed)
    world = World(connections=5, per_destination=2, waiting=50)
    held: list[FakeConnection] = []
    asked = finished = 0
    for _ in range(300):
        action = chance.random()
        if action < 0.5:
            asked += 1
            world.take(chance.choice("abcd"), fresh=chance.random() < 0.2).addCallback(held.append)
        elif held:
            connection = held.pop(chance.randrange(len(held)))
            finished += 1
            connection.finish() if action < 0.9 else connection.lose()
        assert len(held) + world.pool.idle == world.pool.open <= 5
        for destination in "abcd":
            assert sum(each.destination == destination for each in held) <= 2
    while held:
        finished += 1
        held.pop().finish()
    assert (world.pool.open, finished) == (world.pool.idle, asked)
