"""Devices, password, deactivation, administration and identities, as clients see them."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from matrixd.storage import accounts as stored_accounts
from matrixd.storage import rows
from tests.support.accounts import PASSWORD, SECRET, SERVER_NAME, AccountServer, password_auth
from tests.support.exchange import Answer
from tests.unit.http.client.conftest import NewServer

ALICE = f"@alice:{SERVER_NAME}"
REGISTER = "/_synapse/admin/v1/register"


@pytest.fixture
def token(accounts: AccountServer) -> str:
    """Alice's access token."""
    return str(accounts.user("alice", device_id="ONE")["access_token"])


def _with_secret(
    accounts: AccountServer, username: str, *, admin: bool = False, user_type: str | None = None
) -> Answer:
    nonce = accounts.request("GET", REGISTER)["nonce"]
    parts = [nonce, username, PASSWORD, "admin" if admin else "notadmin", *([user_type] if user_type else [])]
    mac = hmac.new(SECRET.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": username, "password": PASSWORD, "admin": admin, "mac": mac}
    return accounts.request("POST", REGISTER, {**body, "user_type": user_type} if user_type else body)


# Devices


def test_devices_are_listed_with_their_last_use(accounts: AccountServer, token: str) -> None:
    accounts.login("alice", device_id="TWO", initial_device_display_name="phone")
    accounts.clock.advance(5)
    devices = accounts.get("/v3/devices", token)["devices"]
    assert devices == [
        {"device_id": "ONE", "last_seen_ip": "192.0.2.7", "last_seen_ts": accounts.clock.ms},
        {"device_id": "TWO", "display_name": "phone"},
    ]
    assert accounts.get("/v3/devices/TWO", token).json == {"device_id": "TWO", "display_name": "phone"}
    assert accounts.get("/v3/devices/THREE", token).errcode == "M_NOT_FOUND"


def test_last_uses_are_written_in_batches(accounts: AccountServer, token: str) -> None:
    accounts.get("/v3/account/whoami", token)
    assert accounts.count("device_last_seen") == 0
    accounts.run(accounts.accounts.last_seen.flush())
    assert accounts.count("device_last_seen") == 1
    assert accounts.get("/v3/devices/ONE", token)["last_seen_ip"] == "192.0.2.7"


def test_addresses_are_forgotten(accounts: AccountServer, token: str) -> None:
    accounts.get("/v3/account/whoami", token)
    accounts.run(accounts.accounts.last_seen.flush())
    accounts.clock.advance(40 * 24 * 3600)
    accounts.run(accounts.accounts.expiry.run())
    other = accounts.login("alice", device_id="TWO")["access_token"]
    assert "last_seen_ip" not in accounts.get("/v3/devices/ONE", other).json


def test_stale_devices_are_logged_out(new_account_server: NewServer) -> None:
    server = new_account_server("delete_stale_devices_after: 1w")
    server.user("alice", device_id="OLD")
    server.clock.advance(8 * 24 * 3600)
    token = server.login("alice", device_id="NEW")["access_token"]
    server.run(server.accounts.expiry.run())
    assert [device["device_id"] for device in server.get("/v3/devices", token)["devices"]] == ["NEW"]


def test_devices_are_renamed(accounts: AccountServer, token: str) -> None:
    path = "/_matrix/client/v3/devices/"
    assert accounts.request("PUT", path + "ONE", {"display_name": "desk"}, token).json == {}
    assert accounts.get("/v3/devices/ONE", token)["display_name"] == "desk"
    assert accounts.request("PUT", path + "ONE", {}, token).json == {}
    assert accounts.request("PUT", path + "NONE", {"display_name": "desk"}, token).status == 404
    assert accounts.request("PUT", path + "NONE", {}, token).status == 404
    assert accounts.request("PUT", path + "ONE", {"display_name": "x" * 600}, token).errcode == "M_INVALID_PARAM"
    assert accounts.request("PUT", path + "ONE", {"display_name": 1}, token).errcode == "M_BAD_JSON"


def test_deleting_a_device_needs_the_password(accounts: AccountServer, token: str) -> None:
    other = accounts.login("alice", device_id="TWO")["access_token"]
    path = "/_matrix/client/v3/devices/TWO"
    assert accounts.request("DELETE", path, None, token).status == 401
    asked = accounts.request("DELETE", path, {}, token)
    assert asked["flows"] == [{"stages": ["m.login.password"]}]
    assert "errcode" not in asked.json
    wrong = accounts.request("DELETE", path, {"auth": password_auth("alice", "cashewnuts")}, token)
    assert (wrong.status, wrong["errcode"], wrong["completed"]) == (401, "M_FORBIDDEN", [])
    accounts.user("eve")
    assert accounts.request("DELETE", path, {"auth": password_auth("eve")}, token).status == 403
    right = accounts.request("DELETE", path, {"auth": password_auth(ALICE, session=wrong["session"])}, token)
    assert right.json == {}
    assert accounts.get("/v3/devices/TWO", token).status == 404
    assert accounts.get("/v3/account/whoami", other).status == 401


def test_a_session_is_good_for_one_operation_and_one_user(accounts: AccountServer, token: str) -> None:
    accounts.login("alice", device_id="TWO")
    session = accounts.request("DELETE", "/_matrix/client/v3/devices/TWO", {}, token)["session"]
    auth = {"auth": password_auth("alice", session=session)}
    other = accounts.request("DELETE", "/_matrix/client/v3/devices/ONE", auth, token)
    assert (other.status, other.errcode) == (403, "M_FORBIDDEN")
    eve = accounts.user("eve")["access_token"]
    stolen = {"auth": password_auth("eve", session=session)}
    assert accounts.request("DELETE", "/_matrix/client/v3/devices/TWO", stolen, eve).status == 403
    assert accounts.request("DELETE", "/_matrix/client/v3/devices/TWO", auth, token).status == 200
    assert accounts.request("DELETE", "/_matrix/client/v3/devices/TWO", auth, token).status == 401
    # The old path is the same operation.
    session = accounts.request("DELETE", "/_matrix/client/r0/devices/ONE", {}, token)["session"]
    auth = {"auth": password_auth("alice", session=session)}
    assert accounts.request("DELETE", "/_matrix/client/v3/devices/ONE", auth, token).status == 200


def test_sessions_expire(accounts: AccountServer, token: str) -> None:
    session = accounts.post("/v3/delete_devices", {"devices": ["ONE"]}, token)["session"]
    accounts.clock.advance(3601)
    late = accounts.post("/v3/delete_devices", {"auth": password_auth("alice", session=session)}, token)
    assert late.status == 401
    assert late["session"] != session


def test_several_devices_are_deleted(accounts: AccountServer, token: str) -> None:
    for name in ("TWO", "THREE"):
        accounts.login("alice", device_id=name)
    assert accounts.post("/v3/delete_devices", {}, token).errcode == "M_BAD_JSON"
    assert accounts.post("/v3/delete_devices", {"devices": [1]}, token).errcode == "M_BAD_JSON"
    session = accounts.post("/v3/delete_devices", {"devices": ["TWO", "NONE"]}, token)["session"]
    done = accounts.post("/v3/delete_devices", {"auth": password_auth("alice", session=session)}, token)
    assert done.json == {}
    names = [device["device_id"] for device in accounts.get("/v3/devices", token)["devices"]]
    assert names == ["ONE", "THREE"]


def test_a_deleted_device_is_announced(accounts: AccountServer, token: str) -> None:
    announced: list[rows.DeviceDeleted] = []
    accounts.feed.subscribe(rows.DeviceDeleted, announced.append)
    accounts.post("/v3/logout", {}, token)
    assert [(row.user_id, row.device_id) for row in announced] == [(ALICE, "ONE")]


def test_one_confirmation_can_cover_more(new_account_server: NewServer) -> None:
    server = new_account_server("ui_auth: {session_timeout: 1m}")
    token = server.user("alice")["access_token"]
    body = {"devices": ["X"]}
    assert server.post("/v3/delete_devices", body, token).status == 401
    assert server.post("/v3/delete_devices", {**body, "auth": password_auth("alice")}, token).status == 200
    assert server.post("/v3/delete_devices", body, token).status == 200
    assert server.post("/v1/login/get_token", {}, token).status == 401
    server.clock.advance(61)
    assert server.post("/v3/delete_devices", body, token).status == 401


# Password and deactivation


@pytest.mark.parametrize("logout_devices", [None, True, False])
def test_changing_the_password(accounts: AccountServer, token: str, logout_devices: bool | None) -> None:
    other = accounts.login("alice")["access_token"]
    body: dict[str, object] = {"new_password": "another one", "auth": password_auth("alice")}
    if logout_devices is not None:
        body["logout_devices"] = logout_devices
    assert accounts.post("/v3/account/password", body, token).json == {}
    assert accounts.login("alice").status == 403
    assert accounts.get("/v3/account/whoami", token).status == 200
    kept = 200 if logout_devices is False else 401
    assert accounts.get("/v3/account/whoami", other).status == kept
    assert accounts.login("alice", "another one").status == 200


def test_the_password_of_the_first_request_counts(accounts: AccountServer, token: str) -> None:
    other = accounts.login("alice")["access_token"]
    body = {"new_password": "another one", "logout_devices": False}
    session = accounts.post("/v3/account/password", body, token)["session"]
    done = accounts.post("/v3/account/password", {"auth": password_auth("alice", session=session)}, token)
    assert done.json == {}
    assert accounts.login("alice", "another one").status == 200
    assert accounts.get("/v3/account/whoami", other).status == 200
    assert accounts.post("/v3/account/password", {}, token).errcode == "M_MISSING_PARAM"
    assert accounts.post("/v3/account/password", {"new_password": ""}, token).errcode == "M_INVALID_PARAM"


@pytest.mark.parametrize("logout_devices", [None, True, False])
def test_changing_the_password_without_a_token(
    accounts: AccountServer, token: str, logout_devices: bool | None
) -> None:
    path, body = "/v3/account/password", {"new_password": "another one", "logout_devices": logout_devices}
    if logout_devices is None:
        del body["logout_devices"]
    asked = accounts.post(path, body)
    assert (asked.status, asked["flows"]) == (401, [{"stages": ["m.login.password"]}])
    for name, password in (("alice", "cashewnuts"), ("nobody", PASSWORD)):
        auth = password_auth(name, password, asked["session"])
        wrong = accounts.post(path, {**body, "auth": auth})
        assert (wrong.status, wrong.errcode) == (401, "M_FORBIDDEN")
        assert wrong["error"] == "The user name or the password is wrong."
    auth = password_auth("Alice", session=asked["session"])
    assert accounts.post(path, {"auth": auth}).errcode == "M_MISSING_PARAM"
    assert accounts.post(path, {"new_password": "", "auth": auth}).errcode == "M_INVALID_PARAM"
    assert accounts.post(path, {**body, "auth": auth}).json == {}
    assert accounts.login("alice").status == 403
    assert accounts.login("alice", "another one").status == 200
    assert accounts.get("/v3/account/whoami", token).status == (200 if logout_devices is False else 401)
    assert accounts.post(path, {**body, "auth": auth}).status == 401, "the session is used up"
    assert accounts.count("uia_sessions") == 1


def test_without_a_token_the_password_says_who_it_is(accounts: AccountServer, token: str) -> None:
    eve = accounts.user("eve")["access_token"]
    session = accounts.post("/v3/account/password", {"new_password": "eve's"})["session"]
    auth = password_auth("eve", session=session)
    # The session is for this operation, and for those without a token.
    assert accounts.post("/v3/account/deactivate", {"auth": auth}).errcode == "M_FORBIDDEN"
    assert accounts.post("/v3/register", {"username": "new", "auth": auth}).errcode == "M_FORBIDDEN"
    body = {"new_password": "eve's", "auth": auth}
    assert accounts.post("/v3/account/password", body, eve).errcode == "M_FORBIDDEN"
    with_token = accounts.post("/v3/account/password", {"new_password": "mine"}, token)["session"]
    stolen = {"new_password": "eve's", "auth": password_auth("eve", session=with_token)}
    assert accounts.post("/v3/account/password", stolen).errcode == "M_FORBIDDEN"
    assert accounts.post("/v3/account/password", body).json == {}
    assert accounts.login("alice").status == 200
    assert accounts.login("eve", "eve's").status == 200


def test_deactivation_without_a_token(accounts: AccountServer, token: str) -> None:
    session = accounts.post("/v3/account/deactivate", {"erase": True})["session"]
    assert accounts.get("/v3/account/whoami", token).status == 200
    body = {"erase": True, "auth": password_auth("alice", session=session)}
    assert accounts.post("/v3/account/deactivate", body).json == {"id_server_unbind_result": "success"}
    assert accounts.get("/v3/account/whoami", token).status == 401
    account = accounts.db.read(stored_accounts.by_user_id, ALICE)
    assert account is not None
    assert (account.is_deactivated, account.is_erased) == (True, True)
    # Nobody learns that there was such an account.
    again = accounts.post("/v3/account/deactivate", {"auth": password_auth("alice")})
    assert (again.status, again["error"]) == (401, "The user name or the password is wrong.")


@pytest.mark.parametrize("path", ["/v3/account/password", "/v3/account/deactivate"])
def test_a_locked_account_stays_as_it_is(accounts: AccountServer, token: str, path: str) -> None:
    account = accounts.db.read(stored_accounts.by_user_id, ALICE)
    assert account is not None
    accounts.db.write(stored_accounts.set_locked, account, True)
    body = {"new_password": "another one"} if path.endswith("password") else {}
    answer = accounts.post(path, {**body, "auth": password_auth("alice")})
    assert (answer.status, answer.errcode, answer["soft_logout"]) == (401, "M_USER_LOCKED", True)
    after = accounts.db.read(stored_accounts.by_user_id, ALICE)
    assert after is not None
    assert (after.password_hash, after.is_deactivated) == (account.password_hash, False)


@pytest.mark.parametrize("path", ["/v3/account/password", "/v3/account/deactivate"])
def test_guests_have_no_password_to_prove(accounts: AccountServer, path: str) -> None:
    guest = accounts.post("/v3/register?kind=guest")
    body = {"new_password": "x", "auth": password_auth(guest["user_id"], "")}
    assert accounts.post(path, body, guest["access_token"]).errcode == "M_GUEST_ACCESS_FORBIDDEN"
    assert accounts.post(path, body).errcode == "M_FORBIDDEN"


def test_attempts_without_a_token_are_limited_by_address(new_account_server: NewServer) -> None:
    server = new_account_server("rc_login: {address: {per_second: 0.01, burst_count: 2}}")
    path, body = "/v3/account/password", {"new_password": "another one"}
    token = server.user("alice")["access_token"]
    assert server.post(path, body).status == 401
    assert server.post(path, {**body, "auth": password_auth("nobody")}).status == 401
    limited = server.post(path, {**body, "auth": password_auth("alice")})
    assert (limited.status, limited.errcode) == (429, "M_LIMIT_EXCEEDED")
    assert server.post("/v3/account/deactivate", {"auth": password_auth("alice")}).status == 429
    assert server.login("alice").status == 429
    assert server.post(path, {**body, "auth": password_auth("alice")}, token).status == 200


def test_wrong_passwords_without_a_token_are_limited_by_account(new_account_server: NewServer) -> None:
    server = new_account_server("rc_login: {failed_attempts: {per_second: 0.01, burst_count: 2}}")
    server.user("alice")
    for path in ("/v3/account/password", "/v3/account/deactivate"):
        wrong = {"new_password": "x", "auth": password_auth("alice", "wrong")}
        assert server.post(path, wrong).status == 401
    right = {"new_password": "x", "auth": password_auth("alice")}
    assert server.post("/v3/account/password", right).status == 429
    assert server.login("alice").status == 429


def test_without_passwords_a_token_is_needed(new_account_server: NewServer) -> None:
    server = new_account_server("password_config: {enabled: false}")
    assert server.post("/v3/account/deactivate", {}).errcode == "M_MISSING_TOKEN"
    assert server.post("/v3/account/password", {"new_password": "x"}).errcode == "M_FORBIDDEN"


def test_no_password_is_stored_in_clear(accounts: AccountServer, token: str) -> None:
    accounts.post("/v3/account/password", {"new_password": "plain words"}, token)
    accounts.post("/v3/register", {"username": "bob", "password": "plain words"})
    stored = accounts.db.read(lambda tx: tx.all("SELECT request FROM uia_sessions"))
    assert len(stored) == 2
    assert "plain words" not in str(stored)


def test_deactivation(accounts: AccountServer, token: str) -> None:
    wrong = accounts.post("/v3/account/deactivate", {"auth": password_auth("alice", "wrong")}, token)
    assert wrong.status == 401
    assert {"error", "errcode", "params", "completed", "flows"} <= set(wrong.json)
    done = accounts.post("/v3/account/deactivate", {"erase": True, "auth": password_auth("alice")}, token)
    assert done.json == {"id_server_unbind_result": "success"}
    assert accounts.get("/v3/account/whoami", token).status == 401
    assert accounts.login("alice").status == 403
    assert accounts.post("/v3/register", {"username": "alice"}).errcode == "M_USER_IN_USE"
    account = accounts.db.read(stored_accounts.by_user_id, ALICE)
    assert account is not None
    assert account.is_erased
    assert accounts.left_rooms == [ALICE]
    accounts.db.write(lambda tx: None)
    assert accounts.db.read(stored_accounts.still_leaving) == []


def test_leaving_rooms_goes_on_after_a_restart(accounts: AccountServer, token: str) -> None:
    account = accounts.db.read(stored_accounts.by_user_id, ALICE)
    assert account is not None
    accounts.db.write(stored_accounts.deactivate, account, False, 1)
    accounts.run(accounts.accounts.deactivation.resume())
    accounts.db.write(lambda tx: None)
    assert accounts.left_rooms == [ALICE]
    assert accounts.db.read(stored_accounts.still_leaving) == []


# Administration


def test_registration_with_the_secret(accounts: AccountServer) -> None:
    answer = _with_secret(accounts, "CamelA", admin=True)
    assert answer["user_id"] == f"@camela:{SERVER_NAME}"
    assert answer["home_server"] == SERVER_NAME
    account = accounts.db.read(stored_accounts.by_user_id, f"@camela:{SERVER_NAME}")
    assert account is not None
    assert account.is_admin
    assert _with_secret(accounts, "us,er").errcode == "M_INVALID_USERNAME"
    assert _with_secret(accounts, "camela").errcode == "M_USER_IN_USE"
    assert _with_secret(accounts, "bot", user_type="bot").status == 200
    assert _with_secret(accounts, "king", user_type="king").errcode == "M_INVALID_PARAM"


def test_nonces_work_once_and_not_for_long(accounts: AccountServer) -> None:
    body = {"username": "a", "password": "b", "mac": "00"}
    nonce = accounts.request("GET", REGISTER)["nonce"]
    wrong = accounts.request("POST", REGISTER, {**body, "nonce": nonce})
    assert (wrong.status, wrong.errcode) == (403, "M_FORBIDDEN")
    assert accounts.request("POST", REGISTER, {**body, "nonce": nonce}).status == 400
    nonce = accounts.request("GET", REGISTER)["nonce"]
    accounts.clock.advance(61)
    assert accounts.request("POST", REGISTER, {**body, "nonce": nonce}).status == 400
    assert accounts.request("POST", REGISTER, {"nonce": nonce}).errcode == "M_BAD_JSON"


def test_the_secret_works_where_registration_is_closed(new_account_server: NewServer) -> None:
    server = new_account_server("enable_registration: false")
    assert _with_secret(server, "alice").status == 200


def test_without_a_secret_it_is_off(new_account_server: NewServer) -> None:
    server = new_account_server("registration_shared_secret: null")
    assert server.request("GET", REGISTER).status == 400


def test_whois_is_for_oneself_and_for_administrators(accounts: AccountServer, token: str) -> None:
    answer = accounts.get(f"/v3/admin/whois/{ALICE}", token)
    connection = {"ip": "192.0.2.7", "user_agent": "tests", "last_seen": accounts.clock.ms}
    assert answer.json == {"user_id": ALICE, "devices": {"ONE": {"sessions": [{"connections": [connection]}]}}}
    admin = _with_secret(accounts, "admin", admin=True)["access_token"]
    assert accounts.get(f"/v3/admin/whois/{ALICE}", admin).status == 200
    assert accounts.get(f"/v3/admin/whois/@no:{SERVER_NAME}", admin).errcode == "M_NOT_FOUND"
    assert accounts.get(f"/v3/admin/whois/@admin:{SERVER_NAME}", token).errcode == "M_FORBIDDEN"


@pytest.mark.parametrize(("action", "flag"), [("lock", "locked"), ("suspend", "suspended")])
def test_locking_and_suspending(accounts: AccountServer, token: str, action: str, flag: str) -> None:
    admin = _with_secret(accounts, "admin", admin=True)["access_token"]
    _with_secret(accounts, "chief", admin=True)
    path = f"/_matrix/client/v1/admin/{action}/"
    assert accounts.request("GET", path + ALICE, None, admin).json == {flag: False}
    assert accounts.request("PUT", path + ALICE, {flag: True}, admin).json == {flag: True}
    assert accounts.request("GET", path + ALICE, None, admin).json == {flag: True}
    assert accounts.request("PUT", path + ALICE, {flag: False}, admin).json == {flag: False}
    assert accounts.get("/v3/account/whoami", token).status == 200
    for user_id, errcode in (
        ("@admin:" + SERVER_NAME, "M_FORBIDDEN"), ("@chief:" + SERVER_NAME, "M_FORBIDDEN"),
        ("@nobody:" + SERVER_NAME, "M_NOT_FOUND"), ("@alice:elsewhere", "M_INVALID_PARAM"),
        ("alice", "M_INVALID_PARAM"),
    ):
        assert accounts.request("PUT", path + user_id, {flag: True}, admin).errcode == errcode
    assert accounts.request("PUT", path + ALICE, {}, admin).errcode == "M_BAD_JSON"
    assert accounts.request("PUT", path + ALICE, {flag: True}, token).errcode == "M_FORBIDDEN"


# Identities


def test_openid_tokens_say_who_one_is(accounts: AccountServer, token: str) -> None:
    path = f"/v3/user/{ALICE}/openid/request_token"
    answer = accounts.post(path, {}, token)
    assert (answer["token_type"], answer["matrix_server_name"], answer["expires_in"]) == ("Bearer", SERVER_NAME, 3600)
    assert accounts.run(accounts.openid.verify(answer["access_token"])) == ALICE
    assert accounts.run(accounts.openid.verify("guess")) is None
    assert accounts.get("/v3/account/whoami", answer["access_token"]).status == 401
    assert accounts.post(f"/v3/user/@bob:{SERVER_NAME}/openid/request_token", {}, token).errcode == "M_FORBIDDEN"
    accounts.clock.advance(3601)
    assert accounts.run(accounts.openid.verify(answer["access_token"])) is None


EMAIL = {"client_secret": "s", "email": "a@example.org", "send_attempt": 1}
PHONE = {"client_secret": "s", "country": "DE", "phone_number": "1", "send_attempt": 1}
CREDENTIALS = {"client_secret": "s", "id_server": "id.example.org", "id_access_token": "t", "sid": "1"}
ADDRESS = {"medium": "email", "address": "a@example.org"}


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("/register/email/requestToken", EMAIL, "M_THREEPID_DENIED"),
        ("/register/msisdn/requestToken", PHONE, "M_THREEPID_DENIED"),
        ("/account/password/email/requestToken", EMAIL, "M_THREEPID_NOT_FOUND"),
        ("/account/password/msisdn/requestToken", PHONE, "M_THREEPID_NOT_FOUND"),
        ("/account/3pid/email/requestToken", EMAIL, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
        ("/account/3pid/msisdn/requestToken", PHONE, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
        ("/account/3pid", {"three_pid_creds": CREDENTIALS}, "M_THREEPID_AUTH_FAILED"),
        ("/account/3pid/add", {"client_secret": "s", "sid": "1"}, "M_THREEPID_AUTH_FAILED"),
        ("/account/3pid/bind", CREDENTIALS, "M_SERVER_NOT_TRUSTED"),
    ],
)
def test_third_party_identifiers_are_refused(
    accounts: AccountServer, token: str, path: str, body: object, errcode: str
) -> None:
    answer = accounts.post(f"/v3{path}", body, token)
    assert answer.errcode == errcode
    assert accounts.post(f"/v3{path}", {}, token).errcode == "M_BAD_JSON"


def test_there_are_no_third_party_identifiers(accounts: AccountServer, token: str) -> None:
    assert accounts.get("/v3/account/3pid", token).json == {"threepids": []}
    for path in ("delete", "unbind"):
        answer = accounts.post(f"/v3/account/3pid/{path}", ADDRESS, token)
        assert answer.json == {"id_server_unbind_result": "no-support"}
