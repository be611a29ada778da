"""The reverse topological power ordering. https://spec.matrix.org/v1.19/rooms/v2/#definitions"""

from collections.abc import Collection
from heapq import heapify, heappop, heappush

from matrixd.core.event import Event
from matrixd.core.power import PowerLevels
from matrixd.core.stateres.requests import Known, Steps


def reverse_topological_power_ordering(known: Known, ids: Collection[str]) -> Steps[list[tuple[Event, float]]]:
    """The events, which must be loaded, from the earliest to the latest, with their senders' power levels.

    Kahn's algorithm: of the events whose auth events in the set are all behind us, the smallest comes next: that with
    the mightiest sender, then the smallest `origin_server_ts`, then the smallest ID. An event that is part of a cycle,
    as forged IDs of v1 and v2 could make one, never comes.
    """
    events = {event_id: known.events[event_id] for event_id in ids}
    yield from known.load_auth_events(events.values())
    before = {event_id: events.keys() & set(event.auth_events) for event_id, event in events.items()}
    after: dict[str, list[str]] = {event_id: [] for event_id in events}
    for event_id, auth_ids in before.items():
        for auth_id in auth_ids:
            after[auth_id].append(event_id)
    ready = [_sort_key(known, events[event_id]) for event_id, auth_ids in before.items() if not auth_ids]
    heapify(ready)
    ordered: list[tuple[Event, float]] = []
    while ready:
        level, _, event_id = heappop(ready)
        ordered.append((events[event_id], -level))
        for next_id in after[event_id]:
            before[next_id].discard(event_id)
            if not before[next_id]:
                heappush(ready, _sort_key(known, events[next_id]))
    return ordered


def _sort_key(known: Known, event: Event) -> tuple[float, int, str]:
    return -sender_level(known, event), event.origin_server_ts, event.event_id


def sender_level(known: Known, event: Event) -> float:
    """The power level of the sender, by the event's auth events, which must be loaded; 0 without a creation."""
    create = event if event.type == "m.room.create" else known.create_of(event)
    return 0 if create is None else PowerLevels(create, known.power_levels_of(event)).of(event.sender)
