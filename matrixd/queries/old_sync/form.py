"""The JSON of the old endpoints: one flat list of everything, where each event says its room."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from matrixd.core.streams import RoomToken, StreamToken
from matrixd.queries.client_events import ClientEvents, json_array, json_object, plain_json
from matrixd.queries.sync.load import Loaded, RoomData
from matrixd.storage.stored_event import StoredEvent


@dataclass(frozen=True, slots=True)
class RoomPart:
    """What there is to tell of one room. `end` is the token that the messages go up to."""

    room_id: str
    #: None for somebody who never was in the room.
    membership: str | None
    published: bool
    end: RoomToken | StreamToken
    account_data: Sequence[Mapping[str, Any]]


def room_info(
    client_events: ClientEvents, part: RoomPart, data: RoomData, loaded: Loaded
) -> list[tuple[str, bytes]]:
    """The members of a RoomInfo: messages, state, and what the user keeps for the room."""
    shown = client_events.assemble(loaded.histories, data.timeline, loaded.details)
    now_ms = client_events.now_ms()
    state = sorted(data.state.values(), key=lambda stored: stored.pos or 0)
    members = [
        ("room_id", orjson.dumps(part.room_id)),
        ("messages", _messages(with_user_ids(shown, data.timeline), max(data.start, 0), part.end)),
        (
            "state",
            json_array(with_user_ids([plain_json(stored, loaded.state_details, now_ms) for stored in state], state)),
        ),
        ("visibility", b'"public"' if part.published else b'"private"'),
        ("account_data", orjson.dumps(part.account_data)),
    ]
    if part.membership is not None:
        members.append(("membership", orjson.dumps(part.membership)))
    return members


def _messages(chunk: Sequence[bytes], start: int, end: RoomToken | StreamToken) -> bytes:
    return json_object(
        [
            ("chunk", json_array(chunk)),
            ("start", orjson.dumps(str(RoomToken(None, start)))),
            ("end", orjson.dumps(str(end))),
        ]
    )


def with_user_ids(shown: Iterable[bytes], events: Iterable[StoredEvent]) -> list[bytes]:
    """Events that say their sender a second time, as `user_id`: the name of `sender` before r0."""
    return [
        body[:-1] + b',"user_id":' + orjson.dumps(stored.event.sender) + b"}"
        for body, stored in zip(shown, events, strict=True)
    ]


def in_room(event: Mapping[str, Any], room_id: str) -> dict[str, Any]:
    """An event without a place in the room's history (typing, receipts, account data) that says its room."""
    return {**event, "room_id": room_id}


def presence(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`m.presence` events that say whose presence it is in their content, too."""
    return [{**event, "content": {**event["content"], "user_id": event["sender"]}} for event in events]
