"""Logging in and out, refreshing, and locked accounts, as clients see them."""

from __future__ import annotations

import pytest

from matrixd.storage import accounts as stored_accounts
from matrixd.storage import refresh_tokens
from matrixd.storage.transaction import Transaction
from tests.support.accounts import NO_LIMIT, PASSWORD, SERVER_NAME, AccountServer, password_auth
from tests.unit.http.client.conftest import NewServer

ALICE = f"@alice:{SERVER_NAME}"


def test_the_flows(accounts: AccountServer) -> None:
    assert accounts.get("/v3/login").json == {
        "flows": [{"type": "m.login.password"}, {"type": "m.login.token", "get_login_token": True}]
    }


@pytest.mark.parametrize("user", ["alice", ALICE, "Alice", f"@ALICE:{SERVER_NAME}"])
def test_login_by_name_or_id(accounts: AccountServer, user: str) -> None:
    accounts.user("alice")
    answer = accounts.login(user, device_id="PHONE")
    assert (answer["user_id"], answer["device_id"]) == (ALICE, "PHONE")


def test_login_by_the_deprecated_user(accounts: AccountServer) -> None:
    accounts.user("alice")
    answer = accounts.post("/v3/login", {"type": "m.login.password", "user": "alice", "password": PASSWORD})
    assert answer["user_id"] == ALICE


@pytest.mark.parametrize(
    ("user", "password"),
    [("alice", "wrong"), ("nobody", PASSWORD), ("@alice:elsewhere", PASSWORD), ("alice", "x" * 600)],
)
def test_wrong_users_and_passwords_look_alike(accounts: AccountServer, user: str, password: str) -> None:
    accounts.user("alice")
    answer = accounts.login(user, password)
    assert (answer.status, answer.json) == (
        403, {"errcode": "M_FORBIDDEN", "error": "The user name or the password is wrong."}
    )


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({}, 400, "M_BAD_JSON"),
        ({"type": "m.login.sms"}, 400, "M_UNKNOWN"),
        ({"type": "m.login.application_service"}, 403, "M_FORBIDDEN"),
        ({"type": "m.login.password", "password": "x"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "user": "alice"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "identifier": {"type": "m.id.user"}, "password": "x"}, 400, "M_BAD_JSON"),
        ({"type": "m.login.password", "identifier": {"type": "x"}, "password": "x"}, 400, "M_UNKNOWN"),
        ({"type": "m.login.password", "identifier": {"type": "m.id.thirdparty", "medium": "email", "address": "a@b"},
          "password": "x"}, 403, "M_FORBIDDEN"),
        ({"type": "m.login.password", "identifier": {"medium": "email", "address": "a@b"}, "password": "x"}, 403,
         "M_FORBIDDEN"),
        ({"type": "m.login.password", "identifier": {"type": "m.id.phone", "country": "DE", "phone": "1"},
          "password": "x"}, 403, "M_FORBIDDEN"),
        ({"type": "m.login.token"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.token", "token": "guess"}, 403, "M_FORBIDDEN"),
    ],
)  # fmt: skip
def test_wrong_logins(accounts: AccountServer, body: object, status: int, errcode: str) -> None:
    answer = accounts.post("/v3/login", body)
    assert (answer.status, answer.errcode) == (status, errcode)


def test_a_login_ends_what_the_device_had(accounts: AccountServer) -> None:
    first = accounts.user("alice", device_id="PHONE")["access_token"]
    assert accounts.get("/v3/account/whoami", first).status == 200
    accounts.login("alice", device_id="PHONE", initial_device_display_name="ignored")
    again = accounts.get("/v3/account/whoami", first)
    assert (again.status, again.errcode, again["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", False)


def test_logout_ends_the_device(accounts: AccountServer) -> None:
    token = accounts.user("alice")["access_token"]
    other = accounts.login("alice")["access_token"]
    assert accounts.post("/v3/logout", {}, token).json == {}
    assert accounts.get("/v3/account/whoami", token).status == 401
    assert len(accounts.get("/v3/devices", other)["devices"]) == 1
    assert accounts.post("/v3/logout/all", {}, other).json == {}
    assert accounts.get("/v3/account/whoami", other).status == 401
    assert accounts.post("/v3/logout", {}).errcode == "M_MISSING_TOKEN"


def test_wrong_passwords_are_limited(new_account_server: NewServer) -> None:
    limit = "{per_second: 0.1, burst_count: 2}"
    server = new_account_server(f"rc_login: {{address: {NO_LIMIT}, account: {NO_LIMIT}, failed_attempts: {limit}}}")
    server.user("alice")
    assert [server.login("alice", "wrong").status for _ in range(4)] == [403, 403, 429, 429]
    limited = server.login("alice")
    assert (limited.status, limited.errcode) == (429, "M_LIMIT_EXCEEDED")
    server.clock.advance(limited["retry_after_ms"] / 1000)
    assert server.login("alice").status == 200


def test_attempts_for_an_account_are_limited(new_account_server: NewServer) -> None:
    limit = "{per_second: 0.1, burst_count: 2}"
    server = new_account_server(f"rc_login: {{address: {NO_LIMIT}, account: {limit}, failed_attempts: {NO_LIMIT}}}")
    server.user("alice")
    assert [server.login("alice").status for _ in range(3)] == [200, 200, 429]
    server.user("bob")
    assert server.login("bob").status == 200


def test_passwords_can_be_switched_off(new_account_server: NewServer) -> None:
    server = new_account_server("password_config: {enabled: false}")
    server.user("alice")
    assert server.get("/v3/login")["flows"] == [{"type": "m.login.token", "get_login_token": True}]
    assert server.login("alice").errcode == "M_UNKNOWN"


def test_refreshing(accounts: AccountServer) -> None:
    accounts.user("alice")
    first = accounts.login("alice", refresh_token=True)
    assert first["expires_in_ms"] == 300_000
    accounts.clock.advance(301)
    expired = accounts.get("/v3/account/whoami", first["access_token"])
    assert (expired.status, expired.errcode, expired["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", True)
    # The answer may get lost: until a new token is used, the old refresh token can be used again.
    lost, second = (accounts.post("/v3/refresh", {"refresh_token": first["refresh_token"]}) for _ in range(2))
    assert lost.status == second.status == 200
    assert accounts.get("/v3/account/whoami", second["access_token"])["device_id"] == first["device_id"]
    accounts.db.write(lambda tx: None)
    used = accounts.post("/v3/refresh", {"refresh_token": first["refresh_token"]})
    assert (used.status, used.errcode) == (401, "M_UNKNOWN_TOKEN")
    third = accounts.post("/v3/refresh", {"refresh_token": second["refresh_token"]})
    fourth = accounts.post("/v3/refresh", {"refresh_token": third["refresh_token"]})
    assert fourth.status == 200
    assert accounts.post("/v3/refresh", {"refresh_token": second["refresh_token"]}).status == 401


def test_refreshing_again_and_again_without_use_is_bounded(accounts: AccountServer) -> None:
    accounts.user("alice")
    first = accounts.login("alice", refresh_token=True)
    for _ in range(10):
        assert accounts.post("/v3/refresh", {"refresh_token": first["refresh_token"]}).status == 200

    def count(tx: Transaction) -> int:
        row = tx.one("SELECT COUNT(*) FROM refresh_tokens")
        assert row is not None
        return int(row[0])

    assert accounts.db.read(count) == 4


def test_refresh_tokens_end_with_the_session(new_account_server: NewServer) -> None:
    server = new_account_server("session_lifetime: 1h")
    server.user("alice")
    answer = server.login("alice", refresh_token=True)
    server.clock.advance(3590)
    refreshed = server.post("/v3/refresh", {"refresh_token": answer["refresh_token"]})
    assert refreshed["expires_in_ms"] == 10_000
    server.clock.advance(20)
    ended = server.post("/v3/refresh", {"refresh_token": refreshed["refresh_token"]})
    assert (ended.status, ended["soft_logout"]) == (401, True)
    assert server.post("/v3/refresh", {"refresh_token": 1}).errcode == "M_BAD_JSON"


def test_login_tokens_work_once_and_not_for_long(accounts: AccountServer) -> None:
    token = accounts.user("alice")["access_token"]
    session = accounts.post("/v1/login/get_token", {}, token)["session"]
    issued = [
        accounts.post("/v1/login/get_token", {"auth": password_auth("alice", session=session)}, token),
        accounts.post("/v1/login/get_token", {"auth": password_auth("alice")}, token),
    ]
    assert issued[0]["expires_in_ms"] == 300_000
    body = {"type": "m.login.token", "token": issued[0]["login_token"]}
    assert accounts.post("/v3/login", body)["user_id"] == ALICE
    assert accounts.post("/v3/login", body).errcode == "M_FORBIDDEN"
    accounts.clock.advance(301)
    assert accounts.post("/v3/login", {**body, "token": issued[1]["login_token"]}).errcode == "M_FORBIDDEN"
    again = accounts.post("/v1/login/get_token", {"auth": password_auth("alice", session=session)}, token)
    assert again.status == 401


def test_get_token_can_be_switched_off(new_account_server: NewServer) -> None:
    server = new_account_server("login_via_existing_session: {enabled: false}")
    token = server.user("alice")["access_token"]
    assert server.post("/v1/login/get_token", {}, token).errcode == "M_UNRECOGNIZED"
    assert server.get("/v3/login")["flows"] == [{"type": "m.login.password"}]


def test_a_locked_account_can_only_log_out(accounts: AccountServer) -> None:
    answer = accounts.user("alice")
    refreshable = accounts.login("alice", refresh_token=True)
    token = answer["access_token"]
    account = accounts.db.read(stored_accounts.by_user_id, ALICE)
    assert account is not None
    accounts.db.write(stored_accounts.set_locked, account, True)
    for locked in (
        accounts.get("/v3/devices", token),
        accounts.login("alice"),
        accounts.post("/v3/refresh", {"refresh_token": refreshable["refresh_token"]}),
    ):
        assert (locked.status, locked.errcode, locked["soft_logout"]) == (401, "M_USER_LOCKED", True)
    assert accounts.post("/v3/logout", {}, token).status == 200


def test_the_login_page(accounts: AccountServer) -> None:
    answer = accounts.request("GET", "/_matrix/static/client/login/?device_id=X")
    assert answer.headers["content-type"].startswith("text/html")
    assert b"matrixLogin" in answer.body
    assert "script-src 'sha256-" in answer.headers["content-security-policy"]


def test_expired_things_are_deleted(accounts: AccountServer) -> None:
    accounts.user("alice")
    accounts.login("alice", refresh_token=True)
    accounts.post("/v3/register", {})
    accounts.clock.advance(8 * 24 * 3600)

    async def run() -> None:
        await accounts.accounts.expiry.run()

    accounts.run(run())
    assert accounts.count("uia_sessions") == 0
    assert accounts.count("access_tokens") == 1
    assert accounts.db.read(refresh_tokens.by_hash, b"") is None
