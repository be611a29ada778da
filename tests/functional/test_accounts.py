"""Accounts through HTTP, on both engines: what needs the real server; tests/unit/http/client has the rules."""

from __future__ import annotations

from collections.abc import Callable

from tests.functional.conftest import NewUser
from tests.support.client import PASSWORD, MatrixClient, unique
from tests.support.database import DatabasePlace
from tests.support.server import ServerProcess


def test_register_log_in_and_out(client: MatrixClient) -> None:
    name = unique("carol")
    registered = client.register(name, initial_device_display_name="phone")
    assert client.get("/account/whoami").json == {
        "user_id": registered["user_id"], "device_id": registered["device_id"], "is_guest": False
    }
    other = client.another()
    other.login(name, refresh_token=True)
    assert len(client.get("/devices")["devices"]) == 2
    assert other.refresh_token
    refreshed = other.post("/refresh", {"refresh_token": other.refresh_token}, token=None)
    other.token = refreshed["access_token"]
    assert other.get("/account/whoami")["device_id"] == other.device_id
    other.logout()
    assert [device["display_name"] for device in client.get("/devices")["devices"]] == ["phone"]
    client.logout()
    wrong = client.post("/login", {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name},
                                   "password": "wrong"}, token=None, expect=403)  # fmt: skip
    assert wrong.errcode == "M_FORBIDDEN"


def test_a_device_is_deleted_after_the_password(alice: MatrixClient) -> None:
    other = alice.another()
    other.login(alice.user_id)
    path = f"/devices/{other.device_id}"
    session = alice.delete(path, {}, expect=401)["session"]
    alice.delete(path, {"auth": {**alice.with_password("wrong"), "session": session}}, expect=401)
    alice.delete(path, {"auth": {**alice.with_password(), "session": session}})
    assert other.get("/account/whoami", expect=401).errcode == "M_UNKNOWN_TOKEN"


def test_a_changed_password_counts_at_once(alice: MatrixClient) -> None:
    alice.post("/account/password", {"new_password": "changed", "auth": alice.with_password()})
    other = alice.another()
    other.login(alice.user_id, "changed")
    assert alice.get("/account/whoami")["user_id"] == alice.user_id


def test_a_password_is_changed_without_a_token(alice: MatrixClient, client: MatrixClient) -> None:
    kept, body = {"new_password": "second", "logout_devices": False}, {"new_password": "third"}
    for wanted, password in ((kept, PASSWORD), (body, "second")):
        session = client.post("/account/password", wanted, token=None, expect=401)["session"]
        wrong = {**alice.with_password("wrong"), "session": session}
        answer = client.post("/account/password", {**wanted, "auth": wrong}, token=None, expect=401)
        assert answer.errcode == "M_FORBIDDEN"
        assert alice.get("/account/whoami")["user_id"] == alice.user_id
        auth = {**alice.with_password(password), "session": session}
        client.post("/account/password", {**wanted, "auth": auth}, token=None)
    assert alice.get("/account/whoami", expect=401).errcode == "M_UNKNOWN_TOKEN"
    client.login(alice.user_id, "third")


def test_an_account_is_deactivated_without_a_token(alice: MatrixClient, client: MatrixClient) -> None:
    session = client.post("/account/deactivate", {}, token=None, expect=401)["session"]
    auth = {**alice.with_password(), "session": session}
    answer = client.post("/account/deactivate", {"auth": auth}, token=None)
    assert answer["id_server_unbind_result"] == "success"
    assert alice.get("/account/whoami", expect=401).errcode == "M_UNKNOWN_TOKEN"
    client.post("/login", alice.with_password(), token=None, expect=403)


def test_a_deactivated_account_is_gone(alice: MatrixClient) -> None:
    answer = alice.post("/account/deactivate", {"auth": alice.with_password()})
    assert answer["id_server_unbind_result"] == "success"
    assert alice.get("/account/whoami", expect=401).errcode == "M_UNKNOWN_TOKEN"
    alice.post("/login", alice.with_password(), token=None, expect=403)


def test_who_joins_after_an_erasure_gets_redacted_copies(
    alice: MatrixClient, bob: MatrixClient, new_user: NewUser
) -> None:
    room = alice.create_room(preset="public_chat", name="secret name")
    bob.join(room)
    said = alice.say(room, "secret words")
    bob.sync()
    alice.post("/account/deactivate", {"erase": True, "auth": alice.with_password()})
    bob.sync_until(lambda _: bob.members(room).get(alice.user_id) == "leave")
    carol = new_user()
    carol.join(room)
    assert bob.event(room, said)["content"]["body"] == "secret words"
    assert bob.state_content(room, "m.room.name").json == {"name": "secret name"}
    assert "secret words" in str(list(bob.history(room)))
    # The specification's data knows no redacted content without a redaction.
    with carol.checking_events(()):
        assert carol.event(room, said)["content"] == {}
        assert carol.state_content(room, "m.room.name", check_answer=False).json == {}
        synced = carol.sync()["rooms"]["join"][room]
        assert "secret" not in str(synced)
        assert said in [event["event_id"] for event in synced["timeline"]["events"]]
        assert "secret" not in str(carol.state(room))
        assert "secret" not in str(list(carol.history(room)))


def test_administrators_lock_accounts(alice: MatrixClient, new_user: NewUser) -> None:
    admin = new_user(admin=True)
    path = f"/_matrix/client/v1/admin/lock/{alice.user_id}"
    assert admin.put(path, {"locked": True})["locked"] is True
    assert alice.get("/devices", expect=401).errcode == "M_USER_LOCKED"
    admin.put(path, {"locked": False})
    alice.get("/devices")
    assert "m.account_moderation" in admin.get("/capabilities")["capabilities"]
    assert "m.account_moderation" not in alice.get("/capabilities")["capabilities"]


def test_sessions_and_authentication_outlive_a_restart(new_database: Callable[..., DatabasePlace]) -> None:
    server = ServerProcess(new_database("sqlite3", migrated=False)).start()
    alice = server.new_client()
    session = alice.delete("/devices/OTHER", {}, expect=401)["session"]
    server.stop()
    server.start()
    assert alice.get("/account/whoami")["user_id"] == alice.user_id
    alice.delete("/devices/OTHER", {"auth": {**alice.with_password(), "session": session}})
    seen = alice.get(f"/devices/{alice.device_id}")
    assert seen["last_seen_ip"] == "127.0.0.1"
    alice.close()
    server.stop()


def test_the_pages_are_served(client: MatrixClient) -> None:
    page = client.get("/_matrix/static/client/login/", token=None, documented=False, check_answer=False)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    session = client.post("/register", {}, token=None, expect=401)["session"]
    page = client.get(
        f"/auth/m.login.dummy/fallback/web?session={session}", token=None, documented=False, check_answer=False
    )
    assert b"<form" in page.body
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    done = client.request(
        "POST", f"/auth/m.login.dummy/fallback/web?session={session}", body=b"token=", headers=headers, token=None,
        documented=False, check_answer=False,
    )  # fmt: skip
    assert b"onAuthDone" in done.body
    wanted = {"username": unique("dave"), "password": PASSWORD, "auth": {"session": session}}
    client.post("/register", wanted, token=None)
