from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.hashing import event_id_of
from matrixd.core.redaction import redact
from matrixd.core.versions import ROOM_VERSIONS, V1, V6, V8, V9, V10, V11, V12, RoomVersion
from tests.unit.core.build import HASH_VERSIONS, VERSIONS

PROTECTED = {"type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth", "prev_events"} | {
    "auth_events",
    "origin_server_ts",
    "event_id",
}
FULL_POWER = dict.fromkeys(
    [
        *("ban", "events", "events_default", "invite", "kick", "redact", "state_default", "users", "users_default"),
        *("notifications", "other"),
    ],
    1,
)


def kept(version: RoomVersion, event_type: str, content: dict[str, Any]) -> Any:
    return redact(version, {"type": event_type, "content": content})["content"]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_the_top_level_keeps_what_is_protected(version: RoomVersion) -> None:
    old = {"origin", "membership", "prev_state"}
    names = PROTECTED | old | {"unsigned", "redacts", "age", "anything"}
    pdu: dict[str, Any] = {name: {} for name in names} | {"type": "m.room.message"}
    gone_in_v11 = old if version.redacts_in_content else set()
    assert set(redact(version, pdu)) == PROTECTED | (old - gone_in_v11)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_content_of_other_types_is_emptied(version: RoomVersion) -> None:
    assert kept(version, "m.room.message", {"body": "x"}) == {}
    assert kept(version, "m.room.history_visibility", {"history_visibility": "shared", "x": 1}) == {
        "history_visibility": "shared"
    }


def test_aliases_are_protected_until_v6() -> None:
    assert kept(V1, "m.room.aliases", {"aliases": ["#a:b"], "x": 1}) == {"aliases": ["#a:b"]}
    assert kept(V6, "m.room.aliases", {"aliases": ["#a:b"]}) == {}


def test_join_rules_keep_allow_from_v8() -> None:
    content = {"join_rule": "restricted", "allow": [], "x": 1}
    assert kept(ROOM_VERSIONS["7"], "m.room.join_rules", content) == {"join_rule": "restricted"}
    assert kept(V8, "m.room.join_rules", content) == {"join_rule": "restricted", "allow": []}


def test_members_keep_their_authoriser_from_v9_and_the_signed_invite_from_v11() -> None:
    content = {
        "membership": "join",
        "displayname": "A",
        "join_authorised_via_users_server": "@b:c",
        "third_party_invite": {"display_name": "x", "signed": {"mxid": "@a:b"}},
    }
    assert kept(V8, "m.room.member", content) == {"membership": "join"}
    with_authoriser = {"membership": "join", "join_authorised_via_users_server": "@b:c"}
    assert kept(V9, "m.room.member", content) == with_authoriser
    assert kept(V11, "m.room.member", content) == with_authoriser | {"third_party_invite": {"signed": {"mxid": "@a:b"}}}


@pytest.mark.parametrize("invite", [None, "x", [], {"display_name": "x"}])
def test_a_third_party_invite_without_signature_is_removed(invite: object) -> None:
    assert kept(V11, "m.room.member", {"membership": "invite", "third_party_invite": invite}) == {
        "membership": "invite"
    }


def test_creation_keeps_the_creator_then_everything() -> None:
    content = {"creator": "@a:b", "room_version": "10", "type": "m.space"}
    assert kept(V10, "m.room.create", content) == {"creator": "@a:b"}
    assert kept(V12, "m.room.create", content) == content


def test_power_levels_keep_invite_from_v11() -> None:
    without = {name: 1 for name in FULL_POWER if name not in ("invite", "notifications", "other")}
    assert kept(V10, "m.room.power_levels", FULL_POWER) == without
    assert kept(V11, "m.room.power_levels", FULL_POWER) == without | {"invite": 1}


def test_redactions_keep_their_target_in_content_from_v11() -> None:
    assert kept(V10, "m.room.redaction", {"redacts": "$a", "reason": "x"}) == {}
    assert kept(V11, "m.room.redaction", {"redacts": "$a", "reason": "x"}) == {"redacts": "$a"}


def test_malformed_events_are_redacted_as_well() -> None:
    assert redact(V12, {"type": "m.room.create", "content": "x"}) == {"type": "m.room.create", "content": {}}
    assert redact(V12, {"type": ["m.room.create"], "content": {"a": 1}}) == {"type": ["m.room.create"], "content": {}}
    assert redact(V12, {"content": {"a": 1}}) == {"content": {}}
    assert redact(V12, {"type": "m.room.create"}) == {"type": "m.room.create"}


names = st.sampled_from([*sorted(PROTECTED - {"content", "type"}), "origin", "unsigned", "redacts", "x"])
keys = st.sampled_from(
    ["membership", "creator", "join_rule", "allow", "users", "invite", "aliases", "redacts", "third_party_invite", "x"]
)
values = st.integers(-9, 9) | st.text(max_size=3) | st.dictionaries(st.sampled_from(["signed", "x"]), st.integers(0, 9))
types = st.sampled_from(
    [f"m.room.{name}" for name in ("member", "create", "join_rules", "power_levels", "aliases", "redaction", "name")]
)
pdus = st.builds(
    lambda event_type, top, content: {**top, "type": event_type, "content": content},
    types,
    st.dictionaries(names, values),
    st.dictionaries(keys, values),
)


@settings(max_examples=200)
@given(st.sampled_from(VERSIONS), pdus)
def test_redaction_is_idempotent_and_leaves_its_argument_alone(version: RoomVersion, pdu: dict[str, Any]) -> None:
    before = repr(pdu)
    once = redact(version, pdu)
    assert redact(version, once) == once
    assert repr(pdu) == before


@settings(max_examples=200)
@given(st.sampled_from(HASH_VERSIONS), pdus)
def test_redaction_keeps_the_event_id(version: RoomVersion, pdu: dict[str, Any]) -> None:
    assert event_id_of(version, redact(version, pdu)) == event_id_of(version, pdu)
