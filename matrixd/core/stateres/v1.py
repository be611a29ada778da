"""State resolution version 1. https://spec.matrix.org/v1.19/rooms/v1/#state-resolution"""

from collections.abc import Mapping, Sequence
from hashlib import sha1

from matrixd.core.event import Event
from matrixd.core.stateres.auth_checks import PartialState, failure_of, needed_for
from matrixd.core.stateres.explanation import Order, Trial
from matrixd.core.stateres.requests import Known, StateKey, Steps

_PASSES = ("m.room.power_levels", "m.room.join_rules", "m.room.member")


def resolve_v1(
    known: Known, differing: Mapping[StateKey, Sequence[Event | None]], trials: list[Trial] | None
) -> Steps[dict[StateKey, Event | None]]:
    """The entries of the resolved state for the keys that are not the same in all states.

    A state that does not have a key is in no conflict about it. None stands for a key of which no event is allowed.
    """
    events = {key: _distinct(entries) for key, entries in differing.items()}
    state = PartialState(known, differing.keys(), below=True, trials=trials)
    state.resolved = {key: candidates[0] for key, candidates in events.items() if len(candidates) == 1}
    conflicted = {key: candidates for key, candidates in events.items() if len(candidates) > 1}
    yield from state.prepare(
        {key for candidates in conflicted.values() for event in candidates for key in needed_for(event)}
    )
    for event_type in _PASSES:
        # All keys of a pass are resolved in the same state: the text gives them no order among themselves.
        won = {key: _climb(state, candidates) for key, candidates in conflicted.items() if key[0] == event_type}
        state.resolved.update(won)
    others = {key: _deepest(state, candidates) for key, candidates in conflicted.items() if key[0] not in _PASSES}
    return {**{key: state.resolved.get(key) for key in differing}, **others}


def _distinct(entries: Sequence[Event | None]) -> list[Event]:
    return list({event.event_id: event for event in entries if event is not None}.values())


def _ascending(candidates: list[Event]) -> list[Event]:
    """By ascending depth, then descending SHA-1 of the event ID."""
    by_hash = sorted(candidates, key=lambda event: sha1(event.event_id.encode()).digest(), reverse=True)
    return sorted(by_hash, key=lambda event: event.depth)


def _climb(state: PartialState, candidates: list[Event]) -> Event:
    """The first event, and then each that the one before it allows, until one is not allowed."""
    ordered = _ascending(candidates)
    winner = ordered[0]
    state.record(winner, Order.DEPTH, winner.depth, None, unchecked=True)
    for event in ordered[1:]:
        failure = failure_of(event, _auth_state(state, event, winner))
        state.record(event, Order.DEPTH, event.depth, failure)
        if failure is not None:
            break
        winner = event
    return winner


def _deepest(state: PartialState, candidates: list[Event]) -> Event | None:
    """The event with the highest depth and lowest SHA-1 that is allowed."""
    for event in reversed(_ascending(candidates)):
        failure = failure_of(event, _auth_state(state, event, None))
        state.record(event, Order.DESCENDING_DEPTH, event.depth, failure)
        if failure is None:
            return event
    return None


def _auth_state(state: PartialState, event: Event, winner: Event | None) -> dict[StateKey, Event]:
    entries = {key: state.get(key) for key in needed_for(event)}
    if winner is not None and winner.key in entries:
        entries[winner.key] = winner
    return {key: entry for key, entry in entries.items() if entry is not None}
