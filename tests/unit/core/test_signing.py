"""Signatures on JSON, with the test vectors of https://spec.matrix.org/v1.19/appendices/#json-signing."""

from __future__ import annotations

from typing import Any

import pytest
import signedjson.key
import signedjson.sign
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core import signing
from matrixd.core.errors import SignatureInvalid
from matrixd.core.signing import SigningKey, VerifyKey
from tests.unit.core.build import KEY, SEED

OTHER = SigningKey.from_seed("other", b"\x01" * 32)
KEYS = {KEY.key_id: KEY.verify_key}

EXAMPLES = [
    ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
    (
        {"one": 1, "two": "Two"},
        "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
    ),
]


@pytest.mark.parametrize(("value", "signature"), EXAMPLES)
def test_examples_of_the_specification(value: dict[str, Any], signature: str) -> None:
    assert signing.sign_json(value, "domain", KEY) == {**value, "signatures": {"domain": {"ed25519:1": signature}}}


@settings(max_examples=50)
@given(st.dictionaries(st.text(), st.integers(-(2**53) + 1, 2**53 - 1) | st.text()))
def test_signedjson_agrees(value: dict[str, Any]) -> None:
    value.pop("signatures", None)
    theirs = signedjson.key.decode_signing_key_base64("ed25519", "1", KEY.to_line().split()[2])
    signed = signing.sign_json(value, "domain", KEY)
    assert signed == signedjson.sign.sign_json(dict(value), "domain", theirs)
    signedjson.sign.verify_signed_json(signed, "domain", signedjson.key.get_verify_key(theirs))
    signing.verify_json(signed, "domain", KEYS)


def test_signing_keeps_other_signatures_and_unsigned_and_its_argument() -> None:
    value = {"a": 1, "unsigned": {"age": 5}}
    once = signing.sign_json(value, "domain", KEY)
    twice = signing.sign_json(signing.sign_json(once, "domain", OTHER), "elsewhere", OTHER)
    assert value == {"a": 1, "unsigned": {"age": 5}}
    assert set(twice["signatures"]) == {"domain", "elsewhere"}
    assert set(twice["signatures"]["domain"]) == {"ed25519:1", "ed25519:other"}
    assert twice["unsigned"] == {"age": 5}
    signing.verify_json({**twice, "unsigned": {"age": 6}}, "domain", KEYS)


@pytest.mark.parametrize("nonsense", [None, [], "x", {"domain": "x"}])
def test_signing_replaces_what_cannot_hold_signatures(nonsense: object) -> None:
    signed = signing.sign_json({"signatures": nonsense}, "domain", KEY)
    signing.verify_json(signed, "domain", KEYS)


def test_a_changed_object_is_refused() -> None:
    signed = signing.sign_json({"a": 1}, "domain", KEY)
    with pytest.raises(SignatureInvalid, match="of domain with the key ed25519:1 is wrong"):
        signing.verify_json({**signed, "a": 2}, "domain", KEYS)


@pytest.mark.parametrize(
    "signatures",
    [None, {}, [], {"domain": []}, {"domain": {}}, {"domain": {"rsa:1": "x"}}, {"domain": {"ed25519:1": 5}}, {"x": {}}],
)
def test_an_object_without_a_readable_signature_is_refused(signatures: object) -> None:
    with pytest.raises(SignatureInvalid, match="There is no signature of domain"):
        signing.verify_json({"signatures": signatures}, "domain", KEYS)


@pytest.mark.parametrize("signature", ["", "x", "é", "AAAA", "A" * 86])
def test_an_unreadable_signature_is_wrong(signature: str) -> None:
    with pytest.raises(SignatureInvalid, match="is wrong"):
        signing.verify_json({"signatures": {"domain": {"ed25519:1": signature}}}, "domain", KEYS)


def test_signatures_with_unknown_keys_are_skipped_but_one_has_to_be_left() -> None:
    signed = signing.sign_json(signing.sign_json({}, "domain", KEY), "domain", OTHER)
    signing.verify_json(signed, "domain", KEYS)
    with pytest.raises(SignatureInvalid, match="No usable key of domain"):
        signing.verify_json(signed, "domain", {})


def test_every_signature_with_a_known_key_has_to_be_right() -> None:
    signed = signing.sign_json({}, "domain", KEY)
    signed["signatures"]["domain"]["ed25519:other"] = "A" * 86
    with pytest.raises(SignatureInvalid, match="ed25519:other is wrong"):
        signing.verify_json(signed, "domain", {**KEYS, OTHER.key_id: OTHER.verify_key})


def test_what_has_no_canonical_json_cannot_have_been_signed() -> None:
    with pytest.raises(SignatureInvalid, match="no canonical JSON"):
        signing.verify_json({"a": float("inf"), "signatures": {"domain": {"ed25519:1": "x"}}}, "domain", KEYS)


def test_signing_keys_are_read_from_their_line_and_hide_their_secret() -> None:
    again = SigningKey.from_line(KEY.to_line())
    assert again.public == KEY.public == KEY.verify_key.public
    assert again.key_id == "ed25519:1"
    # The specification's text of this seed ends in "1": 43 characters hold two bits more than 32 bytes.
    assert KEY.to_line() == "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0"
    assert repr(KEY) == str(KEY) == "<SigningKey ed25519:1>"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "is written as"),
        ("rsa 1 AAAA", "is written as"),
        ("ed25519 1 ABCDE", "'1' is not base64"),
        ("ed25519 1 é", "'1' is not base64"),
        ("ed25519 1 AAAA", "has 32 bytes, not 3"),
        ("ed25519 a-b AAAA", "no name for a signing key"),
    ],
)
def test_broken_lines_are_refused_without_their_secret(line: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        SigningKey.from_line(line)
    assert "AAAA" not in str(caught.value)


def test_verify_keys_are_read_from_base64() -> None:
    text = KEY.verify_key.to_base64()
    assert VerifyKey.from_base64("ed25519:1", text) == KEY.verify_key
    assert VerifyKey.from_base64("ed25519:1", text, 5).valid_until_ts == 5
    assert VerifyKey.from_base64("ed25519:1", text, None, 6).expired_ts == 6
    for key_id, key in (("rsa:1", text), ("ed25519", text), ("ed25519:1", "AAAA"), ("ed25519:1", "é")):
        with pytest.raises(ValueError):
            VerifyKey.from_base64(key_id, key)


@pytest.mark.parametrize(
    ("key", "timestamp", "lenient", "enforced"),
    [
        (VerifyKey("ed25519:1", SEED), 1000, True, True),
        (VerifyKey("ed25519:1", SEED, valid_until_ts=1000), 1000, True, True),
        (VerifyKey("ed25519:1", SEED, valid_until_ts=999), 1000, True, False),
        (VerifyKey("ed25519:1", SEED, expired_ts=1000), 1000, True, True),
        (VerifyKey("ed25519:1", SEED, expired_ts=999), 1000, False, False),
    ],
)
def test_periods_of_keys(key: VerifyKey, timestamp: int, lenient: bool, enforced: bool) -> None:
    assert key.counts_at(timestamp, enforce_validity=False) is lenient
    assert key.counts_at(timestamp, enforce_validity=True) is enforced
