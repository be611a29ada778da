"""Events for tests of the core: complete, hashed and signed."""

from __future__ import annotations

from typing import Any

from unpaddedbase64 import decode_base64

from matrixd.core.builder import build_event
from matrixd.core.event import Event
from matrixd.core.signing import SigningKey
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion

#: The seed of https://spec.matrix.org/v1.19/appendices/#signing-key
SEED = decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
KEY = SigningKey.from_seed("1", SEED)
SERVER = "domain"
VERSIONS = list(ROOM_VERSIONS.values())
HASH_VERSIONS = [version for version in VERSIONS if not version.signed_by_event_id_domain]


def create(version: RoomVersion) -> Event:
    """An `m.room.create` event of the version."""
    return make(version, event_type="m.room.create", state_key="", content={"creator": "@a:domain"}, depth=1, before=[])


def make(version: RoomVersion, *, before: list[Event] | None = None, **changes: Any) -> Event:
    """An event of the version, a message unless `changes` (arguments of `build_event`) say otherwise."""
    is_create = changes.get("event_type") == "m.room.create"
    before = [create(version)] if before is None and not is_create else before or []
    arguments: dict[str, Any] = {
        "room_id": None if is_create and version.room_id_is_create_hash else "!r:domain",
        "event_type": "m.room.message",
        "sender": "@a:domain",
        "content": {"body": "Here is the message content"},
        "prev_events": before,
        "auth_events": before,
        "depth": 2,
        "origin_server_ts": 1000000,
        "server_name": SERVER,
        "signing_key": KEY,
        "event_id": "$0:domain" if version.signed_by_event_id_domain else None,
    }
    if version.room_id_is_create_hash and not is_create:
        arguments["room_id"] = before[0].room_id if before else "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"
    return build_event(version, **{**arguments, **changes})
