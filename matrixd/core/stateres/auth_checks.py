"""Iterative auth checks: building up a state from events in order, each of which the rules must allow.

https://spec.matrix.org/v1.19/rooms/v2/#definitions
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from matrixd.core.auth import EventForbidden, check_state_dependent, state_for_check
from matrixd.core.event import Event
from matrixd.core.stateres.explanation import Order, Trial
from matrixd.core.stateres.requests import Known, StateKey, Steps


@dataclass(slots=True)
class PartialState:
    """The state resolved so far.

    `below` says whether the unconflicted state map is under it; v2.1 starts from an empty state instead.
    `trials` is None unless somebody wants an explanation.
    """

    known: Known
    conflicted: Collection[StateKey]
    below: bool
    trials: list[Trial] | None = None
    resolved: dict[StateKey, Event] = field(default_factory=dict)

    def get(self, key: StateKey) -> Event | None:
        """The event of a key; one that is not in conflict must have been `prepare`d."""
        event = self.resolved.get(key)
        return self.known.unconflicted.get(key) if event is None and self.below else event

    def prepare(self, keys: Collection[StateKey]) -> Steps[None]:
        """Ask for the entries that `get` will need."""
        if self.below:
            yield from self.known.load_unconflicted({key for key in keys if key not in self.conflicted})

    def record(
        self, event: Event, order: Order, rank: float, failure: EventForbidden | None, *, unchecked: bool = False
    ) -> None:
        """Note what became of an event, if somebody asked."""
        if self.trials is not None:
            self.trials.append(Trial(event, len(self.trials), order, rank, failure, unchecked))


def needed_for(event: Event) -> set[StateKey]:
    """The keys that decide about an event."""
    return state_for_check(event.version, event.type, event.sender, event.state_key, event.content)


def failure_of(event: Event, state: dict[StateKey, Event]) -> EventForbidden | None:
    """Why the rules do not allow an event in a state; None when they do."""
    try:
        check_state_dependent(event, state)
    except EventForbidden as failure:
        return failure
    return None


def iterative_auth_checks(state: PartialState, events: Sequence[tuple[Event, float]], order: Order) -> Steps[None]:
    """Apply events, given with their ranks, in order: those that the rules do not allow are ignored.

    What the state does not have comes from the event's own `auth_events`, but for those that were rejected.
    https://spec.matrix.org/v1.19/rooms/v2/#definitions
    """
    yield from state.known.load_auth_events([event for event, _ in events])
    yield from state.prepare({key for event, _ in events for key in needed_for(event)})
    for event, rank in events:
        failure = failure_of(event, _auth_state(state, event))
        if failure is None:
            state.resolved[event.key] = event
        state.record(event, order, rank, failure)


def _auth_state(state: PartialState, event: Event) -> dict[StateKey, Event]:
    known = state.known
    own = {
        named.key: named
        for named in known.auth_events(event)
        if named.is_state and named.event_id not in known.rejected
    }
    create = known.create_of(event)
    if create is not None and create.event_id not in known.rejected:
        own[create.key] = create
    found: dict[StateKey, Event] = {}
    for key in needed_for(event):
        entry = state.get(key) or own.get(key)
        if entry is not None:
            found[key] = entry
    return found
