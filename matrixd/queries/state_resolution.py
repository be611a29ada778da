"""State resolution on stored rooms: the states of several branches become one.

https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution

Everything here runs in the thread of a database read. Only the keys in which the branches differ are loaded, and what
the algorithm (`core.stateres`) asks for.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from matrixd.core.event import Event
from matrixd.core.stateres import Loaded, Resolution, Resolver, StateKey, drive
from matrixd.core.versions import RoomVersion
from matrixd.storage import auth_edges, event_state, events
from matrixd.storage.event_state import EventState
from matrixd.storage.transaction import Transaction

#: The states that went in.
Inputs = frozenset[tuple[int, tuple[tuple[int, int | None], ...]]]
#: What came out: number of key -> of event, of the keys in which the states differed.
Outcome = Mapping[int, int | None]


@dataclass(slots=True)
class Remembered:
    """Outcomes of earlier resolutions of a room, by what went in. `learned` are those of this read."""

    known: Mapping[Inputs, Outcome] = field(default_factory=dict)
    learned: dict[Inputs, Outcome] = field(default_factory=dict)

    def find(self, inputs: Inputs) -> Outcome | None:
        """The outcome for these states, if they were resolved before."""
        found = self.known.get(inputs)
        return self.learned.get(inputs) if found is None else found


def resolve(
    tx: Transaction, version: RoomVersion, states: Sequence[EventState], remembered: Remembered | None = None
) -> EventState:
    """The one state that some states of a room resolve to."""
    base = max(states, key=lambda state: state.base_pos)
    if len(states) == 1:
        return base
    remembered = Remembered() if remembered is None else remembered
    inputs: Inputs = frozenset((state.base_pos, tuple(sorted(state.entries.items()))) for state in states)
    if len(inputs) == 1:
        return base
    outcome = remembered.find(inputs)
    if outcome is None:
        outcome = _resolve(tx, version, states)
        remembered.learned[inputs] = outcome
    return base.with_entries(outcome)


def _resolve(tx: Transaction, version: RoomVersion, states: Sequence[EventState]) -> dict[int, int | None]:
    differing = event_state.differing_keys(tx, states)
    if not differing:
        return {}
    resolution, key_nids, event_nids = run(tx, version, states, differing)
    outcome: dict[int, int | None] = {}
    for key, event in resolution.state.items():
        # Keys that no state has are there only if an event between the states has them.
        key_nid = key_nids.get(key)
        if key_nid is None:
            key_nid = event_state.find_key_nids(tx, [key])[key]
        outcome[key_nid] = None if event is None else event_nids.get(event.event_id) or _nid(tx, event)
    return outcome


def run(
    tx: Transaction,
    version: RoomVersion,
    states: Sequence[EventState],
    differing: Mapping[int, Sequence[int | None]],
    *,
    explain: bool = False,
) -> tuple[Resolution, dict[StateKey, int], dict[str, int]]:
    """A resolution of `event_state.differing_keys`, with the numbers of their keys and of their events by ID."""
    keys = event_state.keys_of(tx, differing)
    stored = events.by_nids(tx, {nid for nids in differing.values() for nid in nids if nid is not None})
    conflicted = {
        keys[key_nid]: [None if nid is None else stored[nid].event for nid in nids]
        for key_nid, nids in differing.items()
    }
    source = _Source(tx, states[0], frozenset(differing))
    resolution = drive(Resolver(version, conflicted, explain=explain), source)
    return (
        resolution,
        {key: key_nid for key_nid, key in keys.items()},
        {item.event.event_id: nid for nid, item in stored.items()},
    )


def _nid(tx: Transaction, event: Event) -> int:
    return events.nids(tx, [event.event_id])[event.event_id]


class _Source:
    """Answers a resolution from the database. `state` is one of the states: in the rest all are the same."""

    def __init__(self, tx: Transaction, state: EventState, conflicted: frozenset[int]) -> None:
        self._tx = tx
        self._state = state
        self._conflicted = conflicted

    def events(self, ids: Collection[str]) -> Loaded:
        """These events, and which of them were rejected."""
        found = events.by_ids(self._tx, ids).values()
        return Loaded(
            [item.event for item in found], [item.event.event_id for item in found if item.verdict == "rejected"]
        )

    def unconflicted_state(self, keys: Collection[StateKey]) -> Mapping[StateKey, Event]:
        """What all states have of some keys."""
        return {key: item.event for key, item in self._state.of_keys(self._tx, keys).items()}

    def in_unconflicted_chain(self, ids: Collection[str]) -> Collection[str]:
        """Those of some events that are in the unconflicted state, or in the auth chain of what is in it."""
        nids = events.nids(self._tx, ids)
        found = auth_edges.in_chain_of_state(self._tx, nids.values(), self._state, self._conflicted)
        return [event_id for event_id, nid in nids.items() if nid in found]
