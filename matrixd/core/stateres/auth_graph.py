"""The graph that `auth_events` make, above the events in conflict.

https://spec.matrix.org/v1.19/rooms/v12/#definitions
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from matrixd.core.event import Event
from matrixd.core.stateres.requests import Known, Steps

#: The types that events name in `auth_events`.
_AUTHORISING = frozenset(
    {"m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.third_party_invite"}
)

#: Event ID -> the IDs in its `auth_events`, as far as they are stored.
Edges = dict[str, tuple[str, ...]]


def walk_to_common(known: Known, start: Collection[Event]) -> Steps[Edges]:
    """The auth chains of the events in conflict, as far as they are not *common*.

    Common is what the auth chain of the unconflicted state has: that is in the chain of every state, and so is all
    that comes before it. A walk that ends there has seen whatever is not in every chain.
    """
    edges: Edges = {}
    layer = {event.event_id for event in start}
    authorising = {event.event_id for event in start if event.type in _AUTHORISING}
    # One question tells both which events in conflict are old ones, and where to go from here.
    yield from known.find_common(authorising | {auth_id for event in start for auth_id in event.auth_events})
    while layer:
        yield from known.load(layer)
        layer = _add(known, edges, layer)
        yield from known.find_common(layer)
        layer -= known.common
    return edges


def walk_on(known: Known, edges: Edges) -> Steps[Edges]:
    """The complete auth chains: `edges` continued over what is common."""
    complete = dict(edges)
    layer = {auth_id for auth_ids in edges.values() for auth_id in auth_ids} - complete.keys()
    while layer:
        yield from known.load(layer)
        layer = _add(known, complete, layer)
    return complete


def _add(known: Known, edges: Edges, layer: Iterable[str]) -> set[str]:
    """Note where the edges of a layer lead; the answer is the next one."""
    ahead: set[str] = set()
    for event_id in layer:
        event = known.events.get(event_id)
        if event is not None:
            edges[event_id] = event.auth_events
            ahead.update(event.auth_events)
    return ahead - edges.keys()


def auth_difference(known: Known, edges: Edges, states: Sequence[Collection[str]]) -> set[str]:
    """The *auth difference*, given the events in conflict that each state has: what is in some chain but not in all.

    What is an entry of every state counts as being in the chain of every state. The definition can be read either way,
    since it has an event's chain without the event; the servers that are out there read it so, and state resolution
    is worth something only if all do the same.
    """
    chains = [ancestors(edges, event_ids) for event_ids in states]
    somewhere = {event_id for chain in chains for event_id in chain}
    everywhere = {event_id for event_id in somewhere if all(event_id in chain for chain in chains)}
    return (somewhere - everywhere - known.common) & known.events.keys()


def ancestors(edges: Mapping[str, Sequence[str]], event_ids: Iterable[str]) -> set[str]:
    """What edges lead to from some events; these themselves are in it only if an edge leads to them."""
    found: set[str] = set()
    waiting = list(event_ids)
    while waiting:
        for auth_id in edges.get(waiting.pop(), ()):
            if auth_id not in found:
                found.add(auth_id)
                waiting.append(auth_id)
    return found


def conflicted_state_subgraph(edges: Edges, conflicted: Collection[str]) -> set[str]:
    """All that is on a path from one event in conflict to another, given their complete auth chains (v2.1)."""
    backwards: dict[str, list[str]] = {}
    for event_id, auth_ids in edges.items():
        for auth_id in auth_ids:
            backwards.setdefault(auth_id, []).append(event_id)
    # All edges start at events that are in conflict, or lead to from there: what leads to one in conflict is between.
    return ancestors(backwards, conflicted)


def has_old_events(known: Known, conflicted: Iterable[Event]) -> bool:
    """Whether an event in conflict is common: then paths through what is common can lead to it."""
    return any(event.event_id in known.common for event in conflicted)
