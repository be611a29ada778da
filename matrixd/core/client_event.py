"""Events as clients get them, made so that their bytes can be shared.

https://spec.matrix.org/v1.19/client-server-api/#room-event-format, `definitions/client_event.yaml` of its data.

Everything but `unsigned` (and whether `room_id` is there) is the same for all who receive an event. So a `ClientBody`
holds the JSON of all that once, and `ClientBody.json` only joins bytes:

    unsigned = unsigned_json(age=age_of(event, now), shared=members, membership="join")
    body.json(unsigned, room_id=False)

where `members = unsigned_members(replaces_state=…, …)` is again the same for many readers. Only fields that the
specification names ever get in, whatever the event that came over federation carries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson

from matrixd.core.event import Event
from matrixd.core.property_paths import Path, project

MAX_STRIPPED_EVENTS: Final = 100

#: What stripped state should hold, in this order. Since v1.16 `m.room.create` is required.
#: https://spec.matrix.org/v1.19/client-server-api/#stripped-state
STRIPPED_STATE_TYPES: Final = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)


class ClientBody(msgspec.Struct, frozen=True, gc=False):
    """The JSON of an event without `unsigned`, and without the closing brace so that more can follow.

    `room_id` is the member that follows where the answer does not say the room otherwise.
    """

    head: bytes
    room_id: bytes

    @classmethod
    def of(cls, event: Event) -> ClientBody:
        """The client form of an event."""
        return cls(_dumps(client_fields(event))[:-1], b',"room_id":' + _dumps(event.room_id))

    @classmethod
    def federation(cls, event: Event) -> ClientBody:
        """The federation form, for a filter's `event_format`: the whole PDU. It always says its room and its ID."""
        pdu = {**event.pdu, "event_id": event.event_id, "room_id": event.room_id}
        return cls(_dumps(pdu)[:-1], b"")

    def json(self, unsigned: bytes = b"", *, room_id: bool) -> bytes:
        """The event's JSON. `unsigned` is the JSON of that object, empty for none."""
        return b"".join(
            (self.head, self.room_id if room_id else b"", b',"unsigned":' + unsigned if unsigned else b"", b"}")
        )


def client_fields(event: Event) -> dict[str, Any]:
    """The fields of an event that clients see, without `room_id` and `unsigned` (ClientEventWithoutRoomID).

    A redaction says what it redacts at the top level and in its content, whichever the room version has.
    https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
    """
    fields: dict[str, Any] = {
        "type": event.type,
        "sender": event.sender,
        "content": event.content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
    }
    if event.state_key is not None:
        fields["state_key"] = event.state_key
    if event.redacts is not None:
        fields["redacts"] = event.redacts
        fields["content"] = {**event.content, "redacts": event.redacts}
    return fields


def content_json(event: Event) -> bytes:
    """The JSON of an event's content alone."""
    return _dumps(event.content)


def age_of(event: Event, now: int) -> int:
    """`unsigned.age`: milliseconds since the event was sent, by its sender's clock and ours; may be negative."""
    return now - event.origin_server_ts


def unsigned_members(
    *,
    prev_content: Mapping[str, Any] | None = None,
    replaces_state: str | None = None,
    redacted_because: bytes | None = None,
    relations: bytes | None = None,
    invite_room_state: Sequence[Mapping[str, Any]] | None = None,
    knock_room_state: Sequence[Mapping[str, Any]] | None = None,
) -> bytes:
    """The members of `unsigned` that many readers share, as JSON without braces.

    `prev_content` only for readers who may see the replaced event; `replaces_state` for all, of state events only.
    `redacted_because` is the JSON of the redaction as clients get it, with `room_id` where this event has it.
    `relations` is what `relations.bundle` gives. The stripped states belong to invites and knocks.
    """
    members = (
        (b'"prev_content":', None if prev_content is None else _dumps(prev_content)),
        (b'"replaces_state":', None if replaces_state is None else _dumps(replaces_state)),
        (b'"redacted_because":', redacted_because),
        (b'"m.relations":', relations),
        (b'"invite_room_state":', None if invite_room_state is None else _dumps(invite_room_state)),
        (b'"knock_room_state":', None if knock_room_state is None else _dumps(knock_room_state)),
    )
    return b",".join(name + value for name, value in members if value is not None)


def unsigned_json(
    *, age: int | None = None, shared: bytes = b"", transaction_id: str | None = None, membership: str | None = None
) -> bytes:
    """The JSON of `unsigned` for one reader; empty if it would hold nothing.

    `shared` is what `unsigned_members` gives. `transaction_id` only for the device that sent the event. `membership`
    is the reader's own in the room at the time of the event, `leave` if there was none.
    """
    if membership is None and transaction_id is None and not shared:
        return b"" if age is None else b'{"age":%d}' % age
    parts = []
    if age is not None:
        parts.append(b'"age":%d' % age)
    if membership is not None:
        parts.append(b'"membership":' + _dumps(membership))
    if transaction_id is not None:
        parts.append(b'"transaction_id":' + _dumps(transaction_id))
    if shared:
        parts.append(shared)
    return b"{" + b",".join(parts) + b"}" if parts else b""


def projected(event_json: bytes, fields: tuple[Path, ...]) -> bytes:
    """An event's JSON with only the fields that a filter's `event_fields` names. Costs a parse: rarely asked for."""
    return _dumps(project(json.loads(event_json), fields))


def stripped(event: Event) -> dict[str, Any]:
    """A state event with its `type`, `state_key`, `sender` and `content` only. Raises ValueError for other events.

    https://spec.matrix.org/v1.19/client-server-api/#stripped-state
    """
    event_type, state_key = event.key
    return {"type": event_type, "state_key": state_key, "sender": event.sender, "content": event.content}


def identifying_state(state: Mapping[tuple[str, str], Event], member: Event) -> list[Event]:
    """The events of a room's state by which the target of an invite, or someone who knocks, can know the room.

    Those of STRIPPED_STATE_TYPES, and the membership of the sender, whose name the target will want to see.
    To another server they go as PDUs (v1.16), to clients stripped.
    """
    keys = [(event_type, "") for event_type in STRIPPED_STATE_TYPES]
    if member.sender != member.state_key:
        keys.append(("m.room.member", member.sender))
    return [state[key] for key in keys if key in state]


def stripped_state(state: Mapping[tuple[str, str], Event], member: Event) -> list[dict[str, Any]]:
    """`invite_state` or `knock_state` for a room whose state we have: `member` is the invite or the knock, and last."""
    return [stripped(event) for event in (*identifying_state(state, member), member)]


def pruned_stripped_state(entries: object) -> list[dict[str, Any]]:
    """Stripped state that came over federation, cut down to what clients may get.

    "Servers cannot pass through what they receive over federation to clients as stripped state." What is no state
    event, or says the same place a second time, is left out; so is what exceeds MAX_STRIPPED_EVENTS.
    """
    if not isinstance(entries, list):
        return []
    pruned: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        if not isinstance(entry, Mapping):
            continue
        event_type, state_key, sender = entry.get("type"), entry.get("state_key"), entry.get("sender")
        content = entry.get("content")
        if not (isinstance(event_type, str) and isinstance(state_key, str) and isinstance(sender, str)):
            continue
        if isinstance(content, Mapping) and len(pruned) < MAX_STRIPPED_EVENTS:
            event = {"type": event_type, "state_key": state_key, "sender": sender, "content": content}
            pruned.setdefault((event_type, state_key), event)
    return list(pruned.values())


def _dumps(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # Rooms of the first versions hold integers beyond 64 bits, which orjson does not write.
        return json.dumps(value, separators=(",", ":")).encode("ascii")
