"""Making events: from what somebody wants to say to a hashed and signed event.

https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from unpaddedbase64 import encode_base64

from matrixd.core.errors import EventRule, InvalidEvent, NotCanonical
from matrixd.core.event import Event
from matrixd.core.event_format import checked_pdu, max_depth
from matrixd.core.hashing import content_hash, event_id_from_hash, reference_hash, signed_bytes
from matrixd.core.signing import SigningKey, with_signature
from matrixd.core.versions import EventFormat, EventIdFormat, RoomVersion


def build_event(
    version: RoomVersion,
    *,
    room_id: str | None,
    event_type: str,
    sender: str,
    content: Mapping[str, Any],
    prev_events: Sequence[str | Event],
    auth_events: Sequence[str | Event],
    depth: int,
    origin_server_ts: int,
    server_name: str,
    signing_key: SigningKey,
    state_key: str | None = None,
    redacts: str | None = None,
    event_id: str | None = None,
    with_origin: bool = False,
) -> Event:
    """A complete event: `event_template`, then `complete`. Raises InvalidEvent (EventTooLarge).

    `with_origin` adds our name as `origin`, which invites to users of other servers have by the specification's data.
    """
    template = event_template(
        version,
        room_id=room_id,
        event_type=event_type,
        sender=sender,
        content=content,
        prev_events=prev_events,
        auth_events=auth_events,
        depth=depth,
        origin_server_ts=origin_server_ts,
        state_key=state_key,
        redacts=redacts,
        event_id=event_id,
    )
    if with_origin:
        template["origin"] = server_name
    return complete(version, template, server_name, signing_key)


def event_template(
    version: RoomVersion,
    *,
    room_id: str | None,
    event_type: str,
    sender: str,
    content: Mapping[str, Any],
    prev_events: Sequence[str | Event],
    auth_events: Sequence[str | Event],
    depth: int,
    origin_server_ts: int,
    state_key: str | None = None,
    redacts: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """An event in federation format without hashes and signatures, as `make_join` and its like answer it.

    - `room_id`: None for the `m.room.create` event of a version whose room IDs are hashes (v12), and only there.
    - `prev_events`, `auth_events`: event IDs do where these are hashes; v1 and v2 need the events, to hash them.
    - `redacts`: goes where the version wants it.
    - `event_id`: `$opaque_id:domain` in v1 and v2, where the sending server chooses it; None elsewhere.
    Raises ValueError for arguments that do not go with the version; what is wrong in the values shows in `complete`.
    """
    template: dict[str, Any] = {
        "type": event_type,
        "sender": sender,
        "content": content if isinstance(content, dict) else dict(content),
        "prev_events": [_reference(version, event) for event in prev_events],
        "auth_events": [_reference(version, event) for event in auth_events],
        "depth": depth,
        "origin_server_ts": origin_server_ts,
    }
    if (room_id is None) != (version.room_id_is_create_hash and event_type == "m.room.create"):
        raise ValueError("an event has a room_id, except the creation of a room whose ID is the hash of it")
    if room_id is not None:
        template["room_id"] = room_id
    if (event_id is None) != (version.event_id_format is not EventIdFormat.CHOSEN):
        raise ValueError("an event_id is given where the room version has the server choose it, and only there")
    if event_id is not None:
        template["event_id"] = event_id
    if state_key is not None:
        template["state_key"] = state_key
    if redacts is not None and version.redacts_in_content:
        template["content"] = {**content, "redacts": redacts}
    elif redacts is not None:
        template["redacts"] = redacts
    return template


def complete(version: RoomVersion, template: Mapping[str, Any], server_name: str, key: SigningKey) -> Event:
    """The event that a template becomes with its content hash, our signature and its ID.

    Raises InvalidEvent when the template has not the format of the version, EventTooLarge when it exceeds a size.
    """
    pdu = {name: value for name, value in template.items() if name not in ("unsigned", "signatures")}
    try:
        pdu["hashes"] = {"sha256": encode_base64(content_hash(pdu))}
        message = signed_bytes(version, pdu)
    except NotCanonical as error:
        raise InvalidEvent(EventRule.CANONICAL_JSON, str(error)) from error
    pdu = checked_pdu(version, with_signature(pdu, server_name, key.key_id, key.sign(message)))
    if version.event_id_format is EventIdFormat.CHOSEN:
        return Event.from_stored(version, pdu, pdu["event_id"])
    # The signature covers exactly the bytes of the reference hash: there is no need to make them twice.
    return Event.from_stored(version, pdu, event_id_from_hash(version, sha256(message).digest()))


def next_depth(version: RoomVersion, prev_depths: Sequence[int]) -> int:
    """The depth of an event after events of these depths: one more than the deepest, up to the version's limit."""
    return min(max(prev_depths, default=0) + 1, max_depth(version))


def _reference(version: RoomVersion, event: str | Event) -> str | list[Any]:
    if version.event_format is EventFormat.WITHOUT_EVENT_ID:
        return event.event_id if isinstance(event, Event) else event
    if not isinstance(event, Event):
        raise ValueError(f"room version {version.identifier} refers to events by ID and hash: the event is needed")
    return [event.event_id, {"sha256": encode_base64(reference_hash(event.version, event.pdu))}]
