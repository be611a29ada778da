"""The turnstile: few at once, the hasty wait, the hastier are turned away."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from matrixd.util import turnstile
from matrixd.util.turnstile import TurnedAway, Turnstile


@dataclass(frozen=True)
class Limits:
    window_size_ms: int = 1000
    sleep_limit: int = 100
    sleep_delay_ms: int = 500
    reject_limit: int = 2
    concurrent: int = 2


class _Clock:
    def __init__(self, reactor: Clock) -> None:
        self._reactor = reactor

    def now_ms(self) -> int:
        return int(self._reactor.seconds() * 1000)

    def monotonic(self) -> float:
        return float(self._reactor.seconds())


class Comer:
    """One who comes: has it entered, or was it turned away?"""

    def __init__(self, entering: Coroutine[Any, Any, None]) -> None:
        self.is_in = self.is_away = False
        Deferred.fromCoroutine(self._come(entering))

    async def _come(self, entering: Coroutine[Any, Any, None]) -> None:
        try:
            await entering
            self.is_in = True
        except TurnedAway:
            self.is_away = True


Enter = Callable[[str], Comer]


def _turnstile(limits: Limits) -> tuple[Turnstile, Clock, Enter]:
    reactor = Clock()
    made = Turnstile(limits, _Clock(reactor), reactor.callLater)
    return made, reactor, lambda key: Comer(made.enter(key))


def test_few_are_in_at_once_for_each_key() -> None:
    made, _, enter = _turnstile(Limits())
    first = [enter("a") for _ in range(4)]
    assert [each.is_in for each in first] == [True, True, False, False]
    assert enter("b").is_in
    made.leave("a")
    assert [each.is_in for each in first] == [True, True, True, False]
    for _ in range(3):
        made.leave("a")
    assert all(each.is_in for each in first)
    assert enter("a").is_in


def test_further_ones_are_turned_away() -> None:
    made, _, enter = _turnstile(Limits())
    for _ in range(4):
        enter("a")
    assert enter("a").is_away
    made.leave("a")
    waiting = enter("a")
    assert (waiting.is_in, waiting.is_away) == (False, False)


def test_who_comes_too_often_waits() -> None:
    _, reactor, enter = _turnstile(Limits(sleep_limit=2, concurrent=10, reject_limit=5))
    first, second, late = enter("a"), enter("a"), enter("a")
    assert [first.is_in, second.is_in, late.is_in] == [True, True, False]
    reactor.advance(0.5)
    assert late.is_in
    reactor.advance(1.0)
    assert enter("a").is_in


def test_sleepers_count_as_waiting() -> None:
    _, _, enter = _turnstile(Limits(sleep_limit=0, reject_limit=2))
    assert [enter("a").is_away for _ in range(3)] == [False, False, True]


def test_idle_keys_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "_MAX_KEYS", 3)
    made, reactor, enter = _turnstile(Limits())
    for key in "abc":
        enter(key)
    made.leave("a")
    made.leave("b")
    reactor.advance(2)
    enter("d")
    assert made.keys() == {"c", "d"}
