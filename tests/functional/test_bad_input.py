"""Bad input: each gets the specification's error and a sentence that names the field, and nothing is half-written."""

from __future__ import annotations

import http.client
from typing import Any

import pytest

from tests.support.client import MatrixClient, quoted
from tests.support.exchange import Answer

# Bodies that are no JSON that Matrix knows, whatever the endpoint.
NOT_JSON = [
    b"{", b"nonsense", b'{"a":}', b"\xff\xfe", b'{"a":"\xed\xa0\x80"}', b'{"a":"\\ud800"}', b'{"a":NaN}',
    b'{"a":Infinity}', b'{"a":1}trailing', b'{"a":"\n"}',
]  # fmt: skip


def send_path(room: str, txn: str = "t1") -> str:
    return f"/rooms/{quoted(room)}/send/m.room.message/{txn}"


def newest(client: MatrixClient, room: str) -> str:
    return str(client.messages(room, limit=1)["chunk"][0]["event_id"])


def refused(answer: Answer, errcode: str, *named: str) -> None:
    assert answer.errcode == errcode, answer.json
    for name in named:
        assert name in answer["error"], answer.json


def test_broken_json(alice: MatrixClient, room: str) -> None:
    before = newest(alice, room)
    state = f"/rooms/{quoted(room)}/state/org.example/"
    for body in NOT_JSON:
        for method, path in (("PUT", send_path(room)), ("PUT", state), ("POST", "/createRoom"), ("POST", "/login")):
            answer = alice.request(method, path, body=body, validate=False, expect=400)
            assert answer.errcode in ("M_NOT_JSON", "M_BAD_JSON"), (body, path)
    assert newest(alice, room) == before
    assert len(alice.joined_rooms()) == 1


def test_bodies_that_are_no_objects(alice: MatrixClient, room: str) -> None:
    before = newest(alice, room)
    for body in (b"[]", b'"text"', b"1", b"true"):
        for path in (send_path(room), f"/rooms/{quoted(room)}/state/org.example/"):
            refused(alice.request("PUT", path, body=body, validate=False, expect=400), "M_BAD_JSON")
        for path in ("/createRoom", f"/rooms/{quoted(room)}/invite", f"/join/{quoted(room)}", "/delete_devices"):
            refused(alice.request("POST", path, body=body, validate=False, expect=400), "M_BAD_JSON")
    assert newest(alice, room) == before


@pytest.mark.parametrize(
    "content",
    [b'{"n":1.5}', b'{"n":1e3}', b'{"n":9007199254740992}', b'{"n":-9007199254740992}', b'{"a":[{"n":0.1}]}',
     b'{"n":%s}' % (b"9" * 400)],
)  # fmt: skip
def test_numbers_that_canonical_json_has_not(alice: MatrixClient, room: str, content: bytes) -> None:
    before = newest(alice, room)
    for path in (send_path(room), f"/rooms/{quoted(room)}/state/org.example/"):
        answer = alice.request("PUT", path, body=content, validate=False, expect=400)
        assert answer.errcode in ("M_BAD_JSON", "M_INVALID_PARAM"), answer.json
    initial = b'{"initial_state":[{"type":"org.example","content":%s}]}' % content
    assert alice.request("POST", "/createRoom", body=initial, validate=False, expect=400).errcode is not None
    assert newest(alice, room) == before
    assert alice.joined_rooms() == [room]


def test_what_is_too_large(alice: MatrixClient, room: str) -> None:
    before = newest(alice, room)
    for path in (send_path(room), f"/rooms/{quoted(room)}/state/org.example/"):
        refused(alice.put(path, {"body": "x" * 70_000}, expect=413), "M_TOO_LARGE")
    long = "x" * 256
    assert alice.send(room, {}, long, expect={400, 413}, validate=False).errcode in ("M_TOO_LARGE", "M_INVALID_PARAM")
    answer = alice.set_state(room, "org.example", {}, long, expect={400, 413}, validate=False)
    assert answer.errcode in ("M_TOO_LARGE", "M_INVALID_PARAM")
    nested = b'{"a":' * 500 + b"1" + b"}" * 500
    assert alice.request("PUT", send_path(room), body=nested, validate=False, expect=400).errcode == "M_BAD_JSON"
    try:
        alice.request("PUT", send_path(room), body=b'{"body":"%s"}' % (b"x" * 11 * 2**20), validate=False, expect=413)
    except (OSError, http.client.HTTPException):
        # The server may close the connection without having read it all.
        alice.close()
    assert newest(alice, room) == before


def test_nul_and_unicode(alice: MatrixClient, room: str) -> None:
    for content in ({"body": "a\x00b", "msgtype": "m.text"}, {"\x00": {"body": "\x00"}}, {"body": "\U0010ffff 🐈"}):
        event_id = alice.send(room, content)["event_id"]
        assert alice.event(room, event_id)["content"] == content
        assert alice.messages(room, limit=1)["chunk"][0]["content"] == content
    for path in (
        f"/rooms/{quoted(room)}/state/org.example/a%00b",
        f"/rooms/{quoted(room)}/send/org%00example/1",
        f"/rooms/{quoted(room)}/state/org.example/%ff",
        f"/user/{quoted(alice.user_id)}/account_data/a%00b",
    ):
        refused(alice.put(path, {}, validate=False, expect=400), "M_INVALID_PARAM")
    refused(alice.get("/publicRooms?since=a%00b", validate=False, expect=400), "M_INVALID_PARAM", "since")


@pytest.mark.parametrize(
    ("path", "body", "errcode", "named"),
    [
        ("/createRoom", {"preset": "nice"}, "M_BAD_JSON", "preset"),
        ("/createRoom", {"preset": 1}, "M_BAD_JSON", "preset"),
        ("/createRoom", {"visibility": "some"}, "M_BAD_JSON", "visibility"),
        ("/createRoom", {"name": {"text": "x"}}, "M_BAD_JSON", "name"),
        ("/createRoom", {"topic": 3}, "M_BAD_JSON", "topic"),
        ("/createRoom", {"invite": "@a:test"}, "M_BAD_JSON", "invite"),
        ("/createRoom", {"invite": ["nobody"]}, "M_INVALID_PARAM", "invite"),
        ("/createRoom", {"initial_state": [{"type": "x"}]}, "M_BAD_JSON", "content"),
        ("/createRoom", {"initial_state": {"type": "x"}}, "M_BAD_JSON", "initial_state"),
        ("/createRoom", {"room_version": "unknown"}, "M_UNSUPPORTED_ROOM_VERSION", "room version"),
        ("/createRoom", {"room_version": 10}, "M_BAD_JSON", "room_version"),
        ("/createRoom", {"creation_content": "x"}, "M_BAD_JSON", "creation_content"),
        ("/createRoom", {"power_level_content_override": {"users": {"x": 1}}}, "M_BAD_JSON", "users"),
        ("/createRoom", {"power_level_content_override": {"ban": "high"}}, "M_BAD_JSON", "ban"),
        ("/rooms/{room}/invite", {}, "M_BAD_JSON", "user_id"),
        ("/rooms/{room}/invite", {"user_id": 1}, "M_BAD_JSON", "user_id"),
        ("/rooms/{room}/invite", {"user_id": "nobody"}, "M_INVALID_PARAM", "user_id"),
        ("/rooms/{room}/kick", {}, "M_BAD_JSON", "user_id"),
        ("/rooms/{room}/kick", {"user_id": "nobody"}, "M_INVALID_PARAM", "user_id"),
        ("/rooms/{room}/ban", {"user_id": ["@a:test"]}, "M_BAD_JSON", "user_id"),
        ("/rooms/{room}/ban", {"user_id": "@a:test", "reason": 1}, "M_BAD_JSON", "reason"),
        ("/rooms/{room}/unban", {"user_id": "@"}, "M_INVALID_PARAM", "user_id"),
        ("/rooms/{room}/upgrade", {}, "M_BAD_JSON", "new_version"),
        ("/rooms/{room}/upgrade", {"new_version": "unknown"}, "M_UNSUPPORTED_ROOM_VERSION", "room version"),
        ("/rooms/{room}/read_markers", {"m.fully_read": 1}, "M_BAD_JSON", "m.fully_read"),
        ("/rooms/{room}/receipt/m.other/$x", {}, "M_INVALID_PARAM", "receiptType"),
        ("/rooms/{room}/receipt/m.read/$x", {"thread_id": 1}, "M_INVALID_PARAM", "thread_id"),
        ("/join/room", {}, "M_INVALID_PARAM", "roomIdOrAlias"),
        ("/knock/room", {}, "M_INVALID_PARAM", "roomIdOrAlias"),
        ("/publicRooms", {"limit": "ten"}, "M_BAD_JSON", "limit"),
        ("/publicRooms", {"filter": {"generic_search_term": 1}}, "M_BAD_JSON", "generic_search_term"),
        ("/publicRooms", {"since": "nonsense"}, "M_INVALID_PARAM", "since"),
        ("/delete_devices", {}, "M_BAD_JSON", "devices"),
        ("/account/password", {"new_password": 1}, "M_BAD_JSON", "new_password"),
        ("/login", {}, "M_BAD_JSON", "type"),
        ("/login", {"type": "m.login.magic"}, "M_UNKNOWN", "type"),
        ("/refresh", {}, "M_BAD_JSON", "refresh_token"),
        ("/register", {"username": "Ünïcode", "auth": {"type": "m.login.dummy"}}, "M_INVALID_USERNAME", "username"),
    ],
)
def test_wrong_fields(
    alice: MatrixClient, room: str, path: str, body: dict[str, Any], errcode: str, named: str
) -> None:
    before = newest(alice, room)
    answer = alice.post(path.replace("{room}", quoted(room)), body, validate=False, expect=400)
    # A field that is missing is M_MISSING_PARAM in some of the specification's examples, M_BAD_JSON in others.
    refused(answer, "M_MISSING_PARAM" if answer.errcode == "M_MISSING_PARAM" else errcode, named)
    assert newest(alice, room) == before
    assert alice.joined_rooms() == [room]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/rooms/{room}/typing/{user}", {}, "typing"),
        ("/rooms/{room}/typing/{user}", {"typing": "yes"}, "typing"),
        ("/rooms/{room}/typing/{user}", {"typing": True, "timeout": "long"}, "timeout"),
        ("/rooms/{room}/redact/$x/1", {"reason": 1}, "reason"),
        ("/directory/room/%23x:test", {}, "room_id"),
        ("/directory/room/%23x:test", {"room_id": "room"}, "room_id"),
        ("/directory/list/room/{room}", {"visibility": "some"}, "visibility"),
        ("/user/{user}/rooms/{room}/tags/u.x", {"order": "first"}, "order"),
        ("/profile/{user}/displayname", {"displayname": 1}, "displayname"),
        ("/presence/{user}/status", {"status_msg": 1, "presence": "online"}, "status_msg"),
        ("/devices/{device}", {"display_name": 1}, "display_name"),
        ("/pushrules/global/content/x", {"pattern": "x"}, "actions"),
        ("/rooms/{room}/state/m.room.power_levels/", {"users": {"@a:test": "10"}}, "users"),
        ("/rooms/{room}/state/m.room.member/{user}", {"membership": 1}, "membership"),
        ("/rooms/{room}/state/m.room.canonical_alias/", {"alias": "room"}, "alias"),
    ],
)
def test_wrong_fields_of_what_is_put(
    alice: MatrixClient, room: str, path: str, body: dict[str, Any], named: str
) -> None:
    for name, value in (("{room}", room), ("{user}", alice.user_id), ("{device}", alice.device_id)):
        path = path.replace(name, quoted(value))
    answer = alice.put(path, body, validate=False, expect=400)
    assert answer.errcode in ("M_BAD_JSON", "M_INVALID_PARAM", "M_MISSING_PARAM", "M_BAD_ALIAS"), answer.json
    assert named in answer["error"], answer.json


def test_wrong_identifiers_lead_nowhere(alice: MatrixClient) -> None:
    for room in ("room", "!", "!a b:c", "#alias:test", "!unknown:test", "!" + "x" * 300):
        for path in (
            "state", "members", "joined_members", "messages?dir=b", "event/$x", "context/$x", "state/m.room.name/",
            "initialSync", "aliases",
        ):
            answer = alice.get(f"/rooms/{quoted(room)}/{path}", validate=False, expect={400, 403, 404})
            assert answer.errcode in ("M_INVALID_PARAM", "M_FORBIDDEN", "M_NOT_FOUND"), (room, path)
        for path in ("join", "leave", "invite", "kick", "ban", "unban", "forget", "upgrade"):
            body = {"user_id": "@a:test", "new_version": "11"}
            # 502: the server that the ID of an unknown room names cannot be asked.
            expected = {400, 403, 404, 502} if path == "join" else {400, 403, 404}
            answer = alice.post(f"/rooms/{quoted(room)}/{path}", body, validate=False, expect=expected)
            assert answer.errcode, (room, path)
        alice.put(send_path(room), {}, validate=False, expect={400, 403, 404})
    assert alice.joined_rooms() == []


def test_tokens(alice: MatrixClient, client: MatrixClient) -> None:
    for path in ("/sync", "/account/whoami", "/joined_rooms", "/events", "/initialSync"):
        assert client.get(path, expect=401).errcode == "M_MISSING_TOKEN"
        for token in ("unknown", "x" * 5000, alice.token[:-1] if alice.token else ""):
            answer = client.get(path, token=token, expect=401)
            assert (answer.errcode, answer["soft_logout"]) == ("M_UNKNOWN_TOKEN", False)
    assert client.get(f"/account/whoami?access_token={alice.token}")["user_id"] == alice.user_id


def test_tokens_of_sync(alice: MatrixClient) -> None:
    future = "s999999999" + alice.sync()["next_batch"][2:]
    for since in ("nonsense", "s-1", "s1.5", "t1-1", future, "s" + "1_" * 60 + "1", "s" + "9" * 30):
        refused(alice.sync(since=since, expect=400), "M_INVALID_PARAM", "since")
    for query in ({"timeout": "x"}, {"full_state": "yes"}, {"set_presence": "away"}):
        answer = alice.get("/sync", query=query, validate=False, expect=400)
        refused(answer, "M_INVALID_PARAM", next(iter(query)))
    for wanted, errcode in (("{", "M_NOT_JSON"), ('{"room":1}', "M_BAD_JSON"), ("unknown", None)):
        answer = alice.get("/sync", query={"filter": wanted}, validate=False, expect={400, 404})
        assert errcode is None or answer.errcode == errcode


def test_unknown_endpoints_and_methods(alice: MatrixClient) -> None:
    for path in ("/_matrix/client/v3/nothing", "/_matrix/client/v99/sync", "/_matrix/nothing", "/_matrix/client"):
        assert alice.get(path, validate=False, expect=404).errcode == "M_UNRECOGNIZED"
    for method, path in (("POST", "/sync"), ("DELETE", "/createRoom"), ("PUT", "/login"), ("PATCH", "/sync")):
        answer = alice.request(method, path, validate=False, expect=405)
        assert answer.errcode == "M_UNRECOGNIZED"
    options = alice.request("OPTIONS", "/sync", token=None, validate=False, expect={200, 204})
    assert options.headers["access-control-allow-origin"] == "*"
