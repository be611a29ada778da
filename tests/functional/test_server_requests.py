"""Requests of other servers to a real server, which asks them for their keys over TLS."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.core.request_signing import authorization
from tests.support.client import MatrixClient
from tests.support.remote_server import NewRemote, RemoteServer, new_key
from tests.support.server import ServerProcess

PROFILE = "/_matrix/federation/v1/query/profile"
KEYS = "/_matrix/key/v2/server"


def _ask(remote: RemoteServer, server: ServerProcess, user: MatrixClient, **options: Any) -> Any:
    return remote.request(server, "GET", PROFILE, query={"user_id": user.user_id}, **options)


def test_a_signed_request_is_answered(server: ServerProcess, alice: MatrixClient, remote: RemoteServer) -> None:
    for _ in range(3):
        assert _ask(remote, server, alice).json["displayname"]
    assert len(remote.received("GET", KEYS)) == 1


def test_the_signature_must_be_right(server: ServerProcess, alice: MatrixClient, remote: RemoteServer) -> None:
    for header in (
        "",
        "Bearer abc",
        "X-Matrix origin=",
        f'X-Matrix origin="{remote.name}",destination="test",key="{remote.key.key_id}",sig="{"A" * 86}"',
        authorization("GET", f"{PROFILE}?x", remote.name, "test", remote.key).decode(),
    ):
        answer = _ask(remote, server, alice, headers={"Authorization": header}, expect=401)
        assert answer.errcode == "M_UNAUTHORIZED"
    assert _ask(remote, server, alice, destination="another", expect=401).errcode == "M_UNAUTHORIZED"


def test_a_server_that_does_not_tell_its_keys_is_not_believed(
    server: ServerProcess, alice: MatrixClient, new_remote: NewRemote
) -> None:
    remote = new_remote()
    remote.stop()
    assert "could not be asked" in _ask(remote, server, alice, expect=401).json["error"]


def test_nobody_speaks_for_another_server(
    server: ServerProcess, alice: MatrixClient, remote: RemoteServer, new_remote: NewRemote
) -> None:
    other = new_remote()
    target = f"{PROFILE}?user_id={alice.user_id}"
    forged = authorization("GET", target, other.name, "test", remote.key).decode()
    answer = remote.request(server, "GET", target, headers={"Authorization": forged}, expect=401)
    assert answer.errcode == "M_UNAUTHORIZED"


def test_a_new_key_is_taken_at_once_and_the_old_one_no_more(
    server: ServerProcess, alice: MatrixClient, remote: RemoteServer
) -> None:
    _ask(remote, server, alice)
    old = remote.key
    remote.change_key("b_2")
    _ask(remote, server, alice)
    new, remote.key = remote.key, old
    assert _ask(remote, server, alice, expect=401).errcode == "M_UNAUTHORIZED"
    remote.key = new
    _ask(remote, server, alice)


def test_a_key_that_is_not_published_is_not_taken(
    server: ServerProcess, alice: MatrixClient, remote: RemoteServer
) -> None:
    published, remote.key = remote.key, new_key("c_3")
    remote.on("GET", KEYS, lambda received: {})
    assert _ask(remote, server, alice, expect=401).errcode == "M_UNAUTHORIZED"
    assert published.key_id != remote.key.key_id


@pytest.mark.parametrize(
    "body",
    [
        b'{"pdus":[],"origin_server_ts":1,"origin":"%s"}',
        b'{ "origin_server_ts" : 1, "pdus": [ ], "origin": "%s" }',
    ],
)
def test_a_body_may_be_written_in_any_way(server: ServerProcess, remote: RemoteServer, body: bytes) -> None:
    path = f"/_matrix/federation/v1/send/{len(body)}"
    content = {"pdus": [], "origin_server_ts": 1, "origin": remote.name}
    answer = remote.request(server, "PUT", path, content, body=body % remote.name.encode())
    assert answer.json == {"pdus": {}}


def test_another_body_than_the_signed_one_is_refused(server: ServerProcess, remote: RemoteServer) -> None:
    content = {"pdus": [], "origin_server_ts": 1, "origin": remote.name}
    path = "/_matrix/federation/v1/send/other"
    answer = remote.request(server, "PUT", path, content, body=b'{"pdus":[]}', expect=401)
    assert answer.errcode == "M_UNAUTHORIZED"
    answer = remote.request(server, "PUT", path, content, body=b"{", expect=400)
    assert answer.errcode == "M_NOT_JSON"
