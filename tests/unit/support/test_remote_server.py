"""The other homeserver of the tests: it is found by TLS, signs, records, answers as told, and sees what is wrong."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from typing import Any

import pytest

from matrixd.core.request_signing import authorization
from matrixd.core.server_keys import ServerKeys
from tests.support.authority import Authority
from tests.support.remote_server import Received, RemoteServer, Reply, error, new_key, now_ms


def _get(remote: RemoteServer, authority: Authority, path: str, **headers: str) -> tuple[int, Any]:
    context = ssl.create_default_context(cafile=str(authority.root))
    connection = http.client.HTTPSConnection("localhost", remote.port, timeout=10, context=context)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body)


def test_its_keys_are_published(remote: RemoteServer, authority: Authority) -> None:
    remote.change_key("b_2")
    status, answer = _get(remote, authority, "/_matrix/key/v2/server")
    assert status == 200
    keys = ServerKeys.from_response(answer, remote.name, now_ms()).keys
    assert keys.keys() == {"ed25519:a_1", "ed25519:b_2"}


def test_it_answers_what_it_is_told_to(remote: RemoteServer, authority: Authority) -> None:
    def profile(received: Received) -> Reply:
        return Reply(body=(piece.encode() for piece in ['{"displayname":', f'"{received.query["user_id"][0]}"}}']))

    remote.on("GET", "/_matrix/federation/v1/query/profile", profile)
    remote.on("GET", "/_matrix/federation/v1/query/directory", error(404, "M_NOT_FOUND"))
    assert _get(remote, authority, "/_matrix/federation/v1/query/profile?user_id=%40a%3Ab") == (
        200,
        {"displayname": "@a:b"},
    )
    assert _get(remote, authority, "/_matrix/federation/v1/query/directory?room_alias=%23a%3Ab")[0] == 404
    assert _get(remote, authority, "/_matrix/federation/v1/x")[1]["errcode"] == "M_UNRECOGNIZED"
    remote.on("GET", "/cut", Reply(cut=True))
    with pytest.raises(http.client.RemoteDisconnected):
        _get(remote, authority, "/cut")


def test_it_remembers_what_came(remote: RemoteServer, authority: Authority) -> None:
    path = "/_matrix/federation/v1/version"
    asking = threading.Timer(0.05, lambda: _get(remote, authority, path))
    asking.start()
    (received,) = remote.wait_for("GET", path)
    assert (received.path, received.signature) == (path, None)
    with pytest.raises(AssertionError, match="1 of 2"):
        remote.wait_for("GET", path, count=2, within_s=0.01)
    asking.join()


def test_what_is_wrong_is_seen(authority: Authority) -> None:
    remote = RemoteServer(authority).start()
    target = "/_matrix/federation/v1/version"
    right = authorization("GET", target, "test", remote.name, new_key("x")).decode()
    assert _get(remote, authority, target, Authorization=right)[0] == 200
    wrong = authorization("GET", target, "test", "another", new_key("x")).decode()
    assert _get(remote, authority, target, Authorization=wrong)[0] == 401
    assert _get(remote, authority, "/_matrix/federation/v1/query/profile")[0] == 400
    with pytest.raises(AssertionError, match="another"):
        remote.stop()
