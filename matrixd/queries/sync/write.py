"""The JSON of a sync answer, joined from bytes that were made once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from matrixd.core.streams import RoomToken


def events(rendered: Iterable[bytes]) -> bytes:
    """`{"events": […]}`"""
    return b'{"events":[' + b",".join(rendered) + b"]}"


def plain_events(values: Sequence[Mapping[str, Any]]) -> bytes:
    """`{"events": […]}` of events that are not shared."""
    return b'{"events":' + orjson.dumps(values) + b"}"


def timeline(shown: Sequence[bytes], *, limited: bool, start: int) -> bytes:
    """A `timeline` that begins after the position `start`."""
    token = str(RoomToken(None, start)).encode()
    return b'{"events":[%b],"limited":%b,"prev_batch":"%b"}' % (
        b",".join(shown), b"true" if limited else b"false", token
    )


def members(parts: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A JSON object of members whose names need no escaping and whose values are JSON."""
    return b"{" + b",".join(b'"' + name + b'":' + value for name, value in parts) + b"}"


def by_room(sections: Mapping[str, bytes]) -> bytes:
    """A JSON object from room IDs."""
    return b"{" + b",".join(orjson.dumps(room_id) + b":" + value for room_id, value in sections.items()) + b"}"
