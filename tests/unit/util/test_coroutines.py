"""Running coroutines that seldom wait."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from matrixd.util.coroutines import run


class _Outcome:
    def __init__(self) -> None:
        self.results: list[object] = []
        self.failures: list[Failure] = []

    def done(self, result: object) -> None:
        self.results.append(result)


def test_one_that_does_not_wait_is_done_at_once() -> None:
    async def work() -> str:
        return await succeed("a") + "b"

    outcome = _Outcome()
    run(work(), outcome.done, outcome.failures.append)
    assert outcome.results == ["ab"]


def test_one_that_waits_goes_on_when_it_can() -> None:
    first: Deferred[str] = Deferred()
    second: Deferred[str] = Deferred()

    async def work() -> str:
        return await first + await second

    outcome = _Outcome()
    run(work(), outcome.done, outcome.failures.append)
    first.callback("a")
    assert outcome.results == []
    second.callback("b")
    assert outcome.results == ["ab"]


def test_what_it_waits_for_may_fail() -> None:
    first: Deferred[str] = Deferred()

    async def work() -> str:
        try:
            return await first
        except KeyError:
            return "caught"

    outcome = _Outcome()
    run(work(), outcome.done, outcome.failures.append)
    first.errback(KeyError())
    assert outcome.results == ["caught"]


def test_what_it_raises_is_not_lost() -> None:
    async def at_once() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        run(at_once(), lambda result: None, lambda failure: None)
    first: Deferred[None] = Deferred()

    async def later() -> None:
        await first
        raise KeyError

    outcome = _Outcome()
    run(later(), outcome.done, outcome.failures.append)
    first.callback(None)
    assert [failure.type for failure in outcome.failures] == [KeyError]
    assert outcome.results == []
