"""Redaction: an event without all that its room version does not protect.

https://spec.matrix.org/v1.19/client-server-api/#redactions and the "Redactions" of each room version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matrixd.core.versions import RoomVersion


def redact(version: RoomVersion, pdu: Mapping[str, Any]) -> dict[str, Any]:
    """The redacted form of an event in federation format: a new dict; the event's own is not touched.

    `unsigned` goes with the rest: what a server wants to keep of it, it adds anew. The event ID and the signatures
    stay good, because they cover this form only.
    """
    kept = version.redaction.top_level
    redacted = {key: value for key, value in pdu.items() if key in kept}
    if "content" in redacted:
        redacted["content"] = _redacted_content(version, pdu.get("type"), redacted["content"])
    return redacted


def _redacted_content(version: RoomVersion, event_type: object, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or not isinstance(event_type, str):
        return {}
    rules = version.redaction
    if rules.keeps_create_content and event_type == "m.room.create":
        return content
    kept = rules.content.get(event_type)
    if kept is None:
        return {}
    redacted = {key: content[key] for key in kept if key in content}
    if rules.keeps_third_party_signed and event_type == "m.room.member":
        invite = content.get("third_party_invite")
        if isinstance(invite, dict) and "signed" in invite:
            redacted["third_party_invite"] = {"signed": invite["signed"]}
    return redacted
