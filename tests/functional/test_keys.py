"""The server's own keys, and those of others that it tells as a notary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from matrixd.core.server_keys import ServerKeys
from matrixd.core.signing import SigningKey, VerifyKey, verify_json
from tests.support import database
from tests.support.authority import Authority
from tests.support.client import MatrixClient
from tests.support.openapi import Specification
from tests.support.remote_server import NewRemote, RemoteServer, now_ms, remote_options
from tests.support.server import ServerProcess

QUERY = "/_matrix/key/v2/query"
SERVER = "/_matrix/key/v2/server"
OLD = SigningKey.from_seed("old", b"o" * 32).verify_key


@pytest.fixture(scope="module", params=database.ENGINES)
def keyed(
    request: pytest.FixtureRequest, authority: Authority, specification: Specification
) -> Iterator[ServerProcess]:
    """A server that finds the others of the tests, and had another key before."""
    if request.param == "psycopg2":
        request.getfixturevalue("postgres")
    place = database.fresh(request.param, migrated=False)
    options = {
        **remote_options(authority),
        "old_signing_keys": {OLD.key_id: {"key": OLD.to_base64(), "expired_ts": 1234}},
        "key_refresh_interval": "2h",
    }
    running = ServerProcess(place, options=options).start()
    yield running
    running.stop()
    place.drop()


@pytest.fixture
def asker(keyed: ServerProcess) -> Iterator[MatrixClient]:
    client = keyed.client()
    yield client
    client.close()


def _own_key(server: ServerProcess) -> VerifyKey:
    with open(server.configuration["signing_key_path"], encoding="ascii") as file:
        return SigningKey.from_line(file.readline()).verify_key


def test_the_own_keys(keyed: ServerProcess, asker: MatrixClient) -> None:
    answer = asker.get(SERVER)
    own = _own_key(keyed)
    keys = ServerKeys.from_response(answer.json, "test", now_ms()).keys
    assert keys.keys() == {own.key_id, OLD.key_id}
    assert (keys[own.key_id].public, keys[OLD.key_id].expired_ts) == (own.public, 1234)
    assert 3_600_000 < answer["valid_until_ts"] - now_ms() <= 7_200_000
    assert asker.get(f"{SERVER}/ed25519:any", documented=False).json == answer.json


def test_the_keys_of_another_server(keyed: ServerProcess, asker: MatrixClient, remote: RemoteServer) -> None:
    own = _own_key(keyed)
    for _ in range(2):
        (found,) = asker.get(f"{QUERY}/{remote.name}")["server_keys"]
        verify_json(found, "test", {own.key_id: own})
        assert ServerKeys.from_response(found, remote.name, now_ms()).keys.keys() == {remote.key.key_id}
    assert len(remote.received("GET", SERVER)) == 1


def test_the_keys_of_several_servers(keyed: ServerProcess, asker: MatrixClient, new_remote: NewRemote) -> None:
    first, second, gone = (new_remote() for _ in range(3))
    gone.stop()
    wanted: dict[str, Any] = {name: {} for name in (second.name, gone.name, "test", "not a name")}
    wanted[first.name] = {first.key.key_id: {}}
    found = asker.post(QUERY, {"server_keys": wanted})["server_keys"]
    assert {each["server_name"] for each in found} == {first.name, second.name, "test"}
    own = _own_key(keyed)
    for each in found:
        verify_json(each, "test", {own.key_id: own})
    assert asker.post(QUERY, {"server_keys": {}})["server_keys"] == []


def test_a_server_that_is_gone_is_told_from_memory(
    keyed: ServerProcess, asker: MatrixClient, new_remote: NewRemote
) -> None:
    remote = new_remote()
    remote.keys_valid_ms = 1000
    assert len(asker.get(f"{QUERY}/{remote.name}")["server_keys"]) == 1
    remote.stop()
    later = {"minimum_valid_until_ts": now_ms() + 60_000}
    assert len(asker.get(f"{QUERY}/{remote.name}", query=later)["server_keys"]) == 1


def test_a_new_key_is_asked_for(keyed: ServerProcess, asker: MatrixClient, remote: RemoteServer) -> None:
    wanted = {"server_keys": {remote.name: {remote.key.key_id: {"minimum_valid_until_ts": now_ms()}}}}
    assert len(asker.post(QUERY, wanted)["server_keys"]) == 1
    remote.change_key("b_2")
    wanted = {"server_keys": {remote.name: {remote.key.key_id: {"minimum_valid_until_ts": now_ms()}}}}
    (found,) = asker.post(QUERY, wanted)["server_keys"]
    assert found["verify_keys"].keys() == {"ed25519:b_2"}
    assert found["old_verify_keys"].keys() == {"ed25519:a_1"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "server_keys"),
        ({"server_keys": []}, "server_keys"),
        ({"server_keys": {"a": {"ed25519:a": 1}}}, "server_keys"),
        ({"server_keys": {"a": {"ed25519:a": {"minimum_valid_until_ts": "1"}}}}, "minimum_valid_until_ts"),
    ],
)
def test_wrong_queries(asker: MatrixClient, body: object, says: str) -> None:
    answer = asker.post(QUERY, body, validate=False, expect=400)
    assert (answer.errcode, says in answer["error"]) == ("M_BAD_JSON", True)


def test_wrong_names_and_times(asker: MatrixClient) -> None:
    assert asker.get(f"{QUERY}/a_b", expect=400).errcode == "M_INVALID_PARAM"
    query = {"minimum_valid_until_ts": "x"}
    assert asker.get(f"{QUERY}/a", query=query, expect=400, validate=False).errcode == "M_INVALID_PARAM"
