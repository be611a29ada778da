"""Servers that fail are left alone, longer each time, and tried at once when they contact us."""

from __future__ import annotations

import pytest

from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.reachability import RETIRED_MS, SHORT_PAUSES_MS, Pauses, Reachability
from matrixd.storage.destinations import Reach
from tests.support.clock import TestClock

NAME = "there.example"
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
PAUSES = Pauses(min_ms=10 * MINUTE_MS, multiplier=2, max_ms=7 * DAY_MS)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def reachability(clock: TestClock) -> Reachability:
    """Without chance: the factor is exactly 1."""
    return Reachability(clock, PAUSES, chance=lambda: 0.5)


def no_connection() -> RemoteError:
    return RemoteError(NAME, FailureKind.CONNECT, "connection refused")


def http(status: int, errcode: str | None = None, retry_after_ms: int | None = None) -> RemoteError:
    kind = FailureKind.OVERLOADED if status == 429 else FailureKind.HTTP
    return RemoteError(NAME, kind, "no", status=status, errcode=errcode, retry_after_ms=retry_after_ms)


def pause(reachability: Reachability, clock: TestClock) -> int:
    return reachability.next_try_ts(NAME) - clock.ms


def is_refused(reachability: Reachability) -> bool:
    try:
        reachability.check(NAME)
    except RemoteError as error:
        return error.kind is FailureKind.BACKING_OFF
    return False


def test_the_first_pauses_are_short_and_the_later_ones_grow(reachability: Reachability, clock: TestClock) -> None:
    seen = []
    for _ in range(9):
        reachability.failed(NAME, no_connection())
        seen.append(pause(reachability, clock))
        clock.ms = reachability.next_try_ts(NAME)
    assert seen == [*SHORT_PAUSES_MS, 10 * MINUTE_MS, 20 * MINUTE_MS, 40 * MINUTE_MS, 80 * MINUTE_MS]
    assert reachability.is_dead(NAME)


def test_the_pause_has_a_limit_however_often_it_fails(reachability: Reachability, clock: TestClock) -> None:
    for _ in range(2000):
        reachability.failed(NAME, no_connection())
    assert pause(reachability, clock) == PAUSES.max_ms


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 800), (0.999, 1199)])
def test_chance_spreads_the_tries(clock: TestClock, chance: float, expected: int) -> None:
    reachability = Reachability(clock, PAUSES, chance=lambda: chance)
    reachability.failed(NAME, no_connection())
    assert pause(reachability, clock) == expected


def test_an_unknown_path_says_nothing_of_a_server_that_answers_others(
    reachability: Reachability, clock: TestClock
) -> None:
    reachability.succeeded(NAME)
    clock.advance(30)
    reachability.failed(NAME, http(404))
    assert not reachability.failures(NAME)
    clock.advance(31)
    reachability.failed(NAME, http(404))
    assert reachability.failures(NAME) == 1


def test_what_is_sent_waits_though_only_its_path_is_unknown(reachability: Reachability, clock: TestClock) -> None:
    reachability.succeeded(NAME)
    for failures, pause_ms in enumerate(SHORT_PAUSES_MS[:3], 1):
        reachability.failed(NAME, http(404))
        reachability.refused(NAME, http(404))
        assert (reachability.failures(NAME), pause(reachability, clock)) == (failures, pause_ms)
        assert not is_refused(reachability)


def test_one_request_at_a_time_tries_a_server_that_failed(reachability: Reachability, clock: TestClock) -> None:
    reachability.failed(NAME, no_connection())
    assert is_refused(reachability)
    clock.advance(1)
    assert not is_refused(reachability)
    assert is_refused(reachability)
    reachability.succeeded(NAME)
    assert not is_refused(reachability)
    assert not is_refused(reachability)


def test_a_try_that_nobody_told_of_does_not_block_for_ever(reachability: Reachability, clock: TestClock) -> None:
    reachability.failed(NAME, no_connection())
    clock.advance(1)
    assert not is_refused(reachability)
    clock.advance(121)
    assert not is_refused(reachability)


@pytest.mark.parametrize(
    "error",
    [http(403, "M_FORBIDDEN"), http(404, "M_NOT_FOUND"), http(500, "M_UNKNOWN"),
     RemoteError(NAME, FailureKind.TOO_LARGE, "large")],
)
def test_what_a_working_server_answers_is_no_failure(reachability: Reachability, error: RemoteError) -> None:
    reachability.failed(NAME, no_connection())
    reachability.failed(NAME, error)
    assert reachability.failures(NAME) == 0


@pytest.mark.parametrize("error", [http(502, "M_UNKNOWN"), http(404), http(500), http(429, "M_LIMIT_EXCEEDED")])
def test_what_no_working_server_answers_is_a_failure(reachability: Reachability, error: RemoteError) -> None:
    reachability.failed(NAME, error)
    assert reachability.failures(NAME) == 1


@pytest.mark.parametrize("kind", [FailureKind.DENIED, FailureKind.BACKING_OFF, FailureKind.BUSY])
def test_what_this_server_refuses_says_nothing_of_the_other(reachability: Reachability, kind: FailureKind) -> None:
    reachability.failed(NAME, RemoteError(NAME, kind, "not asked"))
    assert reachability.failures(NAME) == 0


def test_an_overloaded_server_says_when_to_come_again(reachability: Reachability, clock: TestClock) -> None:
    reachability.failed(NAME, http(429, "M_LIMIT_EXCEEDED", retry_after_ms=90_000))
    assert pause(reachability, clock) == 90_000
    for _ in range(20):
        reachability.failed(NAME, http(429, "M_LIMIT_EXCEEDED"))
    assert not reachability.is_dead(NAME)


def test_a_refusing_server_holds_back_the_sending_only(reachability: Reachability, clock: TestClock) -> None:
    for _ in range(3):
        reachability.failed(NAME, http(403, "M_FORBIDDEN"))
        reachability.refused(NAME, http(403, "M_FORBIDDEN"))
    assert pause(reachability, clock) == SHORT_PAUSES_MS[2]
    assert not is_refused(reachability)
    reachability.succeeded(NAME)
    assert reachability.failures(NAME) == 3
    reachability.delivered(NAME)
    assert reachability.failures(NAME) == 0


def test_an_error_that_counted_is_not_counted_again(reachability: Reachability) -> None:
    reachability.failed(NAME, no_connection())
    reachability.refused(NAME, no_connection())
    assert reachability.failures(NAME) == 1


def test_a_contact_lets_it_be_tried_at_once_and_wakes(reachability: Reachability, clock: TestClock) -> None:
    woken: list[str] = []
    reachability.on_wake(woken.append)
    for _ in range(8):
        reachability.failed(NAME, no_connection())
    clock.advance(60)
    assert is_refused(reachability)
    reachability.contacted(NAME)
    assert (pause(reachability, clock), woken, reachability.was_contacted(NAME)) == (0, [NAME], True)
    assert not is_refused(reachability)


def test_after_a_contact_several_requests_may_try_it(reachability: Reachability, clock: TestClock) -> None:
    reachability.failed(NAME, no_connection())
    reachability.contacted(NAME)
    assert [is_refused(reachability) for _ in range(3)] == [False] * 3
    clock.ms += 15_000
    assert is_refused(reachability)
    # Who reaches us and did not answer is tried by one at a time.
    reachability.failed(NAME, no_connection())
    clock.ms = reachability.next_try_ts(NAME)
    reachability.contacted(NAME)
    assert [is_refused(reachability) for _ in range(2)] == [False, True]


def test_a_server_that_only_reaches_us_is_not_tried_at_each_contact(
    reachability: Reachability, clock: TestClock
) -> None:
    for _ in range(8):
        reachability.failed(NAME, no_connection())
    tries = 0
    for _ in range(3600):
        clock.advance(1)
        reachability.contacted(NAME)
        if not is_refused(reachability):
            tries += 1
            reachability.failed(NAME, no_connection())
    # 1 + 2 + 5 + 10 + 30 + 60 seconds, and then each five minutes
    assert 15 <= tries <= 20


def test_a_contact_during_a_vain_try_counts(reachability: Reachability, clock: TestClock) -> None:
    for _ in range(8):
        reachability.failed(NAME, no_connection())
    clock.ms = reachability.next_try_ts(NAME)
    assert not is_refused(reachability)
    clock.advance(20)
    reachability.contacted(NAME)
    clock.advance(10)
    reachability.failed(NAME, no_connection())
    assert pause(reachability, clock) <= 1000


def test_a_server_that_is_gone_is_retired_after_an_hour(reachability: Reachability, clock: TestClock) -> None:
    reachability.failed(NAME, http(404))
    assert not reachability.changed()[0].retired
    clock.advance(3601)
    reachability.failed(NAME, http(410))
    assert reachability.changed()[0].retired
    assert pause(reachability, clock) == RETIRED_MS
    reachability.contacted(NAME)
    assert pause(reachability, clock) == 0
    assert not reachability.changed()[0].retired


def test_when_it_answered_last_is_told_with_its_failure(reachability: Reachability, clock: TestClock) -> None:
    reachability.succeeded(NAME)
    answered = clock.ms
    assert reachability.changed() == []
    clock.advance(60)
    reachability.failed(NAME, no_connection())
    assert reachability.changed()[0].last_success_ts == answered


def test_what_changed_is_given_once_and_restored(reachability: Reachability, clock: TestClock) -> None:
    reachability.failed(NAME, no_connection())
    (stored,) = reachability.changed()
    assert stored == Reach(
        NAME, failures=1, since_ts=clock.ms, last_try_ts=clock.ms, next_try_ts=clock.ms + 1000, error_kind="connect",
        error="connection refused",
    )
    assert reachability.changed() == []
    again = Reachability(clock, PAUSES)
    again.restore([stored])
    assert is_refused(again)
    reachability.not_stored([stored])
    assert reachability.changed() == [stored]
