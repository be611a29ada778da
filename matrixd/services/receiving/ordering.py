"""Events in an order in which each comes after those that it refers to."""

from collections.abc import Callable, Collection, Iterable

from matrixd.core.event import Event


def by_auth_events(found: Collection[Event]) -> list[Event]:
    """Each event after those of `found` that it names in auth_events."""
    return _ordered(found, lambda event: event.auth_events)


def by_prev_events(found: Collection[Event]) -> list[Event]:
    """Each event after those of `found` that it names in prev_events or auth_events."""
    return _ordered(found, lambda event: (*event.prev_events, *event.auth_events))


def _ordered(found: Collection[Event], references: Callable[[Event], Iterable[str]]) -> list[Event]:
    # Without recursion: chains may be long. Cycles, which only chosen event IDs (v1, v2) can form, are cut somewhere.
    known = {event.event_id: event for event in found}
    done: dict[str, Event] = {}
    for event in found:
        stack = [(event, iter(references(event)))]
        under_way = {event.event_id}
        while stack:
            current, rest = stack[-1]
            following = next((i for i in rest if i in known and i not in done and i not in under_way), None)
            if following is None:
                stack.pop()
                done[current.event_id] = current
            else:
                under_way.add(following)
                stack.append((known[following], iter(references(known[following]))))
    return list(done.values())
