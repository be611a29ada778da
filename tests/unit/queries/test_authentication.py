"""What is remembered of access tokens."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.queries.authentication import Authenticator, Requester
from matrixd.storage.access_tokens import TokenOwner
from matrixd.util.lru import CacheBudget
from tests.support.clock import TestClock

OWNER = TokenOwner(b"hash", "@a:b", 1, "PHONE", 1, "user", False, False, False, None, None)


class SlowDatabase:
    """Answers a read when the test says so."""

    def __init__(self) -> None:
        self.reads: list[Deferred[TokenOwner | None]] = []

    def read(self, function: Callable[..., object], *args: object) -> Deferred[TokenOwner | None]:
        self.reads.append(Deferred())
        return self.reads[-1]


def _authenticator(database: SlowDatabase) -> Authenticator:
    return Authenticator(database, TestClock(), CacheBudget(1_000_000))  # type: ignore[arg-type]


def _ask(authenticator: Authenticator) -> list[object]:
    found: list[object] = []
    Deferred.fromCoroutine(authenticator.requester("token")).addBoth(found.append)
    return found


def test_a_token_is_looked_up_once() -> None:
    database = SlowDatabase()
    authenticator = _authenticator(database)
    first = _ask(authenticator)
    database.reads[0].callback(OWNER)
    assert first == _ask(authenticator)
    assert len(database.reads) == 1
    authenticator.forget_user("@a:b")
    assert _ask(authenticator) == []
    assert len(database.reads) == 2


def test_what_was_read_before_a_logout_is_not_remembered() -> None:
    database = SlowDatabase()
    authenticator = _authenticator(database)
    first = _ask(authenticator)
    authenticator.forget_user("@a:b")
    database.reads[0].callback(OWNER)
    assert isinstance(first[0], Requester)
    again = _ask(authenticator)
    database.reads[1].callback(None)
    error = getattr(again[0], "value", None)
    assert isinstance(error, MatrixError)
    assert error.errcode == "M_UNKNOWN_TOKEN"
