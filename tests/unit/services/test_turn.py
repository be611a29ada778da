"""TURN credentials."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.services.turn import Turn, TurnCredentials
from tests.support.kept import FakeClock

URIS = ("turn:turn.example.org?transport=udp",)


def turn(**options: Any) -> Turn:
    settings: dict[str, Any] = {
        "uris": URIS, "shared_secret": None, "username": None, "password": None, "lifetime_ms": 3_600_000,
        "allow_guests": False,
    }  # fmt: skip
    return Turn(FakeClock(5_000_000), **{**settings, **options})


def test_a_shared_secret_gives_each_user_credentials_that_expire() -> None:
    found = turn(shared_secret="s3cret").credentials("@alice:example.org", is_guest=False)
    assert found.username == "8600:@alice:example.org"
    mac = hmac.new(b"s3cret", found.username.encode(), hashlib.sha1).digest()
    assert found.password == base64.b64encode(mac).decode()
    assert (found.uris, found.ttl) == (URIS, 3600)


def test_a_fixed_user_name_and_password() -> None:
    found = turn(username="name", password="word").credentials("@alice:example.org", is_guest=False)
    assert found == TurnCredentials("name", "word", URIS, 3600)


@pytest.mark.parametrize("options", [{}, {"uris": (), "shared_secret": "s3cret"}, {"username": "name"}])
def test_without_a_turn_server_there_is_nothing_to_find(options: dict[str, Any]) -> None:
    with pytest.raises(MatrixError) as error:
        turn(**options).credentials("@alice:example.org", is_guest=False)
    assert (error.value.status, error.value.errcode) == (404, "M_NOT_FOUND")


def test_guests_only_where_they_may() -> None:
    with pytest.raises(MatrixError) as error:
        turn(shared_secret="s3cret").credentials("@1:example.org", is_guest=True)
    assert error.value.errcode == "M_GUEST_ACCESS_FORBIDDEN"
    assert turn(shared_secret="s3cret", allow_guests=True).credentials("@1:example.org", is_guest=True).uris == URIS
