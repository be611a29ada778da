"""Policy servers: which event names one, and which events it recommends."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.core.event import Event
from matrixd.core.hashing import signed_bytes
from matrixd.core.policy_server import KEY_ID, POLICY_KEY, PolicyServer
from matrixd.core.signing import SigningKey
from tests.unit.core.room_factory import ALICE, RoomFactory

KEY = SigningKey.from_seed("policy", bytes([7]) * 32)
PUBLIC = KEY.verify_key.to_base64()
GOOD: dict[str, Any] = {"via": "policy.example", "public_keys": {"ed25519": PUBLIC}}


def policy_event(content: dict[str, Any]) -> Event:
    return RoomFactory("11").event("m.room.policy", ALICE, content, "")


def test_a_valid_event_names_one() -> None:
    found = PolicyServer.of(policy_event(GOOD), {"policy.example"})
    assert found is not None
    assert (found.server_name, found.key.key_id) == ("policy.example", KEY_ID)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"via": "policy.example"},
        {"via": 1, "public_keys": {"ed25519": PUBLIC}},
        {"via": "policy.example", "public_keys": {"ed25519": 1}},
        {"via": "policy.example", "public_keys": {"rsa": PUBLIC}},
        {"via": "policy.example", "public_keys": {"ed25519": "short"}},
        {"via": "policy.example", "public_keys": [PUBLIC]},
    ],
)
def test_others_name_none(content: dict[str, Any]) -> None:
    assert PolicyServer.of(policy_event(content), {"policy.example"}) is None


def test_a_server_without_a_member_in_the_room_is_none() -> None:
    assert PolicyServer.of(policy_event(GOOD), {"other.example"}) is None
    assert PolicyServer.of(None, {"policy.example"}) is None


def test_it_recommends_what_it_has_signed() -> None:
    policy = PolicyServer("policy.example", KEY.verify_key)
    event = RoomFactory("11").event("m.room.message", ALICE, {"body": "x"}, None)
    assert not policy.recommends(event)
    signature = KEY.sign(signed_bytes(event.version, event.pdu))
    signed = policy.with_signature(event, signature)
    assert policy.recommends(signed)
    assert signed.event_id == event.event_id
    other = SigningKey.from_seed("policy", bytes([8]) * 32)
    assert not policy.recommends(policy.with_signature(event, other.sign(signed_bytes(event.version, event.pdu))))
    assert not PolicyServer("other.example", KEY.verify_key).recommends(signed)


def test_only_its_own_event_needs_no_signature() -> None:
    policy = PolicyServer("policy.example", KEY.verify_key)
    assert policy.recommends(policy_event(GOOD))
    assert policy_event(GOOD).key == POLICY_KEY
    assert not policy.recommends(RoomFactory("11").event("m.room.policy", ALICE, GOOD, "other"))
    assert not policy.recommends(RoomFactory("11").event("m.room.policy", ALICE, GOOD, None))
