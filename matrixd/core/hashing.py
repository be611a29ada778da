"""Hashes of events, and the IDs that are made of them.

https://spec.matrix.org/v1.19/server-server-api/#signing-events
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from unpaddedbase64 import decode_base64, encode_base64

from matrixd.core import canonical_json
from matrixd.core.redaction import redact
from matrixd.core.versions import EventIdFormat, RoomVersion

_NOT_IN_CONTENT_HASH = frozenset({"unsigned", "signatures", "hashes"})


def content_hash(pdu: Mapping[str, Any]) -> bytes:
    """SHA-256 over the complete event without `unsigned`, `signatures` and `hashes`. Raises NotCanonical.

    https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event
    """
    hashed = {key: value for key, value in pdu.items() if key not in _NOT_IN_CONTENT_HASH}
    return sha256(canonical_json.encode(hashed)).digest()


def content_hash_matches(pdu: Mapping[str, Any]) -> bool:
    """Whether the event is complete: its content has the hash that its signatures cover. Raises NotCanonical.

    When it does not match, the receiver goes on with the redacted event.
    https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
    """
    hashes = pdu.get("hashes")
    expected = hashes.get("sha256") if isinstance(hashes, dict) else None
    if not isinstance(expected, str):
        return False
    digest = content_hash(pdu)
    try:
        return decode_base64(expected) == digest
    except ValueError:
        return False


def signed_bytes(version: RoomVersion, pdu: Mapping[str, Any]) -> bytes:
    """What the signatures of an event cover, and its reference hash too: the redacted form without `signatures`.

    Raises NotCanonical.
    """
    redacted = redact(version, pdu)
    redacted.pop("signatures", None)
    return canonical_json.encode(redacted)


def reference_hash(version: RoomVersion, pdu: Mapping[str, Any]) -> bytes:
    """SHA-256 over the redacted event without `signatures`. Raises NotCanonical.

    https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event
    """
    return sha256(signed_bytes(version, pdu)).digest()


def event_id_of(version: RoomVersion, pdu: Mapping[str, Any]) -> str:
    """The event's ID: the one that its server chose (v1, v2), or its reference hash. Raises NotCanonical."""
    if version.event_id_format is EventIdFormat.CHOSEN:
        event_id: str = pdu["event_id"]
        return event_id
    return event_id_from_hash(version, reference_hash(version, pdu))


def event_id_from_hash(version: RoomVersion, digest: bytes) -> str:
    """The event ID that a reference hash makes. Raises ValueError where event IDs are chosen (v1, v2)."""
    if version.event_id_format is EventIdFormat.CHOSEN:
        raise ValueError(f"event IDs of room version {version.identifier} are not hashes")
    return "$" + encode_base64(digest, urlsafe=version.event_id_format is EventIdFormat.URL_SAFE_HASH)


def room_id_of_create(event_id: str) -> str:
    """The ID of the room that an `m.room.create` event makes where room IDs are hashes (v12).

    https://spec.matrix.org/v1.19/appendices/#room-ids
    """
    return "!" + event_id[1:]
