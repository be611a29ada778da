"""The checker itself: it takes what the specification allows and names what it does not."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import openapi_files
from tests.support.openapi import Specification, SpecificationMismatch

JSON = {"Content-Type": "application/json"}
GOOD_HEADERS = {
    **JSON,
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization, Date",
}
ROOM = "/_matrix/client/v3/rooms/%21abc%3Atest"
MEMBER = {
    "type": "m.room.member",
    "state_key": "@alice:test",
    "sender": "@alice:test",
    "event_id": "$one",
    "origin_server_ts": 1,
    "content": {"membership": "join"},
}


def answer(
    specification: Specification,
    method: str,
    path: str,
    status: int,
    body: Any,
    headers: Mapping[str, str] = GOOD_HEADERS,
    **options: Any,
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    specification.check_answer(method, path, status, headers, raw, **options)


def request(specification: Specification, method: str, target: str, body: Any = None) -> None:
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    specification.check_request(method, target, {} if raw is None else JSON, raw)


def sync_with(event: Mapping[str, Any], room: str = "!abc:test") -> dict[str, Any]:
    return {"next_batch": "s1", "rooms": {"join": {room: {"timeline": {"events": [event], "limited": False}}}}}


# ---- finding operations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/_matrix/client/versions", "getVersions"),
        ("GET", "/_matrix/client/v3/sync", "sync"),
        ("GET", "/_matrix/client/r0/sync", "sync"),
        ("GET", "/.well-known/matrix/client", "getWellknown"),
        ("PUT", f"{ROOM}/state/m.room.name", "setRoomStateWithKey"),
        ("PUT", f"{ROOM}/state/m.room.name/", "setRoomStateWithKey"),
        ("GET", f"{ROOM}/state", "getRoomState"),
        ("POST", f"{ROOM}/invite", "inviteUser"),
        ("GET", "/_matrix/client/v1/rooms/%21a%3Ab/timestamp_to_event", "getEventByTimestamp"),
        ("GET", "/_matrix/media/r0/config", "getConfig"),
        ("GET", "/_matrix/federation/v1/query/profile", "queryProfile"),
        ("GET", "/_matrix/federation/v1/query/else", "queryInfo"),
        ("GET", "/_matrix/key/v2/server", "getServerKey"),
    ],
)
def test_operations_are_found(specification: Specification, method: str, path: str, name: str) -> None:
    assert specification.find(method, path)[0].name == name


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_matrix/client/v3/sync"),
        ("GET", "/_matrix/client/v3/rooms//state"),
        ("GET", "/_matrix/client/v3/nothing"),
        ("GET", "/_matrix/client/unstable/sync"),
        ("GET", "/"),
    ],
)
def test_what_is_no_operation_is_not_found(specification: Specification, method: str, path: str) -> None:
    assert specification.find(method, path) == []


def test_a_url_documented_twice_has_both_operations(specification: Specification) -> None:
    assert {op.name for op in specification.find("POST", f"{ROOM}/invite")} == {"inviteUser", "inviteBy3PID"}


def test_percent_encoded_slashes_stay_inside_a_segment(specification: Specification) -> None:
    (operation,) = specification.find("GET", "/_matrix/client/v3/profile/%40a%2Fb%3Atest")
    assert operation.name == "getUserProfile"


# ---- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/_matrix/client/v3/sync?timeout=0&full_state=true&set_presence=offline", None),
        ("GET", f"{ROOM}/messages?dir=b&limit=10", None),
        ("PUT", f"{ROOM}/send/m.room.message/1", {"body": "hi"}),
        ("POST", f"{ROOM}/invite", {"user_id": "@bob:test"}),
        (
            "POST",
            f"{ROOM}/invite",
            {"id_server": "i.test", "id_access_token": "t", "medium": "email", "address": "a@b"},
        ),
        ("POST", "/_matrix/client/v3/logout", {}),
        ("POST", "/_matrix/client/v3/createRoom", {"preset": "public_chat", "invite": ["@bob:test"]}),
        ("GET", "/_matrix/client/v3/publicRooms?limit=5&server=other.test&access_token=x", None),
        ("POST", "/_matrix/client/v3/join/%23alias%3Atest?via=a.test&via=b.test", {}),
    ],
)
def test_right_requests_pass(specification: Specification, method: str, target: str, body: Any) -> None:
    request(specification, method, target, body)


@pytest.mark.parametrize(
    ("method", "target", "body", "told"),
    [
        ("GET", "/_matrix/client/v3/nothing", None, "no such operation"),
        ("GET", "/_matrix/client/v3/sync?timeout=soon", None, "query.timeout"),
        ("GET", "/_matrix/client/v3/sync?set_presence=maybe", None, "query.set_presence"),
        ("GET", "/_matrix/client/v3/sync?full_state=True", None, "query.full_state"),
        ("GET", "/_matrix/client/v3/sync?wait=1", None, "query.wait: no such parameter"),
        ("GET", f"{ROOM}/messages?limit=10", None, "query.dir: required"),
        ("GET", "/_matrix/client/v3/rooms/abc/state", None, "path.roomId"),
        ("PUT", f"{ROOM}/send/m.room.message/1", None, "body: required"),
        ("PUT", f"{ROOM}/send/m.room.message/1", [], "body: [] is not of type 'object'"),
        ("PUT", f"{ROOM}/send/m.room.message/1", b"{", "body: is not JSON"),
        ("PUT", f"{ROOM}/send/m.room.message/1", b'{"a":1,"a":2}', "stands twice"),
        ("POST", f"{ROOM}/invite", {"user_id": "bob"}, "body.user_id"),
        ("POST", "/_matrix/client/v3/logout", {"all": True}, "body: this operation takes none"),
        ("POST", "/_matrix/client/v3/createRoom", {"preset": "mine"}, "body.preset"),
        ("POST", "/_matrix/client/v3/createRoom", {"invite": ["@bob:test", 7]}, "body.invite[1]"),
    ],
)
def test_wrong_requests_are_told(specification: Specification, method: str, target: str, body: Any, told: str) -> None:
    with pytest.raises(SpecificationMismatch) as raised:
        request(specification, method, target, body)
    assert told in str(raised.value)


# ---- answers ---------------------------------------------------------------------------------------------------------

RATE_LIMITED = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many requests.", "retry_after_ms": 2000}
FLOWS = {"flows": [{"stages": ["m.login.dummy"]}], "params": {}, "session": "x"}
UNKNOWN = {"errcode": "M_UNRECOGNIZED", "error": "There is no such endpoint."}


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/_matrix/client/versions", 200, {"versions": ["v1.19"], "unstable_features": {"a": True}}),
        ("PUT", f"{ROOM}/send/m.room.message/1", 200, {"event_id": "$abc"}),
        ("PUT", f"{ROOM}/send/m.room.message/1", 403, {"errcode": "M_FORBIDDEN", "error": "You are not in the room."}),
        ("PUT", f"{ROOM}/send/m.room.message/1", 503, {"errcode": "M_UNKNOWN", "error": "The database is away."}),
        ("GET", "/_matrix/client/v3/sync", 200, sync_with(MEMBER)),
        ("GET", "/_matrix/client/v3/sync", 401, {"errcode": "M_UNKNOWN_TOKEN", "error": "x", "soft_logout": True}),
        ("POST", "/_matrix/client/v3/register", 401, FLOWS),
        ("POST", "/_matrix/client/v3/register", 401, {**FLOWS, "errcode": "M_FORBIDDEN", "error": "Wrong."}),
        ("POST", "/_matrix/client/v3/register", 400, {"errcode": "M_USER_IN_USE", "error": "Taken."}),
        ("GET", "/_matrix/client/v3/nothing", 404, UNKNOWN),
        ("POST", "/_matrix/client/v3/sync", 405, UNKNOWN),
        ("OPTIONS", "/_matrix/client/v3/sync", 200, b""),
        ("OPTIONS", "/_matrix/client/v3/sync", 204, b""),
    ],
)
def test_right_answers_pass(specification: Specification, method: str, path: str, status: int, body: Any) -> None:
    answer(specification, method, path, status, body)


@pytest.mark.parametrize(
    ("method", "path", "status", "body", "told"),
    [
        ("GET", "/_matrix/client/versions", 200, {}, "'versions' is a required property"),
        ("GET", "/_matrix/client/versions", 200, {"versions": [1]}, "answer.versions[0]"),
        ("GET", "/_matrix/client/versions", 200, b"nope", "answer: is not JSON"),
        ("GET", "/_matrix/client/versions", 200, b'{"versions": [NaN]}', "NaN is not JSON"),
        ("GET", "/_matrix/client/versions", 201, {"versions": []}, "status: not documented"),
        ("PUT", f"{ROOM}/send/m.room.message/1", 200, {"event_id": "abc"}, "answer.event_id"),
        ("PUT", f"{ROOM}/send/m.room.message/1", 403, {"error": "No."}, "answer.errcode"),
        ("PUT", f"{ROOM}/send/m.room.message/1", 403, {"errcode": "FORBIDDEN", "error": "No."}, "answer.errcode"),
        ("PUT", f"{ROOM}/send/m.room.message/1", 403, {"errcode": "M_FORBIDDEN"}, "answer.error"),
        ("PUT", f"{ROOM}/send/m.room.message/1", 500, b"<html>", "answer: is not JSON"),
        ("GET", "/_matrix/client/v3/sync", 200, sync_with({**MEMBER, "sender": "alice"}), "events[0].sender"),
        ("GET", "/_matrix/client/v3/sync", 200, sync_with({**MEMBER, "origin_server_ts": 1.0}), "origin_server_ts"),
        ("GET", "/_matrix/client/v3/sync", 200, sync_with({**MEMBER, "content": {}}), "'membership' is a required"),
        ("GET", "/_matrix/client/v3/sync", 200, sync_with(MEMBER, "abc"), "the key 'abc' is no mx-room-id"),
        ("POST", "/_matrix/client/v3/register", 401, {"flows": {}}, "answer.flows"),
        ("GET", "/_matrix/client/v3/nothing", 200, {}, "404 is due"),
        ("GET", "/_matrix/client/v3/nothing", 404, {"errcode": "M_NOT_FOUND", "error": "x"}, "must be M_UNRECOGNIZED"),
        ("POST", "/_matrix/client/v3/sync", 404, UNKNOWN, "405 is due"),
        ("POST", "/_matrix/client/v3/login", 429, RATE_LIMITED, "headers.retry-after"),
        ("POST", "/_matrix/client/v3/login", 429, {**RATE_LIMITED, "retry_after_ms": "2"}, "headers.retry-after"),
    ],
)
def test_wrong_answers_are_told(
    specification: Specification, method: str, path: str, status: int, body: Any, told: str
) -> None:
    with pytest.raises(SpecificationMismatch) as raised:
        answer(specification, method, path, status, body)
    assert told in str(raised.value)


def test_the_message_names_operation_place_and_value(specification: Specification) -> None:
    with pytest.raises(SpecificationMismatch) as raised:
        answer(specification, "GET", "/_matrix/client/versions", 200, {"versions": ["v1.1", 7]})
    text = str(raised.value)
    assert "GET /_matrix/client/versions (getVersions, versions.yaml): the answer 200" in text
    assert "answer.versions[1]: 7 is not of type 'string'; found 7" in text


def test_a_rate_limit_with_its_header_passes(specification: Specification) -> None:
    answer(specification, "POST", "/_matrix/client/v3/login", 429, RATE_LIMITED, {**GOOD_HEADERS, "Retry-After": "2"})


def test_a_rate_limits_own_fields_are_checked(specification: Specification) -> None:
    headers = {**GOOD_HEADERS, "Retry-After": "2"}
    with pytest.raises(SpecificationMismatch, match="retry_after_ms"):
        answer(specification, "POST", "/_matrix/client/v3/login", 429, {**RATE_LIMITED, "retry_after_ms": "2"}, headers)


@pytest.mark.parametrize("missing", ["Access-Control-Allow-Origin", "Access-Control-Allow-Headers", "Content-Type"])
def test_headers_are_required(specification: Specification, missing: str) -> None:
    headers = {name: value for name, value in GOOD_HEADERS.items() if name != missing}
    with pytest.raises(SpecificationMismatch, match=f"headers.{missing.lower()}"):
        answer(specification, "GET", "/_matrix/client/versions", 200, {"versions": []}, headers)


def test_cors_must_allow_all_methods(specification: Specification) -> None:
    headers = {**GOOD_HEADERS, "Access-Control-Allow-Methods": "GET, POST"}
    with pytest.raises(SpecificationMismatch, match="CORS asks for delete, options, put"):
        answer(specification, "OPTIONS", "/_matrix/client/v3/sync", 200, b"", headers)


def test_federation_needs_no_cors(specification: Specification) -> None:
    body = {"server": {"name": "matrixd", "version": "1"}}
    answer(specification, "GET", "/_matrix/federation/v1/version", 200, body, JSON)


def test_a_success_without_the_needed_token_is_told(specification: Specification) -> None:
    with pytest.raises(SpecificationMismatch, match="needs an access token"):
        answer(specification, "GET", "/_matrix/client/v3/sync", 200, {"next_batch": "s1"}, with_token=False)


def test_redacted_events_may_lack_content(specification: Specification) -> None:
    redaction = {**MEMBER, "type": "m.room.redaction", "content": {"redacts": "$one"}}
    del redaction["state_key"]
    pruned = {**MEMBER, "content": {}, "unsigned": {"redacted_because": {**redaction, "event_id": "$two"}}}
    answer(specification, "GET", "/_matrix/client/v3/sync", 200, sync_with(pruned))


def test_event_contents_are_checked_only_for_the_named_types(specification: Specification) -> None:
    body = sync_with({**MEMBER, "content": {}})
    answer(specification, "GET", "/_matrix/client/v3/sync", 200, body, events=())


def test_paths_outside_the_specification(specification: Specification) -> None:
    answer(specification, "GET", "/_synapse/admin/v1/register", 200, {"nonce": "x"}, JSON, documented=False)
    with pytest.raises(SpecificationMismatch, match="errcode"):
        answer(specification, "GET", "/_synapse/admin/v1/register", 400, {"error": "x"}, JSON, documented=False)


# ---- the data --------------------------------------------------------------------------------------------------------


def merged(example: Any) -> Any:
    """An example whose reference to a common part was resolved into both parts."""
    if isinstance(example, dict) and example.keys() == {"allOf"}:
        first, second = (merged(part) for part in example["allOf"])
        return {**first, **second}
    return example


def test_the_datas_own_event_examples_pass(specification: Specification) -> None:
    """The checker is no stricter than its source."""
    examples = openapi_files.specification_directory() / "data" / "event-schemas" / "examples"
    reader = openapi_files._Reader(openapi_files.specification_directory())
    checked = 0
    for file in sorted(examples.glob("m.*.yaml")):
        kind = file.stem.partition("$")[0]
        if kind in specification.events:
            example = merged(reader._resolve(file, reader._document(file)))
            assert specification._schemas.mistakes(specification.events[kind], example, file.name) == []
            checked += 1
    assert checked > 50


def test_the_cache_is_read_again(tmp_path: Path) -> None:
    directory = openapi_files.specification_directory()
    first = openapi_files.load(directory, tmp_path)
    (cache,) = tmp_path.iterdir()
    assert pickle.loads(cache.read_bytes()) == first
    assert openapi_files.load(directory, tmp_path) == first


def test_a_missing_checkout_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATRIX_SPEC", str(tmp_path / "nowhere"))
    with pytest.raises(openapi_files.SpecificationMissing, match="set MATRIX_SPEC"):
        openapi_files.specification_directory()
