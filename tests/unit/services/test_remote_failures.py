"""What clients are told of other servers' failures."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.remote_failures import told


@pytest.mark.parametrize(
    ("kind", "more", "status", "errcode"),
    [
        (FailureKind.HTTP, {"status": 404, "errcode": "M_NOT_FOUND"}, 404, "M_NOT_FOUND"),
        (FailureKind.HTTP, {"status": 404}, 404, "M_NOT_FOUND"),
        (FailureKind.HTTP, {"status": 404, "errcode": "M_UNRECOGNIZED"}, 502, "M_UNKNOWN"),
        (FailureKind.HTTP, {"status": 403, "errcode": "M_FORBIDDEN"}, 403, "M_FORBIDDEN"),
        (FailureKind.HTTP, {"status": 500}, 502, "M_UNKNOWN"),
        (FailureKind.HTTP, {"status": 401, "errcode": "M_UNAUTHORIZED"}, 502, "M_UNKNOWN"),
        (FailureKind.OVERLOADED, {"status": 429, "retry_after_ms": 5}, 429, "M_LIMIT_EXCEEDED"),
        (FailureKind.DENIED, {}, 403, "M_FORBIDDEN"),
        (FailureKind.BUSY, {}, 503, "M_UNKNOWN"),
        (FailureKind.TIMEOUT, {}, 504, "M_UNKNOWN"),
        (FailureKind.DNS, {}, 502, "M_UNKNOWN"),
        (FailureKind.BAD_ANSWER, {}, 502, "M_UNKNOWN"),
        (FailureKind.BACKING_OFF, {}, 502, "M_UNKNOWN"),
    ],
)
def test_each_failure_is_told(kind: FailureKind, more: dict[str, Any], status: int, errcode: str) -> None:
    error = told(RemoteError("far.example", kind, "So it is.", **more), "the alias #a:far.example")
    assert (error.status, error.errcode) == (status, errcode)
    assert "far.example" in error.error
    assert error.body().get("retry_after_ms") == more.get("retry_after_ms")
