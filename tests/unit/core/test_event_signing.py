"""Who signs events, and the test vectors of https://spec.matrix.org/v1.19/appendices/#event-signing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from matrixd.core import event_signing
from matrixd.core.errors import SignatureInvalid
from matrixd.core.event import Event
from matrixd.core.hashing import content_hash_matches, signed_bytes
from matrixd.core.signing import SigningKey
from matrixd.core.versions import V1, V4, V5, V7, V8, V12, RoomVersion
from tests.unit.core.build import KEY, VERSIONS, make

OTHER = SigningKey.from_seed("other", b"\x01" * 32)
KEYS = {KEY.key_id: KEY.verify_key}


def test_the_minimal_event_of_the_specification() -> None:
    event: dict[str, Any] = {
        "room_id": "!x:domain",
        "sender": "@a:domain",
        "origin": "domain",
        "origin_server_ts": 1000000,
        "signatures": {},
        "hashes": {"sha256": "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"},
        "type": "X",
        "content": {},
        "prev_events": [],
        "auth_events": [],
        "depth": 3,
        "unsigned": {"age_ts": 1000000},
    }
    assert content_hash_matches(event)
    assert KEY.sign(signed_bytes(V1, event)) == (
        "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
    )


def test_the_event_with_redactable_content_of_the_specification() -> None:
    event: dict[str, Any] = {
        "content": {"body": "Here is the message content"},
        "event_id": "$0:domain",
        "hashes": {"sha256": "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"},
        "origin": "domain",
        "origin_server_ts": 1000000,
        "type": "m.room.message",
        "room_id": "!r:domain",
        "sender": "@u:domain",
        "signatures": {},
        "unsigned": {"age_ts": 1000000},
    }
    assert content_hash_matches(event)
    assert KEY.sign(signed_bytes(V1, event)) == (
        "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"
    )


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_signatures_hold_for_the_complete_and_the_redacted_event(version: RoomVersion) -> None:
    event = make(version)
    event_signing.verify_event(event, "domain", KEYS)
    event_signing.verify_event(event.redacted(), "domain", KEYS)
    forged = Event.from_stored(version, {**event.pdu, "depth": 77}, event.event_id)
    with pytest.raises(SignatureInvalid, match="is wrong"):
        event_signing.verify_event(forged, "domain", KEYS)


def test_the_senders_server_signs_and_in_v1_that_of_the_event_id_too() -> None:
    assert event_signing.required_signers(make(V4)) == {"domain"}
    assert event_signing.required_signers(make(V1)) == {"domain"}
    assert event_signing.required_signers(make(V1, event_id="$0:elsewhere")) == {"domain", "elsewhere"}


def test_the_invite_of_a_third_party_invite_may_come_from_anywhere() -> None:
    member: dict[str, Any] = {"event_type": "m.room.member", "state_key": "@b:c"}
    content = {"membership": "invite", "third_party_invite": {"signed": {}}}
    assert event_signing.required_signers(make(V12, **member, content=content)) == frozenset()
    assert event_signing.required_signers(make(V1, **member, content=content)) == {"domain"}
    assert event_signing.required_signers(make(V12, **member, content={"membership": "invite"})) == {"domain"}
    assert event_signing.required_signers(make(V12, **member, content={**content, "membership": "join"})) == {"domain"}


def test_a_restricted_join_is_signed_by_the_server_that_authorised_it() -> None:
    def authorising(version: RoomVersion, user_id: object, event_type: str = "m.room.member") -> str | None:
        content = {"membership": "join", "join_authorised_via_users_server": user_id}
        return event_signing.authorising_server(make(version, event_type=event_type, state_key="@a:b", content=content))

    assert authorising(V8, "@mod:elsewhere:80") == "elsewhere:80"
    assert authorising(V8, "mod") is None
    assert authorising(V8, 5) is None
    assert authorising(V8, "@mod:elsewhere", "m.other") is None
    assert authorising(V7, "@mod:elsewhere") is None


def test_keys_count_while_they_are_valid_from_v5_on() -> None:
    stale = {KEY.key_id: replace(KEY.verify_key, valid_until_ts=999_999)}
    event_signing.verify_event(make(V4), "domain", stale)
    with pytest.raises(SignatureInvalid, match="No usable key"):
        event_signing.verify_event(make(V5), "domain", stale)
    event_signing.verify_event(make(V5), "domain", {KEY.key_id: replace(KEY.verify_key, valid_until_ts=1_000_000)})


def test_signatures_of_expired_keys_are_skipped() -> None:
    expired = {KEY.key_id: replace(KEY.verify_key, expired_ts=999_999)}
    event = event_signing.with_event_signature(make(V12), "domain", OTHER)
    with pytest.raises(SignatureInvalid, match="No usable key"):
        event_signing.verify_event(event, "domain", expired)
    event_signing.verify_event(event, "domain", {**expired, OTHER.key_id: OTHER.verify_key})


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_a_second_server_signs_beside_the_first(version: RoomVersion) -> None:
    event = make(version)
    signed = event_signing.with_event_signature(event, "elsewhere", OTHER)
    assert signed == event
    assert set(event.pdu["signatures"]) == {"domain"}
    event_signing.verify_event(signed, "domain", KEYS)
    event_signing.verify_event(signed, "elsewhere", {OTHER.key_id: OTHER.verify_key})


def test_an_event_that_has_no_canonical_json_was_never_signed() -> None:
    event = make(V4)
    broken = Event.from_stored(V4, {**event.pdu, "depth": float("nan")}, event.event_id)
    with pytest.raises(SignatureInvalid, match="no canonical JSON"):
        event_signing.verify_event(broken, "domain", KEYS)
