from __future__ import annotations

from matrixd.core.errors import EventRule, EventTooLarge, InvalidEvent, MatrixError, NotCanonical, SignatureInvalid


def test_an_error_carries_its_answer() -> None:
    error = MatrixError(429, "M_LIMIT_EXCEEDED", "Too many requests", retry_after_ms=2000)
    assert error.status == 429
    assert error.body() == {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many requests", "retry_after_ms": 2000}
    assert str(error) == "429 M_LIMIT_EXCEEDED: Too many requests"


def test_extra_members_never_hide_the_error_code() -> None:
    assert MatrixError(400, "M_UNKNOWN", "No", errcode2=1).body()["errcode"] == "M_UNKNOWN"


def test_violations_name_their_rule() -> None:
    assert InvalidEvent(EventRule.FORMAT, "type must be a string").rule is EventRule.FORMAT
    assert str(EventTooLarge("too long")) == "too long"
    assert EventTooLarge("too long").rule is EventRule.SIZE
    assert SignatureInvalid("wrong").rule is EventRule.SIGNATURE
    assert NotCanonical("a float").rule is EventRule.CANONICAL_JSON
