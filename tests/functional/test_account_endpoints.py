"""The endpoints of accounts and devices that the other tests do not need, and their documented errors."""

from __future__ import annotations

import pytest

from tests.functional.conftest import NewUser
from tests.support.client import PASSWORD, MatrixClient, quoted, unique

V1 = "/_matrix/client/v1"


def test_what_the_server_says_of_itself(client: MatrixClient, alice: MatrixClient) -> None:
    assert "v1.19" in client.get("/_matrix/client/versions", token=None)["versions"]
    known = client.get("/.well-known/matrix/client", token=None, expect={200, 404})
    assert known.status == 404 or known["m.homeserver"]["base_url"].rstrip("/") == client.base_url
    client.get("/.well-known/matrix/support", token=None, expect={200, 404})
    delegated = client.get("/.well-known/matrix/server", token=None, expect={200, 404})
    assert delegated.status == 404 or delegated["m.server"]
    assert "m.room_versions" in alice.get("/capabilities")["capabilities"]
    assert client.get("/capabilities", expect=401).errcode == "M_MISSING_TOKEN"
    flows = client.get("/login", token=None)["flows"]
    assert "m.login.password" in [flow["type"] for flow in flows]


def test_names_that_are_free(client: MatrixClient, alice: MatrixClient) -> None:
    taken = alice.user_id[1:].partition(":")[0]
    assert client.get("/register/available", query={"username": unique("free")}, token=None)["available"] is True
    for name, errcode in ((taken, "M_USER_IN_USE"), ("Ünïcode", "M_INVALID_USERNAME"), ("a" * 300, None)):
        answer = client.get("/register/available", query={"username": name}, token=None, expect=400)
        assert errcode is None or answer.errcode == errcode
    answer = client.get("/register/available", token=None, validate=False, expect=400)
    assert answer.errcode == "M_MISSING_PARAM"
    validity = f"{V1}/register/m.login.registration_token/validity"
    assert client.get(validity, query={"token": "unknown"}, token=None)["valid"] is False
    body = {"username": taken, "password": PASSWORD}
    assert client.post("/register", body, token=None, expect=400).errcode == "M_USER_IN_USE"


def test_devices(alice: MatrixClient, bob: MatrixClient) -> None:
    path = f"/devices/{alice.device_id}"
    alice.put(path, {"display_name": "telescope"})
    device = alice.get(path).json
    assert (device["device_id"], device["display_name"]) == (alice.device_id, "telescope")
    assert bob.get(path, expect=404).errcode == "M_NOT_FOUND"
    assert bob.put(path, {"display_name": "mine"}, expect=404).errcode == "M_NOT_FOUND"
    others = [alice.another() for _ in range(3)]
    for other in others:
        other.login(alice.user_id)
    wanted = {"devices": [other.device_id for other in others[:2]]}
    session = alice.post("/delete_devices", wanted, expect=401)["session"]
    wrong = alice.post(
        "/delete_devices", {**wanted, "auth": {**alice.with_password("wrong"), "session": session}}, expect=401
    )
    assert wrong.errcode == "M_FORBIDDEN"
    alice.post("/delete_devices", {**wanted, "auth": {**alice.with_password(), "session": session}})
    assert [other.get("/account/whoami", expect={200, 401}).status for other in others] == [401, 401, 200]
    alice.post("/logout/all")
    for client in (alice, others[2]):
        assert client.get("/account/whoami", expect=401).errcode == "M_UNKNOWN_TOKEN"


def test_a_login_token_signs_another_device_in(alice: MatrixClient, client: MatrixClient) -> None:
    asked = alice.post(f"{V1}/login/get_token", expect=401)
    body = {"auth": {**alice.with_password(), "session": asked["session"]}}
    wrong = {"auth": {**alice.with_password("wrong"), "session": asked["session"]}}
    assert alice.post(f"{V1}/login/get_token", wrong, expect=401).errcode == "M_FORBIDDEN"
    token = alice.post(f"{V1}/login/get_token", body)["login_token"]
    login = {"type": "m.login.token", "token": token}
    client.signed_in(client.post("/login", login, token=None))
    assert client.get("/account/whoami")["user_id"] == alice.user_id
    assert client.post("/login", login, token=None, expect=403).errcode == "M_FORBIDDEN"


def test_refreshing(alice: MatrixClient, client: MatrixClient) -> None:
    assert client.post("/refresh", {"refresh_token": "unknown"}, token=None, expect=401).errcode == "M_UNKNOWN_TOKEN"
    client.login(alice.user_id, refresh_token=True)
    first = {"refresh_token": client.refresh_token}
    second = client.post("/refresh", first, token=None)
    client.token = second["access_token"]
    assert client.get("/account/whoami")["device_id"] == client.device_id
    assert client.post("/refresh", first, token=None, expect=401).errcode == "M_UNKNOWN_TOKEN"


def test_there_are_no_addresses(alice: MatrixClient, client: MatrixClient) -> None:
    assert alice.get("/account/3pid")["threepids"] == []
    secret = {"client_secret": "secret", "send_attempt": 1}
    email, phone = {**secret, "email": "a@b.example"}, {**secret, "country": "GB", "phone_number": "07700900001"}
    for what in ("register", "account/password", "account/3pid"):
        token = alice.token if what == "account/3pid" else None
        for medium, body in (("email", email), ("msisdn", phone)):
            answer = client.post(f"/{what}/{medium}/requestToken", body, token=token, expect={400, 403})
            assert answer.errcode
    session = {"sid": "1", "client_secret": "secret"}
    assert alice.post("/account/3pid/add", session, expect={400, 401}).errcode
    server = {"id_server": "id.example", "id_access_token": "x"}
    assert alice.post("/account/3pid", {"three_pid_creds": {**session, **server}}, expect={400, 403}).errcode
    assert alice.post("/account/3pid/bind", {**session, **server}, expect={400, 403}).errcode
    address = {"medium": "email", "address": "a@b.example"}
    for what in ("delete", "unbind"):
        answer = alice.post(f"/account/3pid/{what}", address, expect={200, 400, 404})
        assert answer.errcode or answer["id_server_unbind_result"] in ("success", "no-support")


def test_what_asks_for_the_password(alice: MatrixClient) -> None:
    for path, body in (("/account/password", {"new_password": "other"}), ("/account/deactivate", {})):
        session = alice.post(path, body, expect=401)["session"]
        wrong = {**body, "auth": {**alice.with_password("wrong"), "session": session}}
        assert alice.post(path, wrong, expect=401).errcode == "M_FORBIDDEN"
        unknown = {**body, "auth": {**alice.with_password(), "session": "unknown"}}
        assert alice.post(path, unknown, expect={400, 401, 403}).status != 200
    other = alice.another()
    other.login(alice.user_id)


@pytest.mark.parametrize(("what", "errcode"), [("lock", "M_USER_LOCKED"), ("suspend", "M_USER_SUSPENDED")])
def test_administrators(alice: MatrixClient, new_user: NewUser, what: str, errcode: str) -> None:
    admin, key = new_user(admin=True), f"{what}ed"
    room = alice.create_room()
    path = f"{V1}/admin/{what}/{quoted(alice.user_id)}"
    for method, body in (("GET", None), ("PUT", {key: True})):
        assert alice.request(method, path, json=body, expect=403).errcode == "M_FORBIDDEN"
        unknown = f"{V1}/admin/{what}/{quoted('@nobody:test')}"
        assert admin.request(method, unknown, json=body, expect=404).errcode == "M_NOT_FOUND"
        elsewhere = f"{V1}/admin/{what}/{quoted('@nobody:elsewhere')}"
        assert admin.request(method, elsewhere, json=body, expect=400).errcode == "M_INVALID_PARAM"
    own = f"{V1}/admin/{what}/{quoted(admin.user_id)}"
    assert admin.put(own, {key: True}, expect=403).errcode == "M_FORBIDDEN"
    assert admin.get(path).json == {key: False}
    assert admin.put(path, {key: True}).json == {key: True}
    assert admin.get(path).json == {key: True}
    status = 401 if what == "lock" else 403
    assert alice.send(room, "hello", expect=status).errcode == errcode
    if what == "suspend":
        assert alice.messages(room).status == 200
    admin.put(path, {key: False})
    alice.say(room, "hello")


def test_whois(alice: MatrixClient, bob: MatrixClient, new_user: NewUser) -> None:
    path = f"/admin/whois/{quoted(alice.user_id)}"
    assert alice.device_id in alice.get(path)["devices"]
    assert new_user(admin=True).get(path)["user_id"] == alice.user_id
    assert bob.get(path, expect=403).errcode == "M_FORBIDDEN"
