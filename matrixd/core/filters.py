"""Filters: which events a client wants to see, and which parts of them.

https://spec.matrix.org/v1.19/client-server-api/#filtering and `definitions/sync_filter.yaml`,
`room_event_filter.yaml`, `event_filter.yaml` of its data.

A filter is parsed once, strictly, into frozen objects with the predicates ready; asking is cheap, and a filter that
lets everything pass says so (`is_passthrough`), so that whoever copies shared bytes need not look inside. Parameters
and fields that the specification does not know are ignored: clients ask for features that we may not have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.globs import Matcher, compile_glob
from matrixd.core.property_paths import Path, parse_path

MAX_FILTER_BYTES = 65536
MAX_LIST_LENGTH = 1000

_NOTHING_SHOWN: Final[Mapping[str, Any]] = {}


def _type_matcher(types: tuple[str, ...] | None, not_types: tuple[str, ...]) -> Matcher:
    excluded = _any_of(not_types)
    if types is None:
        return (lambda event_type: not excluded(event_type)) if not_types else _everything
    included = _any_of(types)
    return (lambda event_type: included(event_type) and not excluded(event_type)) if not_types else included


def _everything(event_type: str) -> bool:
    return True


def _any_of(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a type equals one of the patterns, or matches one of those with a `*`."""
    exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
    globs = [compile_glob(pattern, question_mark=False) for pattern in set(patterns) - exact]
    if not globs:
        return exact.__contains__
    return lambda event_type: event_type in exact or any(matches(event_type) for matches in globs)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to include. None is "the list is absent": everything; an empty list lets nothing pass.

    `limit` is the most events to return, None if the filter does not say; 0 asks for none. The room fields are only
    read from a RoomEventFilter.
    """

    limit: int | None = None
    types: tuple[str, ...] | None = None
    not_types: tuple[str, ...] = ()
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = frozenset()
    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    contains_url: bool | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False

    #: Whether every event of every room passes; `limit` is not considered.
    is_passthrough: bool = field(init=False, compare=False)
    #: Whether no event can pass, so that there is no need to look for any.
    is_blocked: bool = field(init=False, compare=False)
    _type_matches: Matcher = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_type_matches", _type_matcher(self.types, self.not_types))
        only = (self.types, self.senders, self.rooms)
        object.__setattr__(self, "is_blocked", any(allowed is not None and not allowed for allowed in only))
        without = (self.not_types, self.not_senders, self.not_rooms)
        passthrough = self.contains_url is None and only == (None, None, None) and not any(without)
        object.__setattr__(self, "is_passthrough", passthrough)

    def matches(self, event: Event) -> bool:
        """Whether a room's event passes."""
        return self.is_passthrough or (
            self.matches_room(event.room_id) and self.matches_fields(event.type, event.sender, event.content)
        )

    def matches_room(self, room_id: str) -> bool:
        """Whether events of the room can pass at all."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)

    def matches_fields(self, event_type: str, sender: str | None, content: Mapping[str, Any] = _NOTHING_SHOWN) -> bool:
        """Whether something with this type, sender and content passes, whatever its room.

        `sender` is None for what has none (account data, typing, receipts): a list of senders includes no such thing.
        """
        if sender in self.not_senders or (self.senders is not None and sender not in self.senders):
            return False
        if self.contains_url is not None and self.contains_url != ("url" in content):
            return False
        return self._type_matches(event_type)

    def capped_limit(self, default: int, maximum: int) -> int:
        """How many events to return: the filter's limit or the default, and never more than the maximum."""
        return min(default if self.limit is None else self.limit, maximum)


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """Which rooms to include, and what of each."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    include_leave: bool = False
    timeline: EventFilter = EventFilter()
    state: EventFilter = EventFilter()
    ephemeral: EventFilter = EventFilter()
    account_data: EventFilter = EventFilter()

    def matches_room(self, room_id: str) -> bool:
        """Whether the room is in the answer; asked before the filters of its parts."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter for `/sync`. `event_fields` None is "all of them"; `federation_format` asks for events as PDUs."""

    event_fields: tuple[Path, ...] | None = None
    federation_format: bool = False
    presence: EventFilter = EventFilter()
    account_data: EventFilter = EventFilter()
    room: RoomFilter = RoomFilter()

    @property
    def is_passthrough(self) -> bool:
        """Whether the answer is that of no filter at all. `parse_filter` gives EMPTY_FILTER itself for those."""
        return self is EMPTY_FILTER

    @property
    def shares_bytes(self) -> bool:
        """Whether events are shown whole in the client form, so that their shared bytes serve."""
        return self.event_fields is None and not self.federation_format


EMPTY_FILTER: Final = Filter()
"""No filter: everything passes."""


def parse_filter(value: object) -> Filter:
    """Read a filter from JSON: the body of `POST /user/{userId}/filter`, or the `filter` parameter of `/sync`.

    Raises MatrixError 400 M_BAD_JSON, which names the field by its path (`room.timeline.limit`).
    """
    reader = _Reader(value, "")
    event_format = reader.get("event_format", str, "client")
    if event_format not in ("client", "federation"):
        raise _wrong("event_format", "'client' or 'federation'")
    fields = reader.strings("event_fields")
    parsed = Filter(
        None if fields is None else tuple(map(parse_path, fields)),
        event_format == "federation",
        _event_filter(reader.inner("presence")),
        _event_filter(reader.inner("account_data")),
        _room_filter(reader.inner("room")),
    )
    return EMPTY_FILTER if parsed == EMPTY_FILTER else parsed


def parse_room_event_filter(value: object, name: str = "filter") -> EventFilter:
    """Read a RoomEventFilter: the `filter` of `/messages` and `/context`, or of a search.

    Raises MatrixError 400 M_BAD_JSON, which names the field by its path after `name`.
    """
    return _room_event_filter(_Reader(value, name))


def parse_json(text: str | bytes, name: str = "filter") -> Any:
    """Decode a filter that came as the text of a query parameter. Raises MatrixError 400 M_NOT_JSON or M_TOO_LARGE."""
    if len(text) > MAX_FILTER_BYTES:
        raise MatrixError(400, "M_TOO_LARGE", f"'{name}' is longer than {MAX_FILTER_BYTES} bytes")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise MatrixError(400, "M_NOT_JSON", f"'{name}' is not valid JSON") from None


def stored_form(value: object) -> bytes:
    """The bytes by which a filter is stored: equal JSON gives equal bytes, so equal filters can share an ID.

    Nothing is normalised but the order of keys: clients compare what they download with what they uploaded, and
    upload again if it differs. Raises MatrixError 400: M_BAD_JSON for what JSON cannot carry, M_TOO_LARGE.
    """
    try:
        encoded = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise MatrixError(400, "M_BAD_JSON", "the filter holds a number or text that JSON cannot carry") from None
    if len(encoded) > MAX_FILTER_BYTES:
        raise MatrixError(400, "M_TOO_LARGE", f"the filter is longer than {MAX_FILTER_BYTES} bytes")
    return encoded


def _event_filter(reader: _Reader) -> EventFilter:
    return EventFilter(
        limit=reader.limit(),
        types=reader.strings("types"),
        not_types=reader.strings("not_types") or (),
        senders=reader.identifiers("senders", "@"),
        not_senders=reader.identifiers("not_senders", "@") or frozenset(),
    )


def _room_event_filter(reader: _Reader) -> EventFilter:
    return EventFilter(
        limit=reader.limit(),
        types=reader.strings("types"),
        not_types=reader.strings("not_types") or (),
        senders=reader.identifiers("senders", "@"),
        not_senders=reader.identifiers("not_senders", "@") or frozenset(),
        rooms=reader.identifiers("rooms", "!"),
        not_rooms=reader.identifiers("not_rooms", "!") or frozenset(),
        contains_url=reader.get("contains_url", bool, None),
        lazy_load_members=reader.get("lazy_load_members", bool, False),
        include_redundant_members=reader.get("include_redundant_members", bool, False),
        unread_thread_notifications=reader.get("unread_thread_notifications", bool, False),
    )


def _room_filter(reader: _Reader) -> RoomFilter:
    return RoomFilter(
        rooms=reader.identifiers("rooms", "!"),
        not_rooms=reader.identifiers("not_rooms", "!") or frozenset(),
        include_leave=reader.get("include_leave", bool, False),
        timeline=_room_event_filter(reader.inner("timeline")),
        state=_room_event_filter(reader.inner("state")),
        ephemeral=_room_event_filter(reader.inner("ephemeral")),
        account_data=_room_event_filter(reader.inner("account_data")),
    )


_TYPE_NAMES: Final = {bool: "a boolean", int: "an integer", str: "a string", list: "an array"}


def _wrong(name: str, expected: str) -> MatrixError:
    return MatrixError(400, "M_BAD_JSON", f"'{name}' must be {expected}")


class _Reader:
    """Reads the fields of one JSON object of a filter, and knows the path to it."""

    __slots__ = ("_object", "_path")

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise _wrong(path or "filter", "an object")
        self._object = value
        self._path = path

    def name(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def inner(self, key: str) -> _Reader:
        return _Reader(self._object.get(key, {}), self.name(key))

    def get(self, key: str, kind: type, default: Any) -> Any:
        if key not in self._object:
            return default
        value = self._object[key]
        if type(value) is not kind:  # not isinstance: JSON's true is no integer
            raise _wrong(self.name(key), _TYPE_NAMES[kind])
        return value

    def limit(self) -> int | None:
        # The specification wants more than 0, but clients have always sent 0 for "none".
        limit: int | None = self.get("limit", int, None)
        if limit is not None and limit < 0:
            raise _wrong(self.name("limit"), "an integer greater than 0")
        return limit

    def strings(self, key: str) -> tuple[str, ...] | None:
        values: list[object] | None = self.get(key, list, None)
        if values is None:
            return None
        if len(values) > MAX_LIST_LENGTH:
            raise _wrong(self.name(key), f"an array of at most {MAX_LIST_LENGTH} entries")
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise _wrong(f"{self.name(key)}[{index}]", "a string")
        return tuple(value for value in values if isinstance(value, str))

    def identifiers(self, key: str, sigil: str) -> frozenset[str] | None:
        values = self.strings(key)
        if values is None:
            return None
        for index, value in enumerate(values):
            if not value.startswith(sigil):
                raise _wrong(f"{self.name(key)}[{index}]", "a user ID" if sigil == "@" else "a room ID")
        return frozenset(values)
