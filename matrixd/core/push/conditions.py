"""When a push rule applies: the conditions, made into functions.

https://spec.matrix.org/v1.19/client-server-api/#conditions-1

A condition is compiled once per rule and asked once per event and user. What it reads of the event is looked up and
lower-cased once per event, however many users' rules ask for it (`EventView`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from matrixd.core.canonical_json import MAX_INTEGER
from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.globs import compile_glob, compile_word_glob, contains_word
from matrixd.core.power import PowerLevels
from matrixd.core.property_paths import ABSENT, Path, look_up, parse_path
from matrixd.core.push.actions import Actions

MAX_PATTERN_LENGTH = 255
MAX_KEY_LENGTH = 255

BODY: Final[Path] = ("content", "body")
_MENTIONED_USERS: Final[Path] = ("m.mentions", "user_ids")  # in the content
_NOBODY: Final[frozenset[str]] = frozenset()

_MEMBER_COUNT = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,15})")
_COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "==": int.__eq__,
    "<": int.__lt__,
    ">": int.__gt__,
    "<=": int.__le__,
    ">=": int.__ge__,
}


def _no_display_name(user_id: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class RoomContext:
    """What the conditions need to know of the room, as it is after the event.

    `member_count` counts the joined members, `power` are the room's levels, `display_name(user_id)` is a member's
    display name in the room, None if there is none.
    """

    member_count: int
    power: PowerLevels
    display_name: Callable[[str], str | None] = _no_display_name


class EventView:
    """An event as the conditions see it: in its client form, without `unsigned`, each property looked up once."""

    __slots__ = ("_properties", "_texts", "_values", "answers", "event", "mentioned_users", "named_users", "room")

    def __init__(self, event: Event, room: RoomContext) -> None:
        self.event = event
        self.room = room
        self._properties: dict[str, Any] = {
            "type": event.type,
            "sender": event.sender,
            "room_id": event.room_id,
            "event_id": event.event_id,
            "origin_server_ts": event.origin_server_ts,
            "content": event.content,
        }
        if event.state_key is not None:
            self._properties["state_key"] = event.state_key
        if event.redacts is not None:
            self._properties["redacts"] = event.redacts
        self._values: dict[Path, object] = {}
        self._texts: dict[Path, str | None] = {}
        listed = look_up(event.content, _MENTIONED_USERS)
        #: The users in the event's `m.mentions`, as far as it has the form that the specification gives it.
        self.mentioned_users: frozenset[str] = (
            frozenset(user_id for user_id in listed if isinstance(user_id, str))
            if isinstance(listed, list)
            else _NOBODY
        )
        #: The users whom the default rules may treat differently: the target of an invite, and those mentioned.
        self.named_users = self.mentioned_users
        if event.membership == "invite" and event.state_key is not None:
            self.named_users |= {event.state_key}
        #: What blocks of rules have said that say the same to all users whom the event does not name.
        self.answers: dict[object, Actions | None] = {}

    def value(self, path: Path) -> object:
        """The property's value, ABSENT if there is none."""
        try:
            return self._values[path]
        except KeyError:
            value = self._values[path] = look_up(self._properties, path)
            return value

    def text(self, path: Path) -> str | None:
        """The property's value in lower case, None unless it is a string."""
        try:
            return self._texts[path]
        except KeyError:
            value = self.value(path)
            text = self._texts[path] = value.lower() if isinstance(value, str) else None
            return text


Condition = Callable[[EventView, str | None], bool]
"""Whether the condition holds for an event and a user; the user None is one whom no event names."""


def never(view: EventView, user_id: str | None) -> bool:
    """The condition that nothing fulfils: "unrecognised conditions MUST NOT match any events"."""
    return False


def compile_condition(condition: Mapping[str, Any]) -> Condition:
    """The function for a condition of the API. One of an unknown kind, or malformed, never holds."""
    try:
        check_condition(condition, "condition")
    except MatrixError:
        return never
    kind = condition["kind"]
    compiler = _COMPILERS.get(kind)
    return never if compiler is None else compiler(condition)


def check_condition(condition: object, name: str) -> None:
    """Check a condition from a request's body; `name` is the field that errors name.

    A kind that we do not know is accepted as it is: it never matches, but another client may know it.
    Raises MatrixError 400 M_BAD_JSON.
    """
    if not isinstance(condition, Mapping):
        raise MatrixError(400, "M_BAD_JSON", f"'{name}' must be an object")
    kind = _string(condition, "kind", name, MAX_KEY_LENGTH)
    if kind in ("event_match", "event_property_is", "event_property_contains", "sender_notification_permission"):
        _string(condition, "key", name, MAX_KEY_LENGTH)
    if kind == "event_match":
        _string(condition, "pattern", name, MAX_PATTERN_LENGTH)
    elif kind in ("event_property_is", "event_property_contains"):
        if not _is_scalar(condition.get("value", ABSENT)):
            raise MatrixError(400, "M_BAD_JSON", f"'{name}.value' must be a string, an integer, a boolean or null")
    elif kind == "room_member_count" and not _MEMBER_COUNT.fullmatch(_string(condition, "is", name, 20)):
        raise MatrixError(
            400, "M_BAD_JSON", f"'{name}.is' must be an integer, optionally prefixed by ==, <, >, >= or <="
        )


def _string(condition: Mapping[str, Any], key: str, name: str, longest: int) -> str:
    value = condition.get(key)
    if not isinstance(value, str):
        raise MatrixError(400, "M_BAD_JSON", f"'{name}.{key}' must be a string")
    if len(value) > longest:
        raise MatrixError(400, "M_BAD_JSON", f"'{name}.{key}' is longer than {longest} characters")
    return value


def _is_scalar(value: object) -> bool:
    if type(value) is int:
        return -MAX_INTEGER <= value <= MAX_INTEGER
    return value is None or type(value) in (str, bool)


def _same_scalar(value: object, expected: object) -> bool:
    # `type` first: True equals 1 in Python, and "do not cast types".
    return type(value) is type(expected) and value == expected


def _event_match(condition: Mapping[str, Any]) -> Condition:
    path, pattern = parse_path(condition["key"]), condition["pattern"].lower()
    matches = compile_word_glob(pattern) if path == BODY else compile_glob(pattern)

    def event_match(view: EventView, user_id: str | None) -> bool:
        text = view.text(path)
        return text is not None and matches(text)

    return event_match


def _event_property_is(condition: Mapping[str, Any]) -> Condition:
    path, expected = parse_path(condition["key"]), condition["value"]
    return lambda view, user_id: _same_scalar(view.value(path), expected)


def _event_property_contains(condition: Mapping[str, Any]) -> Condition:
    path, expected = parse_path(condition["key"]), condition["value"]

    def event_property_contains(view: EventView, user_id: str | None) -> bool:
        values = view.value(path)
        return isinstance(values, list) and any(_same_scalar(value, expected) for value in values)

    return event_property_contains


def _contains_display_name(condition: Mapping[str, Any]) -> Condition:
    def contains_display_name(view: EventView, user_id: str | None) -> bool:
        body = view.text(BODY)
        if body is None or user_id is None:
            return False
        name = view.room.display_name(user_id)
        return name is not None and name != "" and contains_word(body, name.lower())

    return contains_display_name


def _room_member_count(condition: Mapping[str, Any]) -> Condition:
    text = condition["is"]
    prefix = text.rstrip("0123456789")
    compare, count = _COMPARISONS[prefix or "=="], int(text[len(prefix) :])
    return lambda view, user_id: compare(view.room.member_count, count)


def _sender_notification_permission(condition: Mapping[str, Any]) -> Condition:
    key = condition["key"]
    return lambda view, user_id: view.room.power.can_notify(view.event.sender, key)


_COMPILERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Condition]]] = {
    "event_match": _event_match,
    "event_property_is": _event_property_is,
    "event_property_contains": _event_property_contains,
    "contains_display_name": _contains_display_name,
    "room_member_count": _room_member_count,
    "sender_notification_permission": _sender_notification_permission,
}
