"""What one user may see of one room's history.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility

The user's memberships and the room's history visibility are read once, as intervals along the timeline; all the rest is
decided in memory. For somebody who was in the room all the time not even that is read.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from matrixd.core.event import Event
from matrixd.core.streams import MAX_POSITION
from matrixd.core.visibility import (
    HistoryVisibility,
    Standpoint,
    history_is_visible,
    history_visibility,
    user_may_see,
)
from matrixd.storage import room_members, room_state
from matrixd.storage.room_members import Member
from matrixd.storage.room_state import Interval, StateKey
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

T = TypeVar("T")

VISIBILITY_KEY = ("m.room.history_visibility", "")
#: Pieces of history that are told apart: who came and went more often sees aggregations of the newest pieces only.
MAX_PIECES = 16
_EVERYTHING = ((0, MAX_POSITION),)


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
        """Whether the viewer does not want the event: state is shown whoever set it, and one's own events are."""
        return event.sender in self.ignored and not event.is_state and event.sender != self.user_id

    def hears(self, event: Event) -> bool:
        """Whether somebody else, whom the viewer does not ignore, said something."""
        return not event.is_state and event.sender != self.user_id and event.sender not in self.ignored


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
    """What a user may see of a room's timeline from a position on, as far as it is known now."""

    __slots__ = ("_joined_since", "_last_join", "_memberships", "_pieces", "_visibilities", "since", "viewer")

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
        self._pieces: tuple[tuple[int, int], ...] | None = None if joined_since is None else _EVERYTHING

    @classmethod
    def of_member(cls, viewer: Viewer, since: int, joined_since: int) -> "VisibleHistory":
        """What somebody may see who has been in the room from position `joined_since` (before `since`) until now."""
        return cls(viewer, since, joined_since, ())

    def may_see(self, stored: StoredEvent) -> bool:
        """Whether the event may be shown: by the room's history visibility, and the viewer does not ignore its sender.

        Rejected and soft-failed events never, nor what has no place in the timeline.
        """
        if stored.verdict is not None or stored.pos is None or self.viewer.ignores(stored.event):
            return False
        return self.allows(stored.event, stored.pos)

    def allows(self, event: Event, pos: int) -> bool:
        """Whether the room's history visibility allows the event at a position."""
        if self._joined_since is not None and pos > self._joined_since:
            return True
        if pos < self.since:
            return False
        before = pos - 1
        standpoint = Standpoint(
            self.viewer.user_id, self._visibilities.at(before), self._memberships.at(before), self._last_join > pos
        )
        return user_may_see(event, standpoint)

    def filtered(self, events: Iterable[StoredEvent]) -> list[StoredEvent]:
        """Those of the events that may be shown."""
        return [stored for stored in events if self.may_see(stored)]

    def membership_at(self, pos: int) -> str:
        """`unsigned.membership`: the viewer's membership after the event at a position."""
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
        bounds = [self.since - 1, *sorted(change for change in changes if change >= self.since), MAX_POSITION]
        found: list[tuple[int, int]] = []
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


def load_history(
    tx: Transaction, room_nid: int, viewer: Viewer, member: Member | None, since: int
) -> VisibleHistory:
    """What the viewer, whose newest membership is `member`, may see of a room's events from position `since` on."""
    if member is not None and member.membership == "join" and member.pos < since:
        return VisibleHistory.of_member(viewer, since, member.pos)
    found = room_state.intervals(tx, [room_nid], _keys(viewer), since)
    return VisibleHistory(viewer, since, None, found.get(room_nid, ()))


def load_histories(tx: Transaction, viewer: Viewer, since: Mapping[int, int]) -> dict[int, VisibleHistory]:
    """What the viewer may see of several rooms: room number -> history, from the room's position in `since` on."""
    members = room_members.of_user_in(tx, viewer.user_nid, since) if since else {}
    found = {
        room_nid: VisibleHistory.of_member(viewer, first, members[room_nid].pos)
        for room_nid, first in since.items()
        if room_nid in members and members[room_nid].membership == "join" and members[room_nid].pos < first
    }
    rest = [room_nid for room_nid in since if room_nid not in found]
    if rest:
        stored = room_state.intervals(tx, rest, _keys(viewer), min(since[room_nid] for room_nid in rest))
        for room_nid in rest:
            found[room_nid] = VisibleHistory(viewer, since[room_nid], None, stored.get(room_nid, ()))
    return found


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
