"""Registration, as clients see it."""

from __future__ import annotations

import pytest

from matrixd.storage import profiles, registration_tokens
from tests.support.accounts import PASSWORD, SERVER_NAME, AccountServer
from tests.unit.http.client.conftest import NewServer

DUMMY = {"type": "m.login.dummy"}
TOKENS_ONLY = "registration_requires_token: true"


def test_without_auth_the_flows_are_told(accounts: AccountServer) -> None:
    answer = accounts.post("/v3/register", {})
    assert answer.status == 401
    assert answer["flows"] == [{"stages": ["m.login.dummy"]}]
    assert answer["session"]
    assert "errcode" not in answer.json


def test_an_account_is_made_and_logged_in(accounts: AccountServer) -> None:
    answer = accounts.user("alice", device_id="PHONE")
    assert answer["user_id"] == f"@alice:{SERVER_NAME}"
    assert answer["device_id"] == "PHONE"
    assert accounts.get("/v3/account/whoami", answer["access_token"]).json == {
        "user_id": f"@alice:{SERVER_NAME}", "device_id": "PHONE", "is_guest": False
    }


def test_a_new_user_is_displayed_by_the_local_part(accounts: AccountServer) -> None:
    accounts.user("alice")
    assert accounts.db.read(profiles.get_field, 1, "displayname") == '"alice"'


def test_capitals_become_small(accounts: AccountServer) -> None:
    assert accounts.user("User-UPPER")["user_id"] == f"@user-upper:{SERVER_NAME}"


@pytest.mark.parametrize("name", ["", *(f"user{c}" for c in '!":?\\@[]{|}£é\n\' '), "1234", "a" * 250])
def test_names_outside_the_grammar_are_refused(accounts: AccountServer, name: str) -> None:
    answer = accounts.post("/v3/register", {"username": name, "password": PASSWORD, "auth": DUMMY})
    assert (answer.status, answer.errcode) == (400, "M_INVALID_USERNAME")
    assert "username" in answer["error"]


@pytest.mark.parametrize("name", [f"user{c}" for c in "q3._=-/+"])
def test_names_of_the_grammar_are_taken(accounts: AccountServer, name: str) -> None:
    assert accounts.user(name)["user_id"] == f"@{name}:{SERVER_NAME}"


def test_a_taken_name_is_refused_before_authentication(accounts: AccountServer) -> None:
    accounts.user("alice")
    answer = accounts.post("/v3/register", {"username": "Alice", "password": PASSWORD})
    assert (answer.status, answer.errcode) == (400, "M_USER_IN_USE")


def test_a_name_is_chosen_where_none_is_given(accounts: AccountServer) -> None:
    answer = accounts.post("/v3/register", {"password": PASSWORD, "auth": DUMMY})
    assert answer.status == 200
    assert answer["user_id"].startswith("@")


def test_a_session_remembers_the_request(accounts: AccountServer) -> None:
    body = {"username": "alice", "password": "übers3kr1t", "device_id": "xyzzy", "initial_device_display_name": "phone"}
    session = accounts.post("/v3/register", body)["session"]
    made = accounts.post("/v3/register", {"auth": {**DUMMY, "session": session}})
    assert made["user_id"] == f"@alice:{SERVER_NAME}"
    device = accounts.get("/v3/devices/xyzzy", made["access_token"])
    assert device["display_name"] == "phone"
    assert accounts.login("alice", "übers3kr1t").status == 200


@pytest.mark.parametrize("name", [{}, {"username": "alice"}])
def test_asking_again_gives_the_same_account(accounts: AccountServer, name: dict[str, str]) -> None:
    body = {**name, "password": PASSWORD}
    session = accounts.post("/v3/register", body)["session"]
    first, second = (
        accounts.post("/v3/register", {**body, "auth": {**DUMMY, "session": session}}) for _ in range(2)
    )
    assert first.status == second.status == 200
    assert first["user_id"] == second["user_id"]
    accounts.clock.advance(600)
    late = accounts.post("/v3/register", {**body, "auth": {**DUMMY, "session": session}})
    assert late.status != 200


def test_login_can_be_inhibited(accounts: AccountServer) -> None:
    answer = accounts.user("alice", inhibit_login=True)
    assert answer.json == {"user_id": f"@alice:{SERVER_NAME}", "home_server": SERVER_NAME}


def test_a_password_is_needed(accounts: AccountServer) -> None:
    answer = accounts.post("/v3/register", {"username": "alice", "auth": DUMMY})
    assert (answer.status, answer.errcode) == (400, "M_MISSING_PARAM")


@pytest.mark.parametrize("password", ["", "x" * 513])
def test_impossible_passwords_are_refused(accounts: AccountServer, password: str) -> None:
    answer = accounts.post("/v3/register", {"username": "alice", "password": password, "auth": DUMMY})
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


def test_the_password_policy_is_enforced(new_account_server: NewServer) -> None:
    server = new_account_server(
        "password_config: {policy: {enabled: true, minimum_length: 10, require_digit: true, require_uppercase: true}}"
    )
    answer = server.post("/v3/register", {"username": "alice", "password": "short", "auth": DUMMY})
    assert (answer.status, answer.errcode) == (400, "M_WEAK_PASSWORD")
    assert "10 characters" in answer["error"]
    assert "a digit" in answer["error"]
    server.user("alice", "Longenough1")


@pytest.mark.parametrize(
    ("body", "errcode", "field"),
    [
        (b"{", "M_NOT_JSON", ""),
        ({"username": 1}, "M_BAD_JSON", "username"),
        ({"auth": "dummy"}, "M_BAD_JSON", "auth"),
        ({"auth": {"session": 1}}, "M_BAD_JSON", "auth.session"),
        ({"inhibit_login": "no"}, "M_BAD_JSON", "inhibit_login"),
        (b'{"username": "\xff"}', "M_NOT_JSON", ""),
        (b'{"username": "\\ud800"}', "M_NOT_JSON", ""),
    ],
)
def test_wrong_bodies_name_the_field(accounts: AccountServer, body: object, errcode: str, field: str) -> None:
    answer = accounts.post("/v3/register", body)
    assert (answer.status, answer.errcode) == (400, errcode)
    assert field in answer["error"]


def test_device_ids_are_checked(accounts: AccountServer) -> None:
    for device_id in ("", "x" * 600, "a\nb"):
        body = {"username": "alice", "password": PASSWORD, "auth": DUMMY, "device_id": device_id}
        assert accounts.post("/v3/register", body).errcode == "M_INVALID_PARAM"
    accounts.user("alice")


def test_a_wrong_stage_gets_the_flows_again(accounts: AccountServer) -> None:
    answer = accounts.post("/v3/register", {"password": PASSWORD, "auth": {"type": "m.login.recaptcha"}})
    assert answer.status == 401
    assert answer["flows"] == [{"stages": ["m.login.dummy"]}]
    assert answer["completed"] == []
    assert answer["errcode"]


def test_an_unknown_session_begins_a_new_one(accounts: AccountServer) -> None:
    answer = accounts.post("/v3/register", {"password": PASSWORD, "auth": {**DUMMY, "session": "nonsense"}})
    assert answer.status == 401
    again = accounts.post("/v3/register", {"password": PASSWORD, "auth": {**DUMMY, "session": answer["session"]}})
    assert again.status == 200


def test_a_closed_server_says_so(new_account_server: NewServer) -> None:
    server = new_account_server("enable_registration: false\nallow_guest_access: false")
    assert server.post("/v3/register", {}).errcode == "M_FORBIDDEN"
    assert server.post("/v3/register?kind=guest", {}).errcode == "M_FORBIDDEN"
    assert server.get("/v1/register/m.login.registration_token/validity?token=x").status == 403


def test_kinds_are_checked(accounts: AccountServer) -> None:
    assert accounts.post("/v3/register?kind=king", {}).errcode == "M_INVALID_PARAM"


def test_availability(accounts: AccountServer) -> None:
    assert accounts.get("/v3/register/available?username=alice").json == {"available": True}
    accounts.user("alice")
    assert accounts.get("/v3/register/available?username=alice").errcode == "M_USER_IN_USE"
    assert accounts.get("/v3/register/available?username=al%20ice").errcode == "M_INVALID_USERNAME"
    assert accounts.get("/v3/register/available").errcode == "M_MISSING_PARAM"


def test_registration_tokens(new_account_server: NewServer) -> None:
    server = new_account_server(TOKENS_ONLY)
    server.db.write(registration_tokens.create, "once", 1, None)
    asked = {"username": "alice", "password": PASSWORD}
    first = server.post("/v3/register", asked)
    assert first["flows"] == [{"stages": ["m.login.registration_token"]}]
    auth = {"type": "m.login.registration_token", "session": first["session"]}
    wrong = server.post("/v3/register", {**asked, "auth": {**auth, "token": "guess"}})
    assert (wrong.status, wrong["errcode"]) == (401, "M_UNAUTHORIZED")
    assert server.get("/v1/register/m.login.registration_token/validity?token=once").json == {"valid": True}
    assert server.post("/v3/register", {**asked, "auth": {**auth, "token": "once"}}).status == 200
    assert server.get("/v1/register/m.login.registration_token/validity?token=once").json == {"valid": False}
    other = {"username": "bob", "password": PASSWORD, "auth": {"type": "m.login.registration_token", "token": "once"}}
    assert server.post("/v3/register", other).status == 401


def test_guessing_tokens_is_limited(new_account_server: NewServer) -> None:
    server = new_account_server(TOKENS_ONLY + "\nrc_registration: {per_second: 0.1, burst_count: 3}")
    body = {"password": PASSWORD, "auth": {"type": "m.login.registration_token", "token": "guess"}}
    statuses = [server.post("/v3/register", body).status for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    limited = server.post("/v3/register", body)
    assert limited["retry_after_ms"] > 0
    assert limited.headers["retry-after"]
    server.clock.advance(20)
    assert server.post("/v3/register", body).status == 401


def test_the_fallback_page_completes_a_stage(new_account_server: NewServer) -> None:
    server = new_account_server(TOKENS_ONLY)
    server.db.write(registration_tokens.create, "once", 1, None)
    session = server.post("/v3/register", {"username": "alice", "password": PASSWORD})["session"]
    path = f"/_matrix/client/v3/auth/m.login.registration_token/fallback/web?session={session}"
    shown = server.request("GET", path, checked=False)
    assert shown.status == 200
    assert b'name="token"' in shown.body
    assert "script-src" not in shown.headers["content-security-policy"]
    wrong = server.request("POST", path, {"token": "<script>"}, form=True, checked=False)
    assert wrong.status == 400
    assert b"not valid" in wrong.body
    done = server.request("POST", path, {"token": "once"}, form=True, checked=False)
    assert b"onAuthDone" in done.body
    assert "script-src 'sha256-" in done.headers["content-security-policy"]
    assert server.post("/v3/register", {"auth": {"session": session}})["user_id"] == f"@alice:{SERVER_NAME}"


def test_the_fallback_page_of_a_password_is_none(accounts: AccountServer) -> None:
    session = accounts.post("/v3/register", {})["session"]
    path = f"/_matrix/client/v3/auth/m.login.password/fallback/web?session={session}"
    assert accounts.request("GET", path, checked=False).status == 404
    path = "/_matrix/client/v3/auth/m.login.dummy/fallback/web?session=unknown"
    assert accounts.request("GET", path, checked=False).status == 400


def test_guests(accounts: AccountServer) -> None:
    guest = accounts.post("/v3/register?kind=guest", {"username": "ignored", "initial_device_display_name": "web"})
    assert guest.status == 200
    assert guest["user_id"] == f"@1:{SERVER_NAME}"
    assert accounts.get("/v3/account/whoami", guest["access_token"])["is_guest"] is True
    assert accounts.get("/v3/devices", guest["access_token"]).status == 200
    refused = accounts.post("/v3/delete_devices", {"devices": []}, guest["access_token"])
    assert (refused.status, refused.errcode) == (403, "M_GUEST_ACCESS_FORBIDDEN")


def test_guests_become_users(accounts: AccountServer) -> None:
    guest, other = (accounts.post("/v3/register?kind=guest", {}) for _ in range(2))
    body = {"username": "1", "password": PASSWORD, "guest_access_token": guest["access_token"], "auth": DUMMY}
    stolen = accounts.post("/v3/register", {**body, "guest_access_token": other["access_token"]})
    assert stolen.status == 400
    made = accounts.post("/v3/register", body)
    assert made["user_id"] == guest["user_id"]
    assert accounts.get("/v3/account/whoami", guest["access_token"])["is_guest"] is False
    assert accounts.login("1").status == 200
    assert accounts.post("/v3/register", body).status == 400


def test_r0_paths_are_served(accounts: AccountServer) -> None:
    answer = accounts.post("/r0/register", {"username": "alice", "password": PASSWORD, "auth": DUMMY})
    assert answer.status == 200
