from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from matrixd.core.errors import SignatureInvalid
from matrixd.core.server_keys import ServerKeys, published_keys
from matrixd.core.signing import MAX_KEY_VALIDITY_MS, SigningKey, sign_json
from tests.unit.core.build import KEY

OTHER = SigningKey.from_seed("other", b"\x01" * 32)
OLD = replace(SigningKey.from_seed("old", b"\x02" * 32).verify_key, expired_ts=77)
NOW = 1_000_000


def response(**changes: Any) -> dict[str, Any]:
    return sign_json({**published_keys("domain", [KEY], [OLD], NOW + 1), **changes, "signatures": {}}, "domain", KEY)


def test_what_one_server_publishes_another_reads() -> None:
    published = published_keys(
        "domain", [KEY, OTHER], [OLD, replace(OLD, key_id="ed25519:x", expired_ts=None)], NOW + 5
    )
    assert set(published["signatures"]["domain"]) == {"ed25519:1", "ed25519:other"}
    keys = ServerKeys.from_response(published, "domain", NOW)
    assert keys.server_name == "domain"
    assert keys.valid_until_ts == NOW + 5
    assert keys.keys == {
        "ed25519:1": replace(KEY.verify_key, valid_until_ts=NOW + 5),
        "ed25519:other": replace(OTHER.verify_key, valid_until_ts=NOW + 5),
        "ed25519:old": OLD,
    }


def test_no_key_is_valid_for_more_than_a_week_after_it_was_received() -> None:
    keys = ServerKeys.from_response(response(valid_until_ts=2**50), "domain", NOW)
    assert keys.valid_until_ts == keys.keys["ed25519:1"].valid_until_ts == NOW + MAX_KEY_VALIDITY_MS


def test_old_keys_may_be_missing_and_other_algorithms_are_left_out() -> None:
    verify_keys = {"ed25519:1": {"key": KEY.verify_key.to_base64()}, "rsa:1": {"key": "x"}, "rsa:2": 5}
    answer = response(verify_keys=verify_keys)
    del answer["old_verify_keys"]
    assert set(ServerKeys.from_response(sign_json(answer, "domain", KEY), "domain", NOW).keys) == {"ed25519:1"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"server_name": "evil"}, "not those of domain"),
        ({"valid_until_ts": "5"}, "valid_until_ts must be an integer"),
        ({"verify_keys": None}, "verify_keys must be an object"),
        ({"verify_keys": {"ed25519:1": 5}}, "verify_keys: the entry of ed25519:1 is incomplete"),
        ({"verify_keys": {"ed25519:1": {}}}, "verify_keys: the entry of ed25519:1 is incomplete"),
        ({"verify_keys": {"ed25519:1": {"key": "AAAA"}}}, "has 3 bytes, not 32"),
        ({"verify_keys": {}}, "No usable key of domain"),
        ({"verify_keys": {"ed25519:1": {"key": OTHER.verify_key.to_base64()}}}, "ed25519:1 is wrong"),
        ({"old_verify_keys": []}, "old_verify_keys must be an object"),
        ({"old_verify_keys": {"ed25519:2": {"key": "x"}}}, "old_verify_keys: the entry of ed25519:2 is incomplete"),
        ({"old_verify_keys": {"ed25519:2": {"key": "é", "expired_ts": 5}}}, "old_verify_keys: "),
    ],
)
def test_malformed_or_foreign_answers_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SignatureInvalid, match=sentence):
        ServerKeys.from_response(response(**changes), "domain", NOW)
