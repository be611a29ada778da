"""What some events, whose state is not the timeline's own, had of a room's state before them.

Events of forks, and history that was fetched later: `storage.event_state`. The number of queries does not depend on the
number of events, but on how many positions of the timeline their states are told from, which are few.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from matrixd.core.event import Event
from matrixd.storage import event_state, events
from matrixd.storage.room_state import StateKey
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction


def load_keys(
    tx: Transaction, state_nids: Collection[int], keys: Sequence[StateKey]
) -> dict[int, dict[StateKey, Event]]:
    """A few keys of some stored state sets: number of the state set -> key -> event, as far as it has one."""
    key_nids = event_state.find_key_nids(tx, keys)
    held = event_state.held_in_sets(tx, state_nids, key_nids.values())
    found = events.by_nids(tx, {nid for nids in held.values() for nid in nids.values()})
    return {
        state_nid: {key: found[nids[key_nid]].event for key, key_nid in key_nids.items() if key_nid in nids}
        for state_nid, nids in held.items()
    }


def load_replaced(tx: Transaction, state: Iterable[StoredEvent]) -> dict[int, StoredEvent]:
    """The state event that each of some state events took the place of in the state before it, by their numbers.

    Of events whose state is not the timeline's own; others are left out.
    """
    apart = [(item, item.state_nid, item.key_nid) for item in state if item.state_nid is not None]
    if not apart:
        return {}
    held = event_state.held_in_sets(
        tx, {state_nid for _, state_nid, _ in apart}, {key_nid for _, _, key_nid in apart if key_nid is not None}
    )
    before: Mapping[int, int] = {
        item.event_nid: held[state_nid][key_nid]
        for item, state_nid, key_nid in apart
        if key_nid is not None and key_nid in held[state_nid]
    }
    found = events.by_nids(tx, set(before.values()))
    return {event_nid: found[nid] for event_nid, nid in before.items()}
