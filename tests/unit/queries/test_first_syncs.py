"""First syncs are shared while they are made, and kept for a client that could not take its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred

from matrixd.core.filters import EMPTY_FILTER
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.sync.first_syncs import FirstSyncs
from matrixd.queries.sync.request import SyncRequest
from matrixd.util.lru import CacheBudget

KEEP_MS = 1000


@dataclass
class _Clock:
    ms: int = 0

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@dataclass
class _Server:
    clock: _Clock = field(default_factory=_Clock)
    making: list[Deferred[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first_syncs = FirstSyncs(self.clock, CacheBudget(1_000_000), KEEP_MS)

    async def make(self) -> bytes:
        self.making.append(Deferred())
        return await self.making[-1]

    def ask(self, device_nid: int) -> tuple[list[bytes], list[Callable[[], None]]]:
        """What has been answered, and what to call when the client goes away."""
        request = SyncRequest(Viewer("@a:x", 1, device_nid), device_nid, None, EMPTY_FILTER, False, False)
        answers: list[bytes] = []
        gone: list[Callable[[], None]] = []
        deferred: Deferred[Any] = Deferred.fromCoroutine(self.first_syncs.answer(request, self.make, gone.append))
        deferred.addCallback(answers.append)
        return answers, gone


def test_who_asks_meanwhile_shares_the_answer() -> None:
    server = _Server()
    first, second, other = server.ask(1)[0], server.ask(1)[0], server.ask(2)[0]
    assert len(server.making) == 2
    server.making[0].callback(b"one")
    assert (first, second, other) == ([b"one"], [b"one"], [])


def test_an_answer_that_was_taken_is_not_given_again() -> None:
    server = _Server()
    server.ask(1)
    server.making[0].callback(b"old")
    answers, _ = server.ask(1)
    assert answers == []
    server.making[1].callback(b"new")
    assert answers == [b"new"]


def test_an_answer_that_nobody_took_waits_for_the_next_attempt_and_is_given_once() -> None:
    server = _Server()
    _, gone = server.ask(1)
    gone[0]()
    server.making[0].callback(b"large")
    assert server.ask(1)[0] == [b"large"]
    assert server.ask(1)[0] == []


def test_it_does_not_wait_for_ever() -> None:
    server = _Server()
    _, gone = server.ask(1)
    gone[0]()
    server.making[0].callback(b"large")
    server.clock.ms = KEEP_MS
    assert server.ask(1)[0] == []
