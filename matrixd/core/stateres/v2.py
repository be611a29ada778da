"""State resolution version 2, and 2.1.

https://spec.matrix.org/v1.19/rooms/v2/#state-resolution, https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
"""

from collections.abc import Collection, Mapping, Sequence

from matrixd.core.event import Event
from matrixd.core.stateres.auth_checks import PartialState, iterative_auth_checks
from matrixd.core.stateres.auth_graph import (
    Edges,
    ancestors,
    auth_difference,
    conflicted_state_subgraph,
    has_old_events,
    walk_on,
    walk_to_common,
)
from matrixd.core.stateres.explanation import Order, Trial
from matrixd.core.stateres.mainline import mainline_ordering
from matrixd.core.stateres.power_order import reverse_topological_power_ordering
from matrixd.core.stateres.requests import Known, StateKey, Steps

_POWER_LEVELS = ("m.room.power_levels", "")


def resolve_v2(
    known: Known,
    conflicted: Mapping[StateKey, Sequence[Event | None]],
    trials: list[Trial] | None,
    *,
    from_empty_state: bool,
) -> Steps[dict[StateKey, Event | None]]:
    """The entries of the resolved state that the unconflicted state map does not have.

    None stands for a key in conflict that gets no event. `from_empty_state` makes it v2.1, which also replays the
    conflicted state subgraph.
    """
    if not conflicted:
        return {}
    events = {event.event_id: event for entries in conflicted.values() for event in entries if event is not None}
    full, edges = yield from _full_conflicted_set(known, conflicted, events, with_subgraph=from_empty_state)
    # 1, 2: the power events, and what they rest on.
    first = yield from _power_events(known, full, edges, events.values())
    state = PartialState(known, conflicted.keys(), below=not from_empty_state, trials=trials)
    ordered = yield from reverse_topological_power_ordering(known, first)
    yield from iterative_auth_checks(state, ordered, Order.POWER)
    # 3, 4: the others.
    yield from state.prepare([_POWER_LEVELS])
    rest = [known.events[event_id] for event_id in full - first]
    ordered = yield from mainline_ordering(known, state.get(_POWER_LEVELS), rest)
    yield from iterative_auth_checks(state, ordered, Order.MAINLINE)
    # 5: what was never in conflict stays.
    replayed = state.resolved.keys() - conflicted.keys()
    yield from known.load_unconflicted(replayed)
    keys = [*conflicted, *(key for key in replayed if key not in known.unconflicted)]
    return {key: state.resolved.get(key) for key in keys}


def _full_conflicted_set(
    known: Known,
    conflicted: Mapping[StateKey, Sequence[Event | None]],
    events: Mapping[str, Event],
    *,
    with_subgraph: bool,
) -> Steps[tuple[set[str], Edges]]:
    """The *full conflicted set*, and the auth chains that were walked to find it."""
    edges = yield from walk_to_common(known, events.values())
    states = [
        {event.event_id for event in state if event is not None} for state in zip(*conflicted.values(), strict=True)
    ]
    full = events.keys() | auth_difference(known, edges, states)
    if with_subgraph:
        if has_old_events(known, events.values()):
            edges = yield from walk_on(known, edges)
        full |= conflicted_state_subgraph(edges, events.keys())
    # Only a rejected event names as its auth event what is no state; it must do no harm all the same.
    return {event_id for event_id in full if known.events[event_id].is_state}, edges


def _power_events(known: Known, full: Collection[str], edges: Edges, conflicted: Collection[Event]) -> Steps[set[str]]:
    """The power events of the full conflicted set, and what of that set is in their auth chains."""
    power = {event_id for event_id in full if is_power_event(known.events[event_id])}
    # A chain that leaves the full conflicted set comes back into it only at an old event that some state still has.
    old = [event for event in conflicted if event.event_id not in power]
    if power and has_old_events(known, old):
        edges = yield from walk_on(known, edges)
    return power | (ancestors(edges, power) & set(full))


def is_power_event(event: Event) -> bool:
    """Whether an event might take away somebody's ability to do something. https://spec.matrix.org/v1.19/rooms/v2/#definitions"""
    if event.type == "m.room.member":
        return event.membership in ("leave", "ban") and event.sender != event.state_key
    return event.is_state and event.type in ("m.room.power_levels", "m.room.join_rules")
