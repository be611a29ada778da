"""A resolution that stops where it has to know more, and goes on when it is told."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrixd.core.event import Event
from matrixd.core.stateres.explanation import Explanation, Trial, explain
from matrixd.core.stateres.requests import (
    Events,
    InUnconflictedChain,
    Known,
    Request,
    StateKey,
    StateSource,
    Steps,
    UnconflictedState,
)
from matrixd.core.stateres.v1 import resolve_v1
from matrixd.core.stateres.v2 import resolve_v2
from matrixd.core.versions import RoomVersion, StateResolution


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a resolution came out: the resolved state is the unconflicted state map, and over it `state`."""

    #: Every key that was in conflict, with None if it gets no event. Other keys, as yet without an entry in any state,
    #: are there if a replayed event has them.
    state: Mapping[StateKey, Event | None]
    #: Only if it was asked for.
    explanation: Explanation | None


class Resolver:
    """One resolution, by the algorithm of the room version.

    `conflicted`: the keys that are not the same in all states, each with its event in every state, None where a state
    does not have it; the states stand in the same order for every key. At most as many rows as there are differences:
    the entries that are the same in all states (the *unconflicted state map*) are asked for one by one.

    While `needed` is a request it waits for the answer, given by the method `feed_…` of that kind; then `result` has
    the outcome. `drive` does that with a `StateSource`. It holds what it was fed, and nothing outside itself.

    https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
    """

    def __init__(
        self, version: RoomVersion, conflicted: Mapping[StateKey, Sequence[Event | None]], *, explain: bool = False
    ) -> None:
        self._conflicted = {key: tuple(entries) for key, entries in conflicted.items()}
        if len({len(entries) for entries in self._conflicted.values()}) > 1:
            raise ValueError("every key in conflict needs an entry for each of the states")
        self._trials: list[Trial] | None = [] if explain else None
        self._known = Known()
        for entries in self._conflicted.values():
            self._known.events.update((event.event_id, event) for event in entries if event is not None)
        self._state: dict[StateKey, Event | None] = {}
        self._needed: Request | None = None
        self._steps = self._algorithm(version.state_resolution)
        self._go_on()

    def _algorithm(self, algorithm: StateResolution) -> Steps[dict[StateKey, Event | None]]:
        if algorithm is StateResolution.V1:
            return resolve_v1(self._known, self._conflicted, self._trials)
        from_empty_state = algorithm is StateResolution.V2_1
        return resolve_v2(self._known, self._conflicted, self._trials, from_empty_state=from_empty_state)

    def _go_on(self) -> None:
        try:
            self._needed = next(self._steps)
        except StopIteration as end:
            self._needed = None
            self._state = end.value

    @property
    def needed(self) -> Request | None:
        """What has to be answered before it goes on; None when it is done."""
        return self._needed

    def feed_events(self, events: Iterable[Event], rejected: Collection[str] = ()) -> None:
        """Answer `Events`: those of them that are stored, and which IDs are of rejected events."""
        self._expect(Events)
        self._known.events.update((event.event_id, event) for event in events)
        self._known.rejected.update(rejected)
        self._go_on()

    def feed_unconflicted_state(self, state: Mapping[StateKey, Event]) -> None:
        """Answer `UnconflictedState`: the keys that the unconflicted state map has."""
        self._expect(UnconflictedState)
        self._known.unconflicted.update(state)
        self._known.events.update((event.event_id, event) for event in state.values())
        self._go_on()

    def feed_in_unconflicted_chain(self, ids: Collection[str]) -> None:
        """Answer `InUnconflictedChain`: those of the IDs of which it is true."""
        self._expect(InUnconflictedChain)
        self._known.common.update(ids)
        self._go_on()

    def _expect(self, kind: type[Request]) -> None:
        if type(self._needed) is not kind:
            raise ValueError(f"{self._needed} is needed, not an answer to {kind.__name__}")

    def result(self) -> Resolution:
        """The outcome. Raises ValueError while something is needed."""
        if self._needed is not None:
            raise ValueError(f"{self._needed} is still needed")
        trials = self._trials
        return Resolution(self._state, None if trials is None else explain(self._conflicted, trials, self._state))


def drive(resolver: Resolver, source: StateSource) -> Resolution:
    """Answer a resolution's requests from a source until it is done."""
    while (request := resolver.needed) is not None:
        match request:
            case Events(ids):
                loaded = source.events(ids)
                resolver.feed_events(loaded.events, loaded.rejected)
            case UnconflictedState(keys):
                resolver.feed_unconflicted_state(source.unconflicted_state(keys))
            case InUnconflictedChain(ids):
                resolver.feed_in_unconflicted_chain(source.in_unconflicted_chain(ids))
    return resolver.result()
