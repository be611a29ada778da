"""What one user may see of one room's history.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility

The user's memberships and the room's history visibility are read once, as intervals along the timeline; all the rest is
decided in memory. For somebody who was in the room all the time not even that is read. For events of forks, and history
that was fetched later, the state before each is read: `VisibleHistory.learn`, once for all that are to be looked at.
"""

import itertools
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeGuard, TypeVar

from matrixd.core.event import Event
from matrixd.core.merge_event import MERGE_EVENT
from matrixd.core.streams import MAX_POSITION
from matrixd.core.visibility import (
    HistoryVisibility,
    Standpoint,
    history_is_visible,
    history_visibility,
    user_may_see,
)
from matrixd.queries.states_apart import load_keys
from matrixd.storage import room_members, room_state
from matrixd.storage.room_members import Member
from matrixd.storage.room_state import Interval, StateKey
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

T = TypeVar("T")

VISIBILITY_KEY = ("m.room.history_visibility", "")
#: Pieces of history that are told apart: who came and went more often sees aggregations of the newest pieces only.
MAX_PIECES = 16
#: The positions of history that was fetched later.
_FETCHED_LATER = (-MAX_POSITION, 0)
_EVERYTHING = ((-MAX_POSITION, MAX_POSITION),)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who events are shown to. `ignored` are the user IDs that the viewer ignores.

    `erased`: `ErasedUsers.positions`, the same for all viewers.
    """

    user_id: str
    user_nid: int
    #: None: no device's transaction IDs are shown.
    device_nid: int | None
    ignored: frozenset[str] = frozenset()
    erased: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def ignores(self, event: Event) -> bool:
        """Whether the viewer does not want the event: state is shown whoever set it, and one's own events are.

        Nobody wants an event that only joins the ends of the room.
        """
        if event.type == MERGE_EVENT and not event.is_state:
            return True
        return event.sender in self.ignored and not event.is_state and event.sender != self.user_id

    def hears(self, event: Event) -> bool:
        """Whether somebody else, whom the viewer does not ignore, said something."""
        return not event.is_state and event.sender != self.user_id and not self.ignores(event)


class _Steps(Generic[T]):
    """A value that changes along the timeline."""

    __slots__ = ("before", "positions", "values")

    def __init__(self, before: T, steps: Iterable[tuple[int, T]]) -> None:
        self.before = before
        self.positions: list[int] = []
        self.values: list[T] = []
        for position, value in steps:
            self.positions.append(position)
            self.values.append(value)

    def at(self, position: int) -> T:
        """The value after the event at a position."""
        index = bisect_right(self.positions, position)
        return self.values[index - 1] if index else self.before


class VisibleHistory:
    """What a user may see of a room's timeline from a position on, as far as it is known now.

    Events whose state is not the timeline's own have to be learned before anything is asked of them.
    """

    __slots__ = (
        "_apart", "_is_joined", "_joined_since", "_last_join", "_memberships", "_pieces", "_visibilities", "since",
        "viewer",
    )

    def __init__(self, viewer: Viewer, since: int, joined_since: int | None, intervals: Sequence[Interval]) -> None:
        self.viewer = viewer
        self.since = since
        self._joined_since = joined_since
        own = [item for item in intervals if item.event.key != VISIBILITY_KEY]
        visibility = [item for item in intervals if item.event.key == VISIBILITY_KEY]
        self._memberships = _Steps[str | None](
            None, _steps(((item, item.event.membership) for item in own), None)
        )
        self._visibilities = _Steps(
            HistoryVisibility.SHARED,
            _steps(((item, history_visibility(item.event)) for item in visibility), HistoryVisibility.SHARED),
        )
        self._last_join = max((item.valid_from for item in own if item.event.membership == "join"), default=0)
        self._is_joined = joined_since is not None or any(
            item.valid_to is None and item.event.membership == "join" for item in own
        )
        self._pieces: tuple[tuple[int, int], ...] | None = None if joined_since is None else _EVERYTHING
        #: By the number of the state set before an event: the visibility, and the user's membership.
        self._apart: dict[int, tuple[HistoryVisibility, str | None]] = {}

    @classmethod
    def of_member(cls, viewer: Viewer, since: int, joined_since: int) -> "VisibleHistory":
        """What somebody may see who has been in the room from position `joined_since` (before `since`) until now."""
        return cls(viewer, since, joined_since, ())

    def learn(self, tx: Transaction, found: Iterable[StoredEvent]) -> None:
        """Read the states before those of some events of the room that have others than the timeline's."""
        state_nids = {stored.state_nid for stored in found if stored.pos is not None and stored.state_nid is not None}
        state_nids -= self._apart.keys()
        if not state_nids:
            return
        member_key, _ = keys = _keys(self.viewer)
        for state_nid, state in load_keys(tx, state_nids, keys).items():
            member = state.get(member_key)
            visibility = history_visibility(state.get(VISIBILITY_KEY))
            self._apart[state_nid] = visibility, None if member is None else member.membership

    def reaches(self, reach: "Reach") -> bool:
        """Whether it can decide about events that need it to reach so far."""
        return self.since <= reach.first and (not reach.has_apart or self.since <= 0 or self._joined_since is not None)

    def may_see(self, stored: StoredEvent) -> bool:
        """Whether the event may be shown: by the room's history visibility, and the viewer does not ignore its sender.

        Rejected and soft-failed events never, nor what has no place in the timeline.
        """
        if stored.verdict is not None or self.viewer.ignores(stored.event):
            return False
        return self.allows(stored)

    def allows(self, stored: StoredEvent) -> bool:
        """Whether the room's history visibility allows the event, which has to have a place in the timeline."""
        pos = stored.pos
        if pos is None:
            return False
        if stored.state_nid is not None:
            visibility, membership = self._apart[stored.state_nid]
            # Who is in the room, and was not in the state before an event, has joined after it or beside it.
            standpoint = Standpoint(
                self.viewer.user_id, visibility, membership, self._is_joined or self._last_join > pos
            )
            return user_may_see(stored.event, standpoint)
        if self._joined_since is not None and pos > self._joined_since:
            return True
        if pos < self.since:
            return False
        before = pos - 1
        standpoint = Standpoint(
            self.viewer.user_id, self._visibilities.at(before), self._memberships.at(before), self._last_join > pos
        )
        return user_may_see(stored.event, standpoint)

    def filtered(self, events: Iterable[StoredEvent]) -> list[StoredEvent]:
        """Those of the events that may be shown."""
        return [stored for stored in events if self.may_see(stored)]

    def membership_at(self, stored: StoredEvent) -> str | None:
        """`unsigned.membership`: the viewer's membership after an event; None for what has no place."""
        pos = stored.pos
        if pos is None:
            return None
        if stored.state_nid is not None:
            own = stored.event.membership if stored.event.state_key == self.viewer.user_id else None
            return own or self._apart[stored.state_nid][1] or "leave"
        if self._joined_since is not None and pos >= self._joined_since:
            return "join"
        return self._memberships.at(pos) or "leave"

    @property
    def pieces(self) -> tuple[tuple[int, int], ...]:
        """Where the viewer may see what is not state: first and last positions, oldest first, at most MAX_PIECES."""
        if self._pieces is None:
            self._pieces = tuple(self._find_pieces())[-MAX_PIECES:]
        return self._pieces

    def _find_pieces(self) -> list[tuple[int, int]]:
        changes = {*self._memberships.positions, *self._visibilities.positions}
        # Of what was fetched later each event has a state of its own, by which it is decided whether it is shown.
        found = [_FETCHED_LATER]
        bounds = [max(self.since, 1) - 1, *sorted(change for change in changes if change >= self.since), MAX_POSITION]
        for change, until in itertools.pairwise(bounds):
            # What the state is after `change` holds for the events after it, up to and with the next change.
            visibility, membership = self._visibilities.at(change), self._memberships.at(change)
            if not history_is_visible((visibility,), (membership,), self._last_join > change):
                continue
            if found and found[-1][1] == change:
                found[-1] = (found[-1][0], until)
            else:
                found.append((change + 1, until))
        return found


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a history must reach to decide about some events of one room."""

    #: The first position of those before which the state is the timeline's own.
    first: int = MAX_POSITION
    #: The states before others of them are not the timeline's own.
    has_apart: bool = False


def reach_of(found: Iterable[StoredEvent]) -> dict[int, Reach]:
    """How far the history of each room that some events are of must reach, by the room's number."""
    reach: dict[int, Reach] = {}
    for stored in found:
        if stored.pos is not None:
            known = reach.get(stored.room_nid, Reach())
            if stored.state_nid is not None:
                reach[stored.room_nid] = Reach(known.first, True)
            else:
                reach[stored.room_nid] = Reach(min(known.first, stored.pos), known.has_apart)
    return reach


def load_history(
    tx: Transaction, room_nid: int, viewer: Viewer, member: Member | None, reach: Reach
) -> VisibleHistory:
    """What the viewer, whose newest membership is `member`, may see of a room's events, as far as `reach` says."""
    if _was_there(member, reach):
        return VisibleHistory.of_member(viewer, reach.first, member.pos)
    since = _since(reach)
    found = room_state.intervals(tx, [room_nid], _keys(viewer), since)
    return VisibleHistory(viewer, since, None, found.get(room_nid, ()))


def load_histories(tx: Transaction, viewer: Viewer, shown: Collection[StoredEvent]) -> dict[int, VisibleHistory]:
    """What the viewer may see of the rooms of some events: room number -> history, in which the events are learned."""
    reach = reach_of(shown)
    members = room_members.of_user_in(tx, viewer.user_nid, reach) if reach else {}
    found = {}
    rest: dict[int, int] = {}
    for room_nid, wanted in reach.items():
        member = members.get(room_nid)
        if _was_there(member, wanted):
            found[room_nid] = VisibleHistory.of_member(viewer, wanted.first, member.pos)
        else:
            rest[room_nid] = _since(wanted)
    if rest:
        stored = room_state.intervals(tx, list(rest), _keys(viewer), min(rest.values()))
        for room_nid, since in rest.items():
            found[room_nid] = VisibleHistory(viewer, since, None, stored.get(room_nid, ()))
    for room_nid, history in found.items():
        history.learn(tx, (item for item in shown if item.room_nid == room_nid))
    return found


def _was_there(member: Member | None, reach: Reach) -> TypeGuard[Member]:
    """Whether the user has been in the room since before the first of some events of its timeline, until now."""
    return member is not None and member.membership == "join" and member.pos < reach.first


def _since(reach: Reach) -> int:
    # Whether somebody has joined after an event of another state can only be told from all of the timeline.
    return 0 if reach.has_apart else reach.first


def _keys(viewer: Viewer) -> tuple[StateKey, StateKey]:
    return ("m.room.member", viewer.user_id), VISIBILITY_KEY


def _steps(intervals: Iterable[tuple[Interval, T]], otherwise: T) -> Iterable[tuple[int, T]]:
    """The changes that intervals make; between two that do not touch the value is `otherwise`."""
    end: int | None = None
    for interval, value in intervals:
        if end is not None and end < interval.valid_from:
            yield end, otherwise
        yield interval.valid_from, value
        end = interval.valid_to
    if end is not None:
        yield end, otherwise
