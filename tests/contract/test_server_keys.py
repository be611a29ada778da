"""The store of other servers' keys, on both engines."""

from __future__ import annotations

from dataclasses import replace

from matrixd.core.signing import VerifyKey
from matrixd.storage import server_keys
from matrixd.storage.server_keys import NewKeys, StoredKeys
from tests.support.database import OpenDatabase

CURRENT = VerifyKey("ed25519:a", b"\x00\xff" * 16, valid_until_ts=2**52)
OLD = VerifyKey("ed25519:b", b"b" * 32, expired_ts=3)
FIRST = StoredKeys("a.example", {"ed25519:a": CURRENT, "ed25519:b": OLD}, 2**52, "notary", 10, 11)
SECOND = StoredKeys("b.example:8448", {"ed25519:a": CURRENT}, 7, "b.example:8448", 10, 20)


def test_keys_are_found_again(db: OpenDatabase) -> None:
    assert db.read(server_keys.of_servers, ["a.example"]) == {}
    db.write(server_keys.store, [NewKeys(FIRST, '{"a":"é\\u0000"}'), NewKeys(SECOND, None)])
    found = db.read(server_keys.of_servers, ["a.example", "b.example:8448", "c.example"])
    assert found == {"a.example": FIRST, "b.example:8448": SECOND}
    assert db.read(server_keys.responses, ["a.example", "b.example:8448"]) == {"a.example": '{"a":"é\\u0000"}'}


def test_what_is_learned_takes_the_place_of_what_was_known(db: OpenDatabase) -> None:
    db.write(server_keys.store, [NewKeys(FIRST, "1")])
    gone = VerifyKey("ed25519:a", CURRENT.public, expired_ts=5)
    later = replace(FIRST, keys={"ed25519:a": gone}, from_server="a.example", received_ts=12, used_ts=13)
    db.write(server_keys.store, [NewKeys(later, "2")])
    found = db.read(server_keys.of_servers, ["a.example"])
    assert found == {"a.example": later}
    assert db.read(server_keys.responses, ["a.example"]) == {"a.example": "2"}
    db.write(server_keys.store, [NewKeys(later, None)])
    assert db.read(server_keys.responses, ["a.example"]) == {"a.example": "2"}


def test_what_nobody_needs_is_forgotten(db: OpenDatabase) -> None:
    db.write(server_keys.store, [NewKeys(FIRST, "1"), NewKeys(SECOND, "2")])
    assert db.write(server_keys.expire, 11, 100) == 0
    db.write(server_keys.used, {"a.example"}, 50)
    assert db.write(server_keys.expire, 50, 100) == 1
    assert db.read(server_keys.of_servers, ["a.example", "b.example:8448"]) == {
        "a.example": replace(FIRST, used_ts=50)
    }
    assert db.read(lambda tx: tx.one("SELECT count(*) FROM server_keys WHERE server_name <> 'a.example'")) == (0,)


def test_they_are_forgotten_piece_by_piece(db: OpenDatabase) -> None:
    db.write(server_keys.store, [NewKeys(FIRST, "1"), NewKeys(SECOND, "2")])
    assert [db.write(server_keys.expire, 100, 1) for _ in range(3)] == [1, 1, 0]
