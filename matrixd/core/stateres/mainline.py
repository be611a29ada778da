"""The mainline ordering. https://spec.matrix.org/v1.19/rooms/v2/#definitions"""

from collections.abc import Collection, Mapping
from math import inf

from matrixd.core.event import Event
from matrixd.core.stateres.requests import Known, Steps


def mainline_ordering(
    known: Known, power_levels: Event | None, events: Collection[Event]
) -> Steps[list[tuple[Event, float]]]:
    """Events from the smallest to the largest, with their mainline positions; infinite is the smallest.

    The mainline is that of `power_levels`; without one nothing has a position.
    """
    positions: dict[str, float] = {}
    if power_levels is not None:
        yield from known.load_auth_events(events)
        starts = {event.event_id: known.power_levels_of(event) for event in events}
        line, above = yield from _climb(known, power_levels, {start.event_id for start in starts.values() if start})
        positions = {event_id: _position(line, above, start) for event_id, start in starts.items()}
    ranked = [(event, positions.get(event.event_id, inf)) for event in events]
    return sorted(ranked, key=lambda item: (-item[1], item[0].origin_server_ts, item[0].event_id))


def _climb(known: Known, head: Event, starts: Collection[str]) -> Steps[tuple[dict[str, int], dict[str, str | None]]]:
    """The mainline as far as it is needed (position by ID), and for power levels beside it those that are above them.

    Rooms can have thousands of power level events. So the mainline, and the trail of each start, are followed only
    until every trail has met the mainline. Trails climb at half the mainline's speed: so it catches up with a trail
    that begins further up on it, and either is followed for at most about twice as long as it has to be.
    """
    line: dict[str, int] = {}
    above: dict[str, str | None] = {}
    tip: str | None = head.event_id
    trails = set(starts)
    turn = 0
    while True:
        if tip is not None:
            line[tip] = len(line)
        trails -= line.keys()
        climbing = {trail for trail in trails if above.get(trail, trail) is not None}
        if not trails or (tip is None and not climbing):
            return line, above
        moving = climbing if turn % 2 or tip is None else set()
        turn += 1
        wanted = moving if tip is None else {tip, *moving}
        yield from known.load_auth_events([known.events[event_id] for event_id in wanted])
        tip = None if tip is None else _above(known, tip)
        if tip in line:
            tip = None
        trails = _moved(known, trails, moving, above)


def _moved(known: Known, trails: set[str], moving: set[str], above: dict[str, str | None]) -> set[str]:
    """The ends of the trails when some of them have climbed by one. What comes where another trail was ends there."""
    for trail in moving:
        above[trail] = _above(known, trail)
    steps = {above[trail] for trail in moving}
    topmost = {trail for trail in trails if trail not in moving or above[trail] is None}
    return topmost | {step for step in steps if step is not None and step not in above}


def _above(known: Known, event_id: str) -> str | None:
    named = known.power_levels_of(known.events[event_id])
    return None if named is None else named.event_id


def _position(line: Mapping[str, int], above: Mapping[str, str | None], start: Event | None) -> float:
    at = None if start is None else start.event_id
    seen: set[str] = set()
    while at is not None and at not in line and at not in seen:
        seen.add(at)
        at = above.get(at)
    return line.get(at, inf) if at is not None else inf
