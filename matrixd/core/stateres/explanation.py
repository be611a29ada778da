"""Why a resolution came out as it did: what was tried, in which order, and what the authorisation rules said."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from matrixd.core.auth import EventForbidden
from matrixd.core.event import Event
from matrixd.core.power import level_text
from matrixd.core.stateres.requests import StateKey


class Order(Enum):
    """What put an event at its place among those that were tried."""

    #: v1: ascending depth, then descending SHA-1 of the event ID. https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
    DEPTH = "depth"
    #: v1, types without a say in authorisation: descending depth, then ascending SHA-1; the first that passes wins.
    DESCENDING_DEPTH = "descending_depth"
    #: v2: the reverse topological power ordering. https://spec.matrix.org/v1.19/rooms/v2/#definitions
    POWER = "power"
    #: v2: the mainline ordering. https://spec.matrix.org/v1.19/rooms/v2/#definitions
    MAINLINE = "mainline"


class Reason(Enum):
    """Why a key has the event that it has."""

    #: It was the last one of the key that the rules allowed.
    LAST_ALLOWED = "last_allowed"
    #: v1: the first in the order that passed.
    FIRST_ALLOWED = "first_allowed"
    #: v1: states that do not have the key do not oppose those that have.
    UNOPPOSED = "unopposed"
    #: The rules allowed none: the key has no event.
    NONE_ALLOWED = "none_allowed"


@dataclass(frozen=True, slots=True)
class Trial:
    """An event whose turn came."""

    event: Event
    #: Counts from 0 through the whole resolution.
    number: int
    order: Order
    #: POWER: the sender's power level by the event's auth events (infinite for a creator in v12).
    #: MAINLINE: the mainline position, infinite for none. v1: the depth.
    rank: float
    #: None: it was allowed.
    failure: EventForbidden | None
    #: v1: the first event of its key is taken without asking the rules.
    unchecked: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """An event that stood for a key, and the states that had it."""

    event: Event
    #: Numbers of the states given, from 0. Empty: no state has it, it was replayed because it stands between
    #: (`auth difference`, `conflicted state subgraph`).
    states: tuple[int, ...]
    #: None: its turn never came (v1 stops at the first that wins or fails).
    trial: Trial | None


@dataclass(frozen=True, slots=True)
class KeyExplanation:
    """What became of one key."""

    key: StateKey
    #: In the order in which they were tried, those that were not tried last.
    candidates: tuple[Candidate, ...]
    winner: Event | None
    reason: Reason

    def sentences(self) -> list[str]:
        """The same for a human, a sentence each."""
        return [*(_about(candidate) for candidate in self.candidates), _outcome(self)]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole resolution."""

    keys: Mapping[StateKey, KeyExplanation]
    #: Everything that was tried, of whatever key, in order.
    trials: tuple[Trial, ...]


def explain(
    conflicted: Mapping[StateKey, tuple[Event | None, ...]], trials: list[Trial], state: Mapping[StateKey, Event | None]
) -> Explanation:
    """Sort what happened by key."""
    by_key: dict[StateKey, list[Trial]] = {key: [] for key in state}
    for trial in trials:
        by_key.setdefault(trial.event.key, []).append(trial)
    return Explanation(
        {key: _of_key(key, conflicted.get(key, ()), by_key[key], winner) for key, winner in state.items()},
        tuple(trials),
    )


def _of_key(
    key: StateKey, entries: tuple[Event | None, ...], trials: list[Trial], winner: Event | None
) -> KeyExplanation:
    holders: dict[str, list[int]] = {trial.event.event_id: [] for trial in trials}
    events = {trial.event.event_id: trial.event for trial in trials}
    for number, event in enumerate(entries):
        if event is not None:
            events.setdefault(event.event_id, event)
            holders.setdefault(event.event_id, []).append(number)
    tried = {trial.event.event_id: trial for trial in trials}
    candidates = tuple(
        Candidate(event, tuple(holders[event_id]), tried.get(event_id)) for event_id, event in events.items()
    )
    return KeyExplanation(key, candidates, winner, _reason(winner, tried))


def _reason(winner: Event | None, tried: Mapping[str, Trial]) -> Reason:
    if winner is None:
        return Reason.NONE_ALLOWED
    trial = tried.get(winner.event_id)
    if trial is None:
        return Reason.UNOPPOSED
    return Reason.FIRST_ALLOWED if trial.order is Order.DESCENDING_DEPTH else Reason.LAST_ALLOWED


_RANKS = {
    Order.DEPTH: "with depth {}",
    Order.DESCENDING_DEPTH: "with depth {}",
    Order.POWER: "among the power events, the sender's level being {}",
    Order.MAINLINE: "at mainline position {}",
}


def _about(candidate: Candidate) -> str:
    event, trial = candidate.event, candidate.trial
    numbers = ", ".join(str(number + 1) for number in candidate.states)
    held = f"stands in state {numbers}" if numbers else "stands in none of the states and was replayed in between"
    head = f"{event.event_id} of {event.sender} {held}"
    if trial is None:
        return f"{head}; its turn never came."
    place = _RANKS[trial.order].format(level_text(trial.rank))
    if trial.unchecked:
        verdict = "it was taken without a check, being the first"
    elif trial.failure is None:
        verdict = "it was allowed"
    else:
        verdict = f"it was not allowed ({trial.failure.rule.value}): {trial.failure}"
    return f"{head}; it was tried as number {trial.number + 1}, {place}: {verdict}."


def _outcome(about: KeyExplanation) -> str:
    winner = None if about.winner is None else about.winner.event_id
    return {
        Reason.LAST_ALLOWED: f"{winner} won: it was the last one to be allowed.",
        Reason.FIRST_ALLOWED: f"{winner} won: it is the deepest one that was allowed.",
        Reason.UNOPPOSED: f"{winner} won: no state has another event in its place.",
        Reason.NONE_ALLOWED: "None was allowed: the state has no such event.",
    }[about.reason]
