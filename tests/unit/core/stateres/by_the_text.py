"""State resolution v2 and v2.1 word for word: whole chains, whole states, every path. Slow, and easy to compare with
https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf

from matrixd.core.auth import state_for_check
from matrixd.core.event import Event
from matrixd.core.power import PowerLevels
from matrixd.core.stateres import StateKey
from matrixd.core.versions import RoomVersion, StateResolution
from tests.unit.core.stateres.random_rooms import forbidden

State = dict[StateKey, Event]


class ByTheText:
    """The events of a room, and the definitions."""

    def __init__(self, version: RoomVersion, events: Mapping[str, Event], rejected: Collection[str] = ()) -> None:
        self.version = version
        self.events = events
        self.rejected = rejected
        #: What iterative auth checks looked at, in order, and whether it was allowed.
        self.tried: list[tuple[Event, bool]] = []

    def auth_chain(self, event: Event) -> set[Event]:
        """All of the event's auth events, all of their auth events, and so on."""
        direct = {self.events[event_id] for event_id in event.auth_events}
        return direct.union(*(self.auth_chain(one) for one in direct))

    def resolve(self, states: Sequence[State]) -> State:
        """The resolution of some states."""
        keys = {key for state in states for key in state}
        same = {key for key in keys if len({state.get(key) for state in states}) == 1}
        unconflicted = {key: states[0][key] for key in same}
        conflicted = {state[key] for state in states for key in state if key not in same}
        full = conflicted | self.auth_difference(states)
        is_v2_1 = self.version.state_resolution is StateResolution.V2_1
        if is_v2_1:
            full |= self.conflicted_state_subgraph(conflicted)
        power = {event for event in full if is_power(event)}
        first = power | {event for one in power for event in self.auth_chain(one) & full}
        partial = self.iterative_auth_checks({} if is_v2_1 else unconflicted, self.power_ordering(first))
        rest = self.mainline_ordering(partial.get(("m.room.power_levels", "")), full - first)
        return {**self.iterative_auth_checks(partial, rest), **unconflicted}

    def auth_difference(self, states: Sequence[State]) -> set[Event]:
        """What is in some full auth chain and not in all; what is in a state counts as being in its chain."""
        chains = [set(state.values()).union(*(self.auth_chain(event) for event in state.values())) for state in states]
        somewhere: set[Event] = set().union(*chains)
        return {event for event in somewhere if not all(event in chain for chain in chains)}

    def conflicted_state_subgraph(self, conflicted: set[Event]) -> set[Event]:
        """What is above one event in conflict and below another."""
        above = set().union(conflicted, *(self.auth_chain(event) for event in conflicted))
        return {event for event in above if event in conflicted or self.auth_chain(event) & conflicted}

    def power_ordering(self, events: set[Event]) -> list[Event]:
        """The smallest one of which all auth events are behind us, again and again."""
        ordered: list[Event] = []
        while len(ordered) < len(events):
            left = events.difference(ordered)
            ready = [event for event in left if not {self.events[one] for one in event.auth_events} & left]
            ordered.append(min(ready, key=lambda event: (-self.level(event), event.origin_server_ts, event.event_id)))
        return ordered

    def level(self, event: Event) -> float:
        """The sender's power level by the auth events."""
        named = {one.type: one for one in (self.events[event_id] for event_id in event.auth_events)}
        create = next(one for one in self.events.values() if one.type == "m.room.create")
        return PowerLevels(create, named.get("m.room.power_levels")).of(event.sender)

    def power_levels_above(self, event: Event | None) -> list[Event]:
        """The power levels that an event names, those that these name, and so on."""
        found: list[Event] = []
        while event is not None:
            named = [self.events[event_id] for event_id in event.auth_events]
            event = next((one for one in named if one.type == "m.room.power_levels"), None)
            found += [] if event is None else [event]
        return found

    def mainline_ordering(self, power_levels: Event | None, events: Collection[Event]) -> list[Event]:
        """By descending mainline position, then time, then ID."""
        mainline = [] if power_levels is None else [power_levels, *self.power_levels_above(power_levels)]

        def position(event: Event) -> float:
            return next((mainline.index(one) for one in self.power_levels_above(event) if one in mainline), inf)

        return sorted(events, key=lambda event: (-position(event), event.origin_server_ts, event.event_id))

    def iterative_auth_checks(self, start: State, events: Sequence[Event]) -> State:
        """The state after applying those of the events that are allowed."""
        state = dict(start)
        for event in events:
            needed = state_for_check(self.version, event.type, event.sender, event.state_key, event.content)
            named = [self.events[event_id] for event_id in event.auth_events if event_id not in self.rejected]
            if self.version.auth.create_implied_by_room_id:
                named.append(self.events[f"${event.room_id[1:]}"])
            own = {one.key: one for one in named}
            is_forbidden = forbidden(
                event, {key: {**own, **state}[key] for key in needed if key in own or key in state}
            )
            self.tried.append((event, not is_forbidden))
            if not is_forbidden:
                state[event.key] = event
        return state


def is_power(event: Event) -> bool:
    """The definition of a power event."""
    if event.type == "m.room.member":
        return event.content["membership"] in ("leave", "ban") and event.sender != event.state_key
    return event.type in ("m.room.power_levels", "m.room.join_rules")
