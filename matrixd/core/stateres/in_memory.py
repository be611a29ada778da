"""Resolving states that are in memory: for tests, tools and small rooms."""

from collections.abc import Callable, Collection, Mapping, Sequence

from matrixd.core.event import Event
from matrixd.core.stateres.auth_graph import ancestors
from matrixd.core.stateres.requests import Loaded, StateKey
from matrixd.core.stateres.resolver import Resolution, Resolver, drive
from matrixd.core.versions import RoomVersion

#: The stored ones of some events, by ID.
Load = Callable[[Collection[str]], Mapping[str, Event]]


def resolve(
    version: RoomVersion, state_sets: Sequence[Mapping[StateKey, Event]], load: Load, rejected: Collection[str] = ()
) -> dict[StateKey, Event]:
    """The resolution of some states, one at least. `load` gives the events of their auth chains.

    https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
    """
    resolution, unconflicted = resolve_verbosely(version, state_sets, load, rejected, explain=False)
    state = {**unconflicted, **resolution.state}
    return {key: event for key, event in state.items() if event is not None}


def resolve_verbosely(
    version: RoomVersion,
    state_sets: Sequence[Mapping[StateKey, Event]],
    load: Load,
    rejected: Collection[str] = (),
    *,
    explain: bool = True,
) -> tuple[Resolution, dict[StateKey, Event]]:
    """The resolution with its explanation, and the unconflicted state map."""
    conflicted, unconflicted = conflicts(state_sets)
    resolver = Resolver(version, conflicted, explain=explain)
    return drive(resolver, MemorySource(unconflicted, load, rejected)), unconflicted


def conflicts(
    state_sets: Sequence[Mapping[StateKey, Event]],
) -> tuple[dict[StateKey, tuple[Event | None, ...]], dict[StateKey, Event]]:
    """The keys that are not the same in all states, and the *unconflicted state map*.

    https://spec.matrix.org/v1.19/rooms/v2/#definitions
    """
    conflicted: dict[StateKey, tuple[Event | None, ...]] = {}
    unconflicted: dict[StateKey, Event] = {}
    for key in {key: None for state in state_sets for key in state}:
        entries = tuple(state.get(key) for state in state_sets)
        first = entries[0]
        if first is not None and all(entry == first for entry in entries):
            unconflicted[key] = first
        else:
            conflicted[key] = entries
    return conflicted, unconflicted


class MemorySource:
    """Answers a resolution from an unconflicted state map that is in memory."""

    def __init__(self, unconflicted: Mapping[StateKey, Event], load: Load, rejected: Collection[str] = ()) -> None:
        self._unconflicted = unconflicted
        self._load = load
        self._rejected = rejected
        self._chain: set[str] | None = None

    def events(self, ids: Collection[str]) -> Loaded:
        """The events that are stored, and what was rejected."""
        found = self._load(ids)
        return Loaded([found[event_id] for event_id in ids if event_id in found], self._rejected)

    def unconflicted_state(self, keys: Collection[StateKey]) -> Mapping[StateKey, Event]:
        """The entries of the keys."""
        return {key: self._unconflicted[key] for key in keys if key in self._unconflicted}

    def in_unconflicted_chain(self, ids: Collection[str]) -> Collection[str]:
        """Those that are in the whole chain, which is walked at the first question."""
        if self._chain is None:
            self._chain = self._walk()
        return self._chain & set(ids)

    def _walk(self) -> set[str]:
        edges = {event.event_id: event.auth_events for event in self._unconflicted.values()}
        layer = {auth_id for auth_ids in edges.values() for auth_id in auth_ids} - edges.keys()
        while layer:
            found = self._load(layer)
            edges.update((event_id, event.auth_events) for event_id, event in found.items())
            layer = {auth_id for event in found.values() for auth_id in event.auth_events} - edges.keys()
        return ancestors(edges, edges) | edges.keys()
