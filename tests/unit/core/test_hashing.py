from __future__ import annotations

from typing import Any

import pytest
from unpaddedbase64 import encode_base64

from matrixd.core import hashing
from matrixd.core.errors import NotCanonical
from matrixd.core.versions import V1, V3, V4, V12, RoomVersion
from tests.unit.core.build import HASH_VERSIONS, VERSIONS, create, make

#: https://spec.matrix.org/v1.19/appendices/#event-signing
MINIMAL: dict[str, Any] = {
    "room_id": "!x:domain",
    "sender": "@a:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "signatures": {},
    "hashes": {},
    "type": "X",
    "content": {},
    "prev_events": [],
    "auth_events": [],
    "depth": 3,
    "unsigned": {"age_ts": 1000000},
}


def test_the_content_hash_of_the_specification() -> None:
    assert encode_base64(hashing.content_hash(MINIMAL)) == "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"


def test_the_content_hash_covers_all_but_hashes_signatures_and_unsigned() -> None:
    digest = hashing.content_hash(MINIMAL)
    assert hashing.content_hash({**MINIMAL, "signatures": {"a": {}}, "hashes": {"x": 1}, "unsigned": 5}) == digest
    assert hashing.content_hash({**MINIMAL, "anything": 1}) != digest


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.identifier)
def test_a_complete_event_has_its_hash_and_a_redacted_one_not(version: RoomVersion) -> None:
    event = make(version)
    assert hashing.content_hash_matches(event.pdu)
    assert not hashing.content_hash_matches(event.redacted().pdu)


@pytest.mark.parametrize("hashes", [None, {}, [], {"sha256": 5}, {"sha256": "é"}, {"sha256": "x"}, {"sha256": ""}])
def test_an_unreadable_hash_does_not_match(hashes: object) -> None:
    assert not hashing.content_hash_matches({**MINIMAL, "hashes": hashes})


def test_what_has_no_canonical_json_has_no_hash() -> None:
    with pytest.raises(NotCanonical):
        hashing.content_hash_matches({**MINIMAL, "hashes": {"sha256": "x"}, "content": {"a": float("nan")}})


@pytest.mark.parametrize("version", HASH_VERSIONS, ids=lambda v: v.identifier)
def test_event_ids_are_reference_hashes(version: RoomVersion) -> None:
    event = make(version)
    digest = hashing.reference_hash(version, event.pdu)
    assert event.event_id == "$" + encode_base64(digest, urlsafe=version is not V3)
    assert event.event_id == hashing.event_id_of(version, event.pdu) == event.redacted().event_id
    assert hashing.event_id_of(version, {**event.pdu, "unsigned": {}, "signatures": {}}) == event.event_id


def test_only_v3_writes_event_ids_with_slashes() -> None:
    digest = b"\xff" * 32
    assert hashing.event_id_from_hash(V3, digest) == "$" + "/" * 42 + "8"
    assert hashing.event_id_from_hash(V4, digest) == "$" + "_" * 42 + "8"
    with pytest.raises(ValueError, match="are not hashes"):
        hashing.event_id_from_hash(V1, digest)


def test_the_reference_hash_of_v1_covers_the_chosen_id() -> None:
    assert hashing.event_id_of(V1, {"event_id": "$a:b"}) == "$a:b"
    first, second = (hashing.reference_hash(V1, {**MINIMAL, "event_id": f"${name}:b"}) for name in "ab")
    assert first != second


def test_the_room_id_of_v12_is_the_id_of_its_creation() -> None:
    event = create(V12)
    assert "room_id" not in event.pdu
    assert event.room_id == hashing.room_id_of_create(event.event_id) == "!" + event.event_id[1:]
