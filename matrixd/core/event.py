"""Events of a room, in the shape that everything else works with.

https://spec.matrix.org/v1.19/client-server-api/#room-event-format and the "Event format" of each room version.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from matrixd.core.event_format import checked_pdu
from matrixd.core.hashing import event_id_from_hash, event_id_of, room_id_of_create, signed_bytes
from matrixd.core.identifiers import is_event_id
from matrixd.core.redaction import redact
from matrixd.core.versions import EventFormat, EventIdFormat, RoomVersion


class Event(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One event of a room. It never changes: a redacted event is another object.

    Two events are equal when they have the same event ID. Nothing that is reachable from an event may be modified.
    """

    # gc=False: an event holds only parsed JSON, so no reference cycle can run through it, and the collector need not
    # visit the hundred thousand events of the caches.

    version: RoomVersion
    event_id: str
    room_id: str
    type: str
    sender: str
    #: None for an event that is not a state event.
    state_key: str | None
    content: Mapping[str, Any]
    depth: int
    #: Milliseconds since 1970, as the sending server claims.
    origin_server_ts: int
    prev_events: tuple[str, ...]
    auth_events: tuple[str, ...]
    #: What an `m.room.redaction` redacts, from the place that the room version says.
    redacts: str | None
    #: The federation form with `hashes` and `signatures`; `event_id` only in v1 and v2; without `unsigned`.
    pdu: Mapping[str, Any]

    @classmethod
    def from_pdu(cls, version: RoomVersion, pdu: Mapping[str, Any], event_id: str | None = None) -> Event:
        """An event that comes from outside: its format, sizes and JSON are checked.

        `event_id` may be given when it is known already; otherwise it is read or calculated as the version says.
        Hashes and signatures are not checked here (`hashing.content_hash_matches`, `event_signing`).
        Raises InvalidEvent; EventTooLarge, which is one, for a size limit.
        """
        pdu = checked_pdu(version, pdu)
        return cls.from_stored(version, pdu, event_id_of(version, pdu) if event_id is None else event_id)

    @classmethod
    def with_signed_bytes(cls, version: RoomVersion, pdu: Mapping[str, Any]) -> tuple[Event, bytes]:
        """`from_pdu`, and what the event's signatures cover: the same bytes that its ID is the hash of.

        Raises InvalidEvent, EventTooLarge.
        """
        pdu = checked_pdu(version, pdu)
        message = signed_bytes(version, pdu)
        if version.event_id_format is EventIdFormat.CHOSEN:
            return cls.from_stored(version, pdu, pdu["event_id"]), message
        return cls.from_stored(version, pdu, event_id_from_hash(version, sha256(message).digest())), message

    @classmethod
    def from_stored(cls, version: RoomVersion, pdu: Mapping[str, Any], event_id: str) -> Event:
        """An event that was checked when it was stored or built: nothing is checked, `pdu` must hold no `unsigned`."""
        content = pdu["content"]
        event_type = pdu["type"]
        prev_events, auth_events = pdu["prev_events"], pdu["auth_events"]
        if version.event_format is EventFormat.WITH_EVENT_ID:
            prev_events, auth_events = [pair[0] for pair in prev_events], [pair[0] for pair in auth_events]
        redacts = None
        if event_type == "m.room.redaction":
            redacts = (content if version.redacts_in_content else pdu).get("redacts")
        if version.room_id_is_create_hash and event_type == "m.room.create":
            room_id = room_id_of_create(event_id)
        else:
            room_id = pdu["room_id"]
        return cls(
            version,
            event_id,
            room_id,
            event_type,
            pdu["sender"],
            pdu.get("state_key"),
            content,
            pdu["depth"],
            pdu["origin_server_ts"],
            tuple(prev_events),
            tuple(auth_events),
            redacts if is_event_id(redacts) else None,
            pdu,
        )

    def redacted(self) -> Event:
        """The same event without all that its version does not protect; its ID and signatures stay good.

        https://spec.matrix.org/v1.19/client-server-api/#redactions
        """
        return Event.from_stored(self.version, redact(self.version, self.pdu), self.event_id)

    @property
    def is_state(self) -> bool:
        """Whether this is a state event: it has a `state_key`, which may be empty."""
        return self.state_key is not None

    @property
    def key(self) -> tuple[str, str]:
        """The place of a state event in a state map: (type, state_key). Raises ValueError for other events."""
        if self.state_key is None:
            raise ValueError(f"{self.event_id} is not a state event")
        return self.type, self.state_key

    @property
    def membership(self) -> str | None:
        """`content.membership` of an `m.room.member` event, None when it has none or is of another type."""
        if self.type != "m.room.member":
            return None
        membership = self.content.get("membership")
        return membership if type(membership) is str else None

    @property
    def sender_domain(self) -> str:
        """The server name of the sender."""
        return self.sender.partition(":")[2]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and other.event_id == self.event_id

    def __ne__(self, other: object) -> bool:
        # What the base class has for this would compare by identity.
        return not self == other

    def __hash__(self) -> int:
        return hash(self.event_id)

    def __repr__(self) -> str:
        return f"<Event {self.event_id} {self.type} {self.state_key!r} of {self.sender} in {self.room_id}>"
