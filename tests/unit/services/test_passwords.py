"""Hashing in threads, and what passwords must have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred, succeed

from matrixd.config.accounts import PasswordPolicy
from matrixd.core.errors import MatrixError
from matrixd.services.password_hashing import PasswordHasher
from matrixd.services.passwords import validate_new_password
from matrixd.util import passwords

LAX = PasswordPolicy(False, 99, True, True, True, True)
STRICT = PasswordPolicy(True, 8, True, True, True, True)


class Threads:
    """Stands for threads: work waits until the test lets it run."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[object], Callable[[], object]]] = []

    def run(self, function: Callable[..., object], *args: object) -> Deferred[object]:
        done: Deferred[object] = Deferred()
        self.waiting.append((done, lambda: function(*args)))
        return done

    def finish_one(self) -> None:
        done, work = self.waiting.pop(0)
        done.callback(work())


def _immediately(function: Callable[..., object], *args: object) -> Deferred[object]:
    return succeed(function(*args))


def _result(work: object) -> object:
    found: list[object] = []
    Deferred.fromCoroutine(work).addBoth(found.append)  # type: ignore[arg-type]
    return found[0]


def test_a_hash_is_checked_with_the_pepper() -> None:
    hasher = PasswordHasher(4, "pepper", _immediately)
    stored = _result(hasher.hash("secret"))
    assert isinstance(stored, str)
    assert _result(hasher.is_password("secret", stored)) is True
    assert _result(hasher.is_password("Secret", stored)) is False
    assert _result(PasswordHasher(4, "", _immediately).is_password("secret", stored)) is False


def test_nobodys_password_is_never_right_but_is_hashed() -> None:
    threads = Threads()
    hasher = PasswordHasher(4, "", threads.run)
    answers: list[bool] = []
    for _ in range(2):
        Deferred.fromCoroutine(hasher.is_password("nobody's password", None)).addCallback(answers.append)
        work = 0
        while threads.waiting:
            threads.finish_one()
            work += 1
        assert work >= 1
    assert answers == [False, False]


def test_only_a_few_hash_at_once_and_only_so_many_wait() -> None:
    threads = Threads()
    hasher = PasswordHasher(4, "", threads.run, concurrency=2)
    results: list[object] = []
    for _ in range(210):
        Deferred.fromCoroutine(hasher.hash("secret")).addBoth(results.append)
    assert len(threads.waiting) == 2
    refused = [getattr(result, "value", None) for result in results]
    assert len(refused) == 8
    assert all(isinstance(error, MatrixError) and error.errcode == "M_LIMIT_EXCEEDED" for error in refused)
    threads.finish_one()
    assert len(threads.waiting) == 2


def test_hashes_that_synapse_cut_off_at_72_bytes_still_count() -> None:
    long = "ü" * 50
    cut_off = passwords.hash_password((long.encode()[:72]).decode(), 4)
    assert passwords.is_password(long, cut_off)
    assert not passwords.is_password("ü" * 35 + "x" * 50, cut_off)
    own = passwords.hash_password(long, 4)
    assert passwords.is_password(long, own)
    assert not passwords.is_password(long + "x", own)


@pytest.mark.parametrize("password", ["", "x" * 513, "ü" * 257, "a\0b"])
def test_what_can_be_no_password(password: str) -> None:
    with pytest.raises(MatrixError) as caught:
        validate_new_password(password, LAX)
    assert caught.value.errcode == "M_INVALID_PARAM"


def test_a_policy_names_all_that_is_missing() -> None:
    validate_new_password("x", LAX)
    validate_new_password("Str0ng enough", STRICT)
    with pytest.raises(MatrixError) as caught:
        validate_new_password("x", STRICT)
    assert caught.value.errcode == "M_WEAK_PASSWORD"
    assert caught.value.error == (
        "The password must have at least 8 characters, a digit, a symbol, an upper-case letter."
    )
