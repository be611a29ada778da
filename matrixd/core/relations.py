"""Relations between events: what `m.relates_to` says, which relations count, and their bundled aggregations.

https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events

"Relationships which don't match the schema, or which break the rules of a relationship, are simply ignored."
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import orjson

from matrixd.core.event import Event

REPLACE: Final = "m.replace"
THREAD: Final = "m.thread"
REFERENCE: Final = "m.reference"
ANNOTATION: Final = "m.annotation"

#: How many relations are followed to find an event's thread.
#: https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
MAX_THREAD_HOPS: Final = 3

_MAX_ID_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class Relation:
    """What an event is to its parent. `key` is what an annotation annotates with, None for all others."""

    rel_type: str
    event_id: str
    key: str | None = None


def relation_in(content: Mapping[str, Any]) -> Relation | None:
    """The relation in an event's cleartext content, None if there is none that matches the schema.

    https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events, definition of `m.relates_to`.
    """
    relates_to = content.get("m.relates_to")
    if not isinstance(relates_to, Mapping):
        return None
    rel_type, event_id = relates_to.get("rel_type"), relates_to.get("event_id")
    if not (_is_id(rel_type) and _is_event_id(event_id)):
        return None
    key = relates_to.get("key") if rel_type == ANNOTATION else None
    return Relation(rel_type, event_id, key if isinstance(key, str) else None)


def relation_of(event: Event) -> Relation | None:
    """The event's relation to its parent."""
    return relation_in(event.content)


def reply_target(event: Event) -> str | None:
    """The event that this one replies to. https://spec.matrix.org/v1.19/client-server-api/#rich-replies"""
    relates_to = event.content.get("m.relates_to")
    in_reply_to = relates_to.get("m.in_reply_to") if isinstance(relates_to, Mapping) else None
    event_id = in_reply_to.get("event_id") if isinstance(in_reply_to, Mapping) else None
    return event_id if _is_event_id(event_id) else None


def _is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID_LENGTH


def _is_event_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.startswith("$") and len(value) <= _MAX_ID_LENGTH


# Threads. https://spec.matrix.org/v1.19/client-server-api/#threading


def thread_root(event: Event) -> str | None:
    """The root of the thread that the event itself says it is in."""
    relation = relation_of(event)
    return relation.event_id if relation is not None and relation.rel_type == THREAD else None


def thread_of(event: Event, parent: Callable[[str], Event | None]) -> str | None:
    """The root of the thread that the event counts to, None for the main timeline.

    A reaction to, or an edit of, an event in a thread is in that thread: relations are followed until one is an
    `m.thread`, at most MAX_THREAD_HOPS of them. `parent(event_id)` gives an event of the same room, None if unknown.
    https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
    """
    current: Event | None = event
    for _ in range(MAX_THREAD_HOPS):
        relation = None if current is None else relation_of(current)
        if relation is None:
            return None
        if relation.rel_type == THREAD:
            return relation.event_id
        current = parent(relation.event_id)
        if current is not None and current.room_id != event.room_id:
            return None
    return None


def may_start_thread(event: Event) -> bool:
    """Whether a thread may have this event as its root: "any event without a `rel_type`".

    A client that starts one elsewhere is answered with 400 M_UNKNOWN.
    https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships
    """
    relates_to = event.content.get("m.relates_to")
    return not (isinstance(relates_to, Mapping) and "rel_type" in relates_to)


# Edits. https://spec.matrix.org/v1.19/client-server-api/#event-replacements


def is_valid_edit(original: Event, edit: Event) -> bool:
    """Whether `edit` replaces `original`: every requirement that can be seen without decrypting.

    https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events
    """
    relation, originals = relation_of(edit), relation_of(original)
    return (
        relation is not None
        and relation.rel_type == REPLACE
        and relation.event_id == original.event_id
        and edit.room_id == original.room_id
        and edit.sender == original.sender
        and edit.type == original.type
        and not (edit.is_state or original.is_state)
        and not (originals is not None and originals.rel_type == REPLACE)
        and (edit.type == "m.room.encrypted" or isinstance(edit.content.get("m.new_content"), Mapping))
    )


def latest_edit(original: Event, edits: Iterable[Event]) -> Event | None:
    """The most recent valid edit: the largest `origin_server_ts`, then the largest event ID.

    https://spec.matrix.org/v1.19/client-server-api/#server-side-aggregation-of-mreplace-relationships
    """
    valid = (edit for edit in edits if is_valid_edit(original, edit))
    return max(valid, key=lambda edit: (edit.origin_server_ts, edit.event_id), default=None)


# Annotations. https://spec.matrix.org/v1.19/client-server-api/#event-annotations-and-reactions


def may_be_annotated(event: Event) -> bool:
    """Whether annotations of this event count: an edit and an annotation cannot be annotated."""
    relation = relation_of(event)
    return relation is None or relation.rel_type not in (ANNOTATION, REPLACE)


# Bundled aggregations. https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events


@dataclass(frozen=True, slots=True)
class ThreadSummary:
    """The aggregation of `m.thread`: what one user sees of a thread, without the events of those whom they ignore.

    `latest_event` is the JSON of the latest event as clients get it, with its own bundled aggregations.
    https://spec.matrix.org/v1.19/client-server-api/#server-side-aggregation-of-mthread-relationships
    """

    latest_event: bytes
    count: int
    current_user_participated: bool


def bundle(
    event: Event,
    *,
    is_redacted: bool = False,
    replacement: bytes | None = None,
    thread: ThreadSummary | None = None,
    references: Sequence[str] = (),
) -> bytes | None:
    """The JSON of `unsigned.m.relations` for an event, None if there is nothing to bundle.

    `replacement` is the JSON of the latest valid edit as clients get it; a redacted event never shows it.
    `references` are the IDs of the events that reference this one. State events get no bundle.
    """
    relations: dict[str, Any] = {}
    if replacement is not None and not is_redacted:
        relations[REPLACE] = orjson.Fragment(replacement)
    if thread is not None:
        relations[THREAD] = {
            "latest_event": orjson.Fragment(thread.latest_event),
            "count": thread.count,
            "current_user_participated": thread.current_user_participated,
        }
    if references:
        relations[REFERENCE] = {"chunk": [{"event_id": event_id} for event_id in references]}
    return orjson.dumps(relations) if relations and not event.is_state else None
