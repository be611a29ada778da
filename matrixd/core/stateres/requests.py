"""What a resolution asks for while it runs, and how it is answered.

The states that are resolved may have 50,000 entries, the room's history more. So a resolution gets the entries in
conflict, and asks for the rest piece by piece. Who drives it (`resolver.drive`) answers from a database or from memory.
"""

from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from matrixd.core.event import Event

#: (type, state_key)
StateKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Events:
    """These events, whichever are stored; and which of them were rejected."""

    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class UnconflictedState:
    """The entries of these keys in the *unconflicted state map*, as far as it has them.

    A key in conflict is never asked for. https://spec.matrix.org/v1.19/rooms/v2/#definitions
    """

    keys: frozenset[StateKey]


@dataclass(frozen=True, slots=True)
class InUnconflictedChain:
    """Which of these events are entries of the unconflicted state map, or in the *auth chain* of one.

    `m.room.create` is among the IDs in versions whose events name it, and then belongs to the answer as soon as the
    unconflicted state map has any entry. https://spec.matrix.org/v1.19/rooms/v2/#definitions
    """

    ids: frozenset[str]


Request = Events | UnconflictedState | InUnconflictedChain


class Loaded(NamedTuple):
    """The answer to `Events`."""

    events: Collection[Event]
    #: The IDs of those that were rejected; further IDs do no harm.
    rejected: Collection[str] = ()


class StateSource(Protocol):
    """Who answers the requests of a resolution: a method for each."""

    def events(self, ids: Collection[str]) -> Loaded:
        """Answer `Events`."""
        ...

    def unconflicted_state(self, keys: Collection[StateKey]) -> Mapping[StateKey, Event]:
        """Answer `UnconflictedState`."""
        ...

    def in_unconflicted_chain(self, ids: Collection[str]) -> Collection[str]:
        """Answer `InUnconflictedChain`: a part of `ids`."""
        ...


T = TypeVar("T")
#: A part of a resolution: it yields what has to become known, goes on when it is, and returns its outcome.
Steps = Generator[Request, None, T]


@dataclass(slots=True)
class Known:
    """What a resolution has been told so far. Each of the generators here asks for what is not known yet."""

    events: dict[str, Event] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    #: Entries of the unconflicted state map.
    unconflicted: dict[StateKey, Event] = field(default_factory=dict)
    #: Events that are in every state, or in the auth chain of such an event: what `InUnconflictedChain` found.
    common: set[str] = field(default_factory=set)
    _asked: set[str | StateKey] = field(default_factory=set)
    _asked_common: set[str] = field(default_factory=set)

    def load(self, ids: Collection[str]) -> Steps[None]:
        """Afterwards `events` holds these events, as far as they are stored."""
        missing = frozenset(ids) - self.events.keys() - self._asked
        if missing:
            yield Events(missing)
            self._asked |= missing

    def load_unconflicted(self, keys: Collection[StateKey]) -> Steps[None]:
        """Afterwards `unconflicted` holds the entries of these keys, as far as there are any."""
        missing = frozenset(keys) - self._asked
        if missing:
            yield UnconflictedState(missing)
            self._asked |= missing

    def find_common(self, ids: Collection[str]) -> Steps[None]:
        """Afterwards `common` holds those of the events that are in the unconflicted state or its auth chain."""
        missing = frozenset(ids) - self._asked_common
        if missing:
            yield InUnconflictedChain(missing)
            self._asked_common |= missing

    def auth_events(self, event: Event) -> list[Event]:
        """The events that an event names in `auth_events`, of those that were loaded."""
        return [self.events[event_id] for event_id in event.auth_events if event_id in self.events]

    def load_auth_events(self, events: Collection[Event]) -> Steps[None]:
        """Afterwards `auth_events` and `create_of` are complete for these events."""
        wanted = {event_id for event in events for event_id in event.auth_events}
        yield from self.load(wanted | {create_id(event) for event in events if _implies_create(event)})

    def create_of(self, event: Event) -> Event | None:
        """The `m.room.create` that an event names in `auth_events`, or that its room ID implies (v12).

        https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
        """
        if _implies_create(event):
            return self.events.get(create_id(event))
        return next((named for named in self.auth_events(event) if named.type == "m.room.create"), None)

    def power_levels_of(self, event: Event) -> Event | None:
        """The `m.room.power_levels` event that an event names in `auth_events`."""
        return next((named for named in self.auth_events(event) if named.type == "m.room.power_levels"), None)


def _implies_create(event: Event) -> bool:
    return event.version.auth.create_implied_by_room_id


def create_id(event: Event) -> str:
    """The ID of the creation of the event's room, where the room ID is that with another sigil (v12)."""
    return f"${event.room_id[1:]}"
