"""What makes an event valid before anybody is asked whether it is allowed: fields, types, sizes, JSON.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu (step 1), the "Event format" of
each room version, and https://spec.matrix.org/v1.19/client-server-api/#size-limits
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from matrixd.core import canonical_json, identifiers
from matrixd.core.errors import EventRule, EventTooLarge, InvalidEvent, NotCanonical
from matrixd.core.versions import EventFormat, RoomVersion

#: Bytes of an event in federation format and canonical JSON, signatures included.
MAX_EVENT_BYTES = 65536
#: Bytes of `type` and of `state_key`.
MAX_KEY_BYTES = 255
MAX_PREV_EVENTS = 20
MAX_AUTH_EVENTS = 10

#: `depth` and `origin_server_ts` of the rooms whose JSON is not restricted; elsewhere canonical JSON sets the limit.
_MAX_LENIENT_INTEGER = 2**63 - 1


def max_depth(version: RoomVersion) -> int:
    """The depth at which events of this version stop counting. https://spec.matrix.org/v1.19/rooms/v6/#event-format"""
    return canonical_json.MAX_INTEGER if version.strict_canonical_json else _MAX_LENIENT_INTEGER


def checked_pdu(version: RoomVersion, pdu: Mapping[str, Any]) -> dict[str, Any]:
    """The event without `unsigned`, if it has the format and the size that its version demands.

    Raises InvalidEvent, EventTooLarge when a size limit is exceeded.
    """
    checked = {key: value for key, value in pdu.items() if key != "unsigned"}
    check_format(version, checked)
    encode = canonical_json.encode_strict if version.strict_canonical_json else canonical_json.encode
    try:
        size = len(encode(checked))
    except NotCanonical as error:
        raise InvalidEvent(EventRule.CANONICAL_JSON, str(error)) from error
    if size > MAX_EVENT_BYTES:
        raise EventTooLarge(f"The event is {size} bytes long, more than {MAX_EVENT_BYTES}")
    return checked


def check_format(version: RoomVersion, pdu: Mapping[str, Any]) -> None:
    """Raises InvalidEvent unless the fields of an event are there, with the right types, and within their limits.

    What canonical JSON forbids and the size of the whole are not looked at.
    """
    _require(isinstance(pdu.get("content"), dict), "content must be an object")
    _check_text(pdu, "type", MAX_KEY_BYTES)
    if "state_key" in pdu:
        _check_text(pdu, "state_key", MAX_KEY_BYTES)
    _check_identifier(pdu, "sender", identifiers.is_user_id, "a user ID")
    _check_integer(pdu, "depth", 0, max_depth(version))
    _check_integer(pdu, "origin_server_ts", -max_depth(version), max_depth(version))
    for name in ("hashes", "signatures"):
        _require(isinstance(pdu.get(name), dict), f"{name} must be an object")
    _check_redacts(version, pdu)
    _check_room_id(version, pdu)
    _check_references(version, pdu)


def _check_room_id(version: RoomVersion, pdu: Mapping[str, Any]) -> None:
    if not version.room_id_is_create_hash:
        _check_identifier(pdu, "room_id", identifiers.is_room_id_with_domain, "a room ID with a domain")
    # A creation that names its room is well-formed: the authorisation rules reject it.
    elif pdu["type"] != "m.room.create" or "room_id" in pdu:
        _check_identifier(pdu, "room_id", identifiers.is_opaque_room_id, "a room ID without a domain")


def _check_redacts(version: RoomVersion, pdu: Mapping[str, Any]) -> None:
    if pdu["type"] == "m.room.redaction" and not version.redacts_in_content and "redacts" in pdu:
        _check_identifier(pdu, "redacts", identifiers.is_event_id, "an event ID")


def _check_references(version: RoomVersion, pdu: Mapping[str, Any]) -> None:
    for name, most in (("prev_events", MAX_PREV_EVENTS), ("auth_events", MAX_AUTH_EVENTS)):
        references = pdu.get(name)
        _require(isinstance(references, list), f"{name} must be an array")
        assert isinstance(references, list)
        _require(len(references) <= most, f"{name} has more than {most} entries")
        if version.event_format is EventFormat.WITH_EVENT_ID:
            _require(all(map(_is_hashed_reference, references)), f"{name} must hold pairs of event ID and hashes")
        else:
            _require(all(map(identifiers.is_event_id, references)), f"{name} must hold event IDs")
    if version.event_format is EventFormat.WITH_EVENT_ID:
        _check_identifier(pdu, "event_id", identifiers.is_event_id_with_domain, "an event ID with a domain")


def _is_hashed_reference(reference: object) -> bool:
    if not isinstance(reference, list) or len(reference) != 2:
        return False
    return identifiers.is_event_id(reference[0]) and isinstance(reference[1], dict)


def _check_identifier(pdu: Mapping[str, Any], name: str, test: Callable[[object], bool], wanted: str) -> None:
    _check_text(pdu, name, identifiers.MAX_IDENTIFIER_BYTES)
    _require(test(pdu[name]), f"{name} must be {wanted}")


def _check_text(pdu: Mapping[str, Any], name: str, limit: int) -> None:
    value = pdu.get(name)
    if not isinstance(value, str):
        raise InvalidEvent(EventRule.FORMAT, f"{name} must be a string")
    if len(value) * 4 > limit and len(value.encode("utf-8", "replace")) > limit:
        raise EventTooLarge(f"{name} is longer than {limit} bytes")


def _check_integer(pdu: Mapping[str, Any], name: str, least: int, most: int) -> None:
    value = pdu.get(name)
    _require(type(value) is int, f"{name} must be an integer")
    assert isinstance(value, int)
    _require(least <= value <= most, f"{name} must be between {least} and {most}")


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise InvalidEvent(EventRule.FORMAT, sentence)
