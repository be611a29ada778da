"""The stores of tokens and of authentication sessions, on both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from matrixd.storage import (
    access_tokens,
    accounts,
    login_tokens,
    openid_tokens,
    refresh_tokens,
    registration_tokens,
    uia_sessions,
)
from matrixd.storage.access_tokens import TokenOwner
from matrixd.storage.refresh_tokens import RefreshToken
from matrixd.storage.registration_tokens import RegistrationToken
from matrixd.storage.transaction import Transaction
from matrixd.storage.uia_sessions import UiaSession
from tests.contract.test_accounts import ALICE, make_account, make_device
from tests.support.database import OpenDatabase

A, B, C = b"\x00a" * 16, b"\xffb" * 16, b"c" * 32


@pytest.fixture
def device_nid(db: OpenDatabase) -> int:
    """The device of Alice, whose number is 1."""
    return db.write(lambda tx: make_device(tx, make_account(tx).user_nid)).device_nid


def _deactivate(tx: Transaction) -> None:
    account = accounts.by_nid(tx, 1)
    assert account is not None
    accounts.deactivate(tx, account, False, 1)


# Access tokens


def test_the_owner_of_an_access_token(db: OpenDatabase, device_nid: int) -> None:
    db.write(access_tokens.create, A, 1, device_nid, 5, 10)
    expected = TokenOwner(A, ALICE, 1, "PHONE", device_nid, "user", False, False, False, 10, None)
    assert db.read(access_tokens.by_hash, A) == expected
    assert db.read(access_tokens.by_hash, B) is None
    db.write(_deactivate)
    assert db.read(access_tokens.by_hash, A) is None


def test_access_tokens_end_with_their_device(db: OpenDatabase, device_nid: int) -> None:
    db.write(access_tokens.create, A, 1, device_nid, 5)
    db.write(access_tokens.create, B, 1, device_nid, 5)
    assert db.write(access_tokens.delete_of_devices, [device_nid + 1]) == 0
    assert db.write(access_tokens.delete_of_devices, []) == 0
    assert db.write(access_tokens.delete_of_devices, [device_nid]) == 2
    assert db.read(access_tokens.by_hash, A) is None


def test_access_tokens_expire(db: OpenDatabase, device_nid: int) -> None:
    db.write(access_tokens.create, A, 1, device_nid, 5, 10)
    db.write(access_tokens.create, B, 1, device_nid, 5, None)
    assert db.write(access_tokens.expire, 10) == 0
    assert db.write(access_tokens.expire, 11) == 1
    assert db.read(access_tokens.by_hash, B) is not None


# Refresh tokens


def test_a_refresh_token_is_revoked_when_its_successor_is_used(db: OpenDatabase, device_nid: int) -> None:
    old = db.write(refresh_tokens.create, A, 1, device_nid, None, 99)
    new = db.write(refresh_tokens.create, B, 1, device_nid, 50, 99, old)
    db.write(access_tokens.create, C, 1, device_nid, 5, 10, new)
    assert db.read(refresh_tokens.by_hash, A) == RefreshToken(old, 1, ALICE, device_nid, "PHONE", False, None, 99)
    owner = db.read(access_tokens.by_hash, C)
    assert owner is not None
    assert owner.unused_refresh_nid == new
    for _ in range(2):
        db.write(refresh_tokens.used, new)
    assert db.read(refresh_tokens.by_hash, A) is None
    assert db.read(refresh_tokens.by_hash, B) is not None
    owner = db.read(access_tokens.by_hash, C)
    assert owner is not None
    assert owner.unused_refresh_nid is None


def test_successors_that_are_not_used_are_bounded(db: OpenDatabase, device_nid: int) -> None:
    old = db.write(refresh_tokens.create, A, 1, device_nid, None, None)
    for number in range(6):
        db.write(refresh_tokens.create, bytes([number]) * 32, 1, device_nid, None, None, old)
    found = [db.read(refresh_tokens.by_hash, bytes([number]) * 32) is not None for number in range(6)]
    assert found == [False, False, False, True, True, True]
    assert db.read(refresh_tokens.by_hash, A) is not None


def test_refresh_tokens_end(db: OpenDatabase, device_nid: int) -> None:
    db.write(refresh_tokens.create, A, 1, device_nid, 10, None)
    db.write(refresh_tokens.create, B, 1, device_nid, None, None)
    assert db.write(refresh_tokens.expire, 11) == 1
    assert db.read(refresh_tokens.by_hash, A) is None
    db.write(refresh_tokens.delete_of_devices, [])
    assert db.read(refresh_tokens.by_hash, B) is not None
    db.write(refresh_tokens.delete_of_devices, [device_nid])
    assert db.read(refresh_tokens.by_hash, B) is None


def test_deactivated_users_refresh_nothing(db: OpenDatabase, device_nid: int) -> None:
    db.write(refresh_tokens.create, A, 1, device_nid, None, None)
    db.write(_deactivate)
    assert db.read(refresh_tokens.by_hash, A) is None


# Login and OpenID tokens


def test_login_tokens_work_once(db: OpenDatabase) -> None:
    db.write(login_tokens.create, A, 1, 10)
    db.write(login_tokens.create, B, 2, 10)
    assert db.write(login_tokens.take, A, 9) == 1
    assert db.write(login_tokens.take, A, 9) is None
    assert db.write(login_tokens.take, B, 10) is None
    assert db.write(login_tokens.take, B, 9) is None


def test_login_tokens_end(db: OpenDatabase) -> None:
    for token, user_nid, until in ((A, 1, 10), (B, 2, 20), (C, 3, 20)):
        db.write(login_tokens.create, token, user_nid, until)
    assert db.write(login_tokens.expire, 15) == 1
    db.write(login_tokens.delete_of_user, 2)
    assert [db.write(login_tokens.take, token, 0) for token in (A, B, C)] == [None, None, 3]


def test_openid_tokens(db: OpenDatabase, device_nid: int) -> None:
    db.write(openid_tokens.create, A, 1, 10)
    assert db.read(openid_tokens.owner, A, 9) == ALICE
    assert db.read(openid_tokens.owner, A, 10) is None
    assert db.read(openid_tokens.owner, B, 9) is None
    assert db.write(openid_tokens.expire, 10) == 0
    db.write(_deactivate)
    assert db.read(openid_tokens.owner, A, 9) is None
    assert db.write(openid_tokens.expire, 11) == 1


# Registration tokens


def test_registration_tokens_are_used_up(db: OpenDatabase) -> None:
    assert db.write(registration_tokens.create, "twice", 2, None)
    assert not db.write(registration_tokens.create, "twice", 9, None)
    assert db.write(registration_tokens.create, "brief", None, 10)
    assert [db.write(registration_tokens.use, "twice", 1) for _ in range(3)] == [True, True, False]
    assert not db.read(registration_tokens.is_valid, "twice", 1)
    assert db.read(registration_tokens.is_valid, "brief", 9)
    assert not db.read(registration_tokens.is_valid, "brief", 10)
    assert not db.read(registration_tokens.is_valid, "none", 1)
    assert db.read(registration_tokens.all_tokens) == [
        RegistrationToken("brief", None, 0, 10), RegistrationToken("twice", 2, 2, None)
    ]
    assert db.write(registration_tokens.delete, "brief")
    assert not db.write(registration_tokens.delete, "brief")


# Sessions of user-interactive authentication

SESSION = UiaSession("s1", "POST /x", None, {"username": "älice"}, {}, 100)


def test_sessions_are_stored(db: OpenDatabase) -> None:
    db.write(uia_sessions.save, SESSION)
    assert db.read(uia_sessions.by_id, "s1", 99) == SESSION
    assert db.read(uia_sessions.by_id, "s1", 100) is None
    assert db.read(uia_sessions.by_id, "s2", 1) is None
    assert "älice" not in repr(SESSION)


def test_stages_add_up(db: OpenDatabase) -> None:
    db.write(uia_sessions.save, SESSION)
    db.write(uia_sessions.complete_stage, "s1", "one", "proof")
    db.write(uia_sessions.complete_stage, "s1", "two", "")
    db.write(uia_sessions.complete_stage, "unknown", "two", "")
    stored = db.read(uia_sessions.by_id, "s1", 1)
    assert stored is not None
    assert stored.completed == {"one": "proof", "two": ""}


def test_a_session_is_taken_once(db: OpenDatabase) -> None:
    db.write(uia_sessions.save, SESSION)
    assert db.write(uia_sessions.take, "s1")
    assert not db.write(uia_sessions.take, "s1")


def test_a_session_knows_the_account_that_it_made(db: OpenDatabase) -> None:
    db.write(uia_sessions.save, SESSION)
    db.write(uia_sessions.registered, "s1", 7, 50)
    assert db.read(uia_sessions.by_id, "s1", 1) == replace(SESSION, registered_nid=7, valid_until_ts=50)


def test_sessions_end(db: OpenDatabase) -> None:
    for number in range(5):
        db.write(uia_sessions.save, replace(SESSION, session_id=f"s{number}", user_nid=number, valid_until_ts=number))
    assert db.write(uia_sessions.expire, 1, 10) == 1
    assert db.write(uia_sessions.expire, 1, 2) == 2
    assert [db.read(uia_sessions.by_id, f"s{number}", 0) is not None for number in range(5)] == [
        False, False, False, True, True
    ]
    db.write(uia_sessions.delete_of_user, 4)
    assert db.read(uia_sessions.by_id, "s4", 0) is None
