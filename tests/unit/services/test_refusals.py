"""What a client is told when no server helped with a join, a leave or a knock."""

from __future__ import annotations

import pytest

from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.handshakes.servers import UselessAnswer, refusal

CONNECT = RemoteError("a.example", FailureKind.CONNECT, "connection refused")


def http(status: int, errcode: str | None) -> RemoteError:
    return RemoteError("b.example", FailureKind.HTTP, "because", status=status, errcode=errcode)


@pytest.mark.parametrize(
    ("status", "errcode", "told"),
    [
        (403, "M_FORBIDDEN", (403, "M_FORBIDDEN")),
        (404, "M_NOT_FOUND", (404, "M_NOT_FOUND")),
        (400, "M_UNABLE_TO_GRANT_JOIN", (400, "M_UNABLE_TO_GRANT_JOIN")),
        # "The error should be passed through to clients"
        (400, "ORG.EXAMPLE_FULL", (400, "ORG.EXAMPLE_FULL")),
        # "SHOULD fail with a 5xx error rather than being passed through"
        (400, "M_INVALID_PARAM", (502, "M_UNKNOWN")),
        (400, "M_MISSING_PARAM", (502, "M_UNKNOWN")),
        (404, None, (502, "M_UNKNOWN")),
        (500, "M_UNKNOWN", (502, "M_UNKNOWN")),
    ],
)
def test_what_a_server_says_of_the_request_is_passed_on(
    status: int, errcode: str | None, told: tuple[int, str]
) -> None:
    error = refusal([CONNECT, UselessAnswer("c.example", "no event"), http(status, errcode)])
    assert (error.status, error.errcode) == told


def test_known_errors_tell_more_than_others() -> None:
    error = refusal([http(400, "ORG.EXAMPLE_FULL"), http(403, "M_FORBIDDEN")])
    assert error.errcode == "M_FORBIDDEN"
