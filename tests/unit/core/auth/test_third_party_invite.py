"""Invites that fulfil an invite of an e-mail address."""

from typing import Any

import pytest

from matrixd.core.auth import third_party_invite
from matrixd.core.event import Event
from matrixd.core.signing import SigningKey, sign_json
from tests.unit.core.room_factory import ALICE, BOB, CAROL, VERSIONS, RoomFactory

KEY = SigningKey.from_seed("0", bytes(32))
OTHER = SigningKey.from_seed("1", bytes(31) + b"1")
TOKEN = "token"
EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS)


def _public(key: SigningKey) -> str:
    return key.verify_key.to_base64()


def _room(version: str = "12", **promise: Any) -> RoomFactory:
    promise = promise or {"public_key": _public(KEY)}
    return RoomFactory(version).joined(ALICE).with_state("m.room.third_party_invite", promise, TOKEN)


def _signed(key: SigningKey = KEY, **fields: Any) -> dict[str, Any]:
    return sign_json({"mxid": CAROL, "token": TOKEN, **fields}, "id.example", key)


def _invite(room: RoomFactory, signed: Any, sender: str = ALICE, target: str = CAROL) -> Event:
    return room.member(sender, "invite", target, third_party_invite={"display_name": "carol", "signed": signed})


@EVERY_VERSION
def test_is_fulfilled(version: str) -> None:
    room = _room(version)
    assert room.verdict(_invite(room, _signed())) is None


@EVERY_VERSION
def test_neither_membership_nor_level_of_the_sender_count(version: str) -> None:
    room = _room(version).power({}, invite=100).with_member(ALICE, "leave")
    assert room.verdict(_invite(room, _signed())) is None


@EVERY_VERSION
def test_a_ban_holds(version: str) -> None:
    room = _room(version).with_member(CAROL, "ban")
    assert room.verdict(_invite(room, _signed())) == "THIRD_PARTY_BANNED"
    assert room.with_member(CAROL, "leave").verdict(_invite(room, _signed())) is None


@pytest.mark.parametrize("invite", [None, "x", [], {}, {"signed": None}, {"signed": "x"}])
def test_without_statement(invite: Any) -> None:
    room = _room()
    assert room.verdict(room.member(ALICE, "invite", CAROL, third_party_invite=invite)) == "THIRD_PARTY_NOT_SIGNED"


@pytest.mark.parametrize("signed", [{}, {"mxid": CAROL}, {"token": TOKEN}, {"mxid": CAROL, "token": 1}])
def test_incomplete_statement(signed: Any) -> None:
    room = _room()
    assert room.verdict(_invite(room, signed)) == "THIRD_PARTY_INCOMPLETE"


@EVERY_VERSION
def test_statement_about_another_user(version: str) -> None:
    room = _room(version)
    assert room.verdict(_invite(room, _signed(), target=BOB)) == "THIRD_PARTY_OTHER_USER"
    assert room.verdict(_invite(room, _signed(mxid=[CAROL]))) == "THIRD_PARTY_OTHER_USER"


@EVERY_VERSION
def test_token_that_the_room_does_not_know(version: str) -> None:
    room = _room(version)
    assert room.verdict(_invite(room, _signed(token="other"))) == "THIRD_PARTY_UNKNOWN_TOKEN"


@EVERY_VERSION
def test_in_the_name_of_another_sender(version: str) -> None:
    room = _room(version).joined(BOB)
    assert room.verdict(_invite(room, _signed(), sender=BOB)) == "THIRD_PARTY_OTHER_SENDER"


@pytest.mark.parametrize(
    "promise",
    [
        {"public_key": _public(KEY)},
        {"public_key": _public(KEY).replace("+", "-").replace("/", "_")},
        {"public_keys": [{"public_key": _public(OTHER)}, {"public_key": _public(KEY)}]},
        {"public_key": _public(OTHER), "public_keys": [{"public_key": _public(KEY)}]},
        {"public_key": "broken", "public_keys": [17, {}, {"public_key": None}, {"public_key": _public(KEY)}]},
    ],
)
def test_any_key_counts(promise: dict[str, Any]) -> None:
    room = _room(**promise)
    assert room.verdict(_invite(room, _signed())) is None


@pytest.mark.parametrize(
    "promise",
    [
        {"display_name": "no key"},
        {"public_key": _public(OTHER)},
        {"public_key": 17, "public_keys": _public(KEY)},
        {"public_key": "é", "public_keys": [_public(KEY)]},
        {"public_key": "A" * 43},
    ],
)
def test_no_key_fits(promise: dict[str, Any]) -> None:
    room = _room(**promise)
    assert room.verdict(_invite(room, _signed())) == "THIRD_PARTY_SIGNATURE"


@pytest.mark.parametrize(
    "signatures",
    [
        None,
        [],
        {},
        {"id.example": None},
        {"id.example": {}},
        {"id.example": {"ed25519:0": None}},
        {"id.example": {"ed25519:0": "???"}},
        {"id.example": {"ed25519:0": "AAAA"}},
        {"id.example": {"rsa:0": _signed()["signatures"]["id.example"]["ed25519:0"]}},
        {"id.example": {"ed25519:0": _signed(extra=1)["signatures"]["id.example"]["ed25519:0"]}},
    ],
)
def test_no_signature_fits(signatures: Any) -> None:
    room = _room()
    assert room.verdict(_invite(room, {**_signed(), "signatures": signatures})) == "THIRD_PARTY_SIGNATURE"


def test_any_signature_counts() -> None:
    room = _room()
    signed = sign_json(sign_json({"mxid": CAROL, "token": TOKEN}, "other.example", OTHER), "id.example", KEY)
    assert room.verdict(_invite(room, signed)) is None


def test_a_statement_that_has_no_canonical_json_is_not_signed() -> None:
    room = _room("1")
    assert room.verdict(_invite(room, {**_signed(), "odd": float("nan")})) == "THIRD_PARTY_SIGNATURE"


def test_trials_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    room = _room(public_keys=[{"public_key": _public(OTHER)}, {"public_key": _public(KEY)}])
    monkeypatch.setattr(third_party_invite, "MAX_TRIALS", 1)
    assert room.verdict(_invite(room, _signed())) == "THIRD_PARTY_SIGNATURE"
    monkeypatch.setattr(third_party_invite, "MAX_TRIALS", 2)
    assert room.verdict(_invite(room, _signed())) is None
