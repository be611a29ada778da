"""Flows of several stages, and the stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.services.tokens import TokenMaker
from matrixd.services.uia import AuthenticationNeeded, InteractiveAuthentication, Operation, Proof, Stage, StageFailed
from matrixd.services.uia_stages import DummyStage, TermsStage
from matrixd.storage import uia_sessions
from matrixd.storage.transaction import Transaction
from matrixd.util.randomness import SystemRandomness
from tests.support.clock import TestClock
from tests.support.database import DatabasePlace, OpenDatabase

FLOWS = (("terms", "code"), ("terms", "dummy"))
POLICIES = {"privacy": {"version": "1.2", "en": {"name": "Privacy", "url": "https://example.org/privacy"}}}


OPERATION = Operation("POST /x", FLOWS)


class CodeStage:
    """Succeeds with the right code."""

    def params(self) -> Mapping[str, Any] | None:
        return None

    async def check(self, auth: Mapping[str, Any], user_id: str | None) -> str:
        if auth.get("code") != "right":
            raise StageFailed("M_FORBIDDEN", "The code is wrong.")
        return "code"


class Driver:
    """Authenticates for operations."""

    def __init__(self, db: OpenDatabase) -> None:
        self.db = db
        stages: dict[str, Stage] = {"terms": TermsStage(POLICIES), "code": CodeStage(), "dummy": DummyStage()}
        self.uia = InteractiveAuthentication(db.database, TestClock(), TokenMaker(SystemRandomness()), stages)

    def attempt(self, auth: Mapping[str, Any] | None, operation: Operation = OPERATION) -> Proof:
        """One request."""
        return self.db.wait(
            Deferred.fromCoroutine(self.uia.authenticate(operation, auth, {"first": "request"}))
        )

    def needed(self, auth: Mapping[str, Any] | None, operation: Operation = OPERATION) -> Any:
        """The body of the 401 answer to one request."""
        with pytest.raises(AuthenticationNeeded) as caught:
            self.attempt(auth, operation)
        return caught.value.body


@pytest.fixture
def driver(new_database: Callable[..., DatabasePlace]) -> Iterator[Driver]:
    """A driver on a fresh database."""
    db = OpenDatabase(new_database("sqlite3"))
    yield Driver(db)
    db.close()


def test_the_first_answer_tells_flows_and_parameters(driver: Driver) -> None:
    body = driver.needed(None)
    assert body["flows"] == [{"stages": ["terms", "code"]}, {"stages": ["terms", "dummy"]}]
    assert body["params"] == {"terms": {"policies": POLICIES}}
    assert body["completed"] == []
    assert "errcode" not in body


def test_stages_are_completed_one_after_the_other(driver: Driver) -> None:
    session = driver.needed({"type": "terms"})
    assert session["completed"] == ["terms"]
    auth = {"session": session["session"]}
    wrong = driver.needed({**auth, "type": "code", "code": "wrong"})
    assert (wrong["errcode"], wrong["error"], wrong["completed"]) == ("M_FORBIDDEN", "The code is wrong.", ["terms"])
    proof = driver.attempt({**auth, "type": "code", "code": "right"})
    assert proof.completed == {"terms": "privacy:1.2", "code": "code"}
    assert proof.request == {"first": "request"}


def test_any_flow_will_do(driver: Driver) -> None:
    session = driver.needed({"type": "terms"})["session"]
    assert set(driver.attempt({"session": session, "type": "dummy"}).completed) == {"terms", "dummy"}


def test_stages_must_be_in_the_order_of_a_flow(driver: Driver) -> None:
    body = driver.needed({"type": "dummy"})
    assert body["completed"] == []
    assert "dummy" in body["error"]
    assert driver.needed({"session": body["session"]})["completed"] == []


def test_a_completed_stage_is_not_done_again(driver: Driver) -> None:
    session = driver.needed({"type": "terms"})["session"]
    assert driver.needed({"type": "terms", "session": session})["completed"] == ["terms"]


@pytest.mark.parametrize("nonsense", [7, ["terms"], {}, True])
@pytest.mark.parametrize("name", ["type", "session"])
def test_nonsense_is_named(driver: Driver, name: str, nonsense: object) -> None:
    with pytest.raises(MatrixError) as caught:
        driver.attempt({name: nonsense})
    assert (caught.value.status, caught.value.errcode) == (400, "M_BAD_JSON")
    assert f"'auth.{name}'" in caught.value.error


def test_a_finished_session_is_gone(driver: Driver) -> None:
    session = driver.needed({"type": "terms"})["session"]
    driver.attempt({"session": session, "type": "dummy"})
    assert driver.needed({"session": session, "type": "dummy"})["session"] != session


def test_the_proof_of_the_last_stage_is_not_kept(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    session = driver.needed({"type": "terms"})["session"]
    monkeypatch.setattr(uia_sessions, "take", _crash)
    with pytest.raises(OSError, match="killed"):
        driver.attempt({"session": session, "type": "dummy"})
    monkeypatch.undo()
    assert driver.needed({"session": session})["completed"] == ["terms"]


def _crash(tx: Transaction, session_id: str) -> bool:
    raise OSError("killed")


def test_a_repeatable_operation_keeps_its_session(driver: Driver) -> None:
    operation = Operation("POST /x", FLOWS, repeatable=True)
    session = driver.needed({"type": "terms"}, operation)["session"]
    for _ in range(2):
        assert driver.attempt({"session": session, "type": "dummy"}, operation).session_id == session


def test_sessions_of_others_are_refused(driver: Driver) -> None:
    session = driver.needed({"type": "terms"})["session"]
    for other in (Operation("POST /y", FLOWS), Operation("POST /x", FLOWS, "@a:b", 1)):
        with pytest.raises(MatrixError) as caught:
            driver.attempt({"session": session, "type": "dummy"}, other)
        assert (caught.value.status, caught.value.errcode) == (403, "M_FORBIDDEN")


def test_an_operation_that_cannot_be_confirmed(driver: Driver) -> None:
    with pytest.raises(MatrixError) as caught:
        driver.attempt(None, Operation("POST /x", ()))
    assert caught.value.status == 403


def test_sessions_outlive_a_restart(driver: Driver) -> None:
    session = driver.needed({"type": "terms"})["session"]
    again = Driver(driver.db)
    assert set(again.attempt({"session": session, "type": "dummy"}).completed) == {"terms", "dummy"}
