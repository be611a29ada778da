"""What the database has to say of some rooms: timeline, state, summary; a transaction for every few of them."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from matrixd.core.content import canonical_alias, room_name
from matrixd.core.filters import EventFilter
from matrixd.queries import event_details
from matrixd.queries.client_events import load_shown
from matrixd.queries.event_details import Details, Histories
from matrixd.queries.event_visibility import Viewer, VisibleHistory, load_histories
from matrixd.storage import event_state, events, room_members, room_state, stripped_state, timeline_breaks
from matrixd.storage.database import Database
from matrixd.storage.room_state import StateKey
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

#: A filter that lets hardly anything pass must not make us read a whole room.
_MAX_PAGES = 5
_MAX_HEROES = 5
_NAME = ("m.room.name", "")
_ALIAS = ("m.room.canonical_alias", "")
#: Rooms that are read in one transaction: others get their turn between.
_ROOMS_PER_READ = 20


@dataclass(frozen=True, slots=True)
class RoomAsk:
    """What is wanted of one room."""

    room_nid: int
    viewer: Viewer
    #: The timeline's events have `after` < position <= `up_to`.
    after: int
    up_to: int
    limit: int
    timeline: EventFilter
    #: The viewer has been in the room since this position; None for somebody who is not in it.
    joined_since: int | None
    #: The state that the client has is that of this position; None: it has none.
    state_after: int | None
    #: Whether the state is wanted as of the timeline's end, not of its start.
    state_at_end: bool
    #: Whether only those members are wanted whom the timeline or the summary needs.
    lazy: bool
    #: The viewer's own m.room.member event is wanted with the state in any case.
    own_member: bool
    summary: bool


@dataclass(frozen=True, slots=True)
class RoomData:
    """What there is of a room."""

    timeline: Sequence[StoredEvent]
    limited: bool
    #: The timeline begins after this position.
    start: int
    state: dict[StateKey, StoredEvent]
    #: User IDs; None if not asked for, or if the room has a name.
    heroes: Sequence[str] | None
    #: Whether the viewer hears of something, even if it is not shown: unread counts may have changed.
    is_heard: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """The answer, with what it takes to show the events of the timelines, and those of the states."""

    rooms: Sequence[RoomData]
    histories: Histories
    details: Details
    state_details: Details


async def load_rooms(database: Database, asks: Sequence[RoomAsk]) -> list[tuple[RoomData, Loaded]]:
    """What each of some asks of one viewer gets, and with what it was read."""
    found: list[tuple[RoomData, Loaded]] = []
    for start in range(0, len(asks), _ROOMS_PER_READ):
        loaded = await database.read(load, asks[start : start + _ROOMS_PER_READ])
        found += [(data, loaded) for data in loaded.rooms]
    return found


def load(tx: Transaction, asks: Sequence[RoomAsk]) -> Loaded:
    """The answer to some asks of one viewer, in their order."""
    named = _named(tx, asks)
    breaks = timeline_breaks.newest(tx, [ask.room_nid for ask in asks])
    rooms = [_load_room(tx, ask, named, breaks.get(ask.room_nid, 0)) for ask in asks]
    shown = [item for room in rooms for item in room.timeline]
    histories, details = load_shown(tx, asks[0].viewer, shown, bundled=True)
    state = [item for room in rooms for item in room.state.values()]
    return Loaded(rooms, histories, details, event_details.load_plain(tx, asks[0].viewer, state))


def _load_room(tx: Transaction, ask: RoomAsk, named: Set[int], last_break: int) -> RoomData:
    timeline = _outside(tx, ask) or _TimelineReader(tx, ask, last_break).read()
    heroes = _heroes(tx, ask) if ask.summary and ask.room_nid not in named else None
    state = _state(tx, ask, timeline, heroes or ())
    return RoomData(timeline.events, timeline.limited, timeline.start, state, heroes, timeline.is_heard)


@dataclass(frozen=True, slots=True)
class _Timeline:
    events: Sequence[StoredEvent]
    limited: bool
    start: int
    #: Whether events after `start`, or before it in the span that was asked for, are not shown.
    has_skipped: bool
    is_heard: bool


def _outside(tx: Transaction, ask: RoomAsk) -> _Timeline | None:
    """The timeline of a room that no user of this server was in: the end of the viewer's invite or knock."""
    if ask.joined_since is not None:
        return None
    key = ("m.room.member", ask.viewer.user_id)
    member = room_state.of_keys(tx, ask.room_nid, [key], ask.up_to).get(key)
    if member is None or member.verdict != stripped_state.OUT_OF_BAND or not ask.after < (member.pos or 0):
        return None
    shown = [member] if ask.timeline.matches(member.event) and ask.limit else []
    return _Timeline(shown, False, ask.after, not shown, True)


class _TimelineReader:
    """Reads backwards from the newest event until the timeline is full, or what comes before is not here.

    `last_break`: the newest position that a timeline must not go across, 0 for none.
    """

    def __init__(self, tx: Transaction, ask: RoomAsk, last_break: int) -> None:
        self._tx = tx
        self._ask = ask
        self._is_broken = max(ask.after, 0) < last_break <= ask.up_to
        self._after = last_break - 1 if self._is_broken else ask.after
        self._found: list[StoredEvent] = []
        self._has_skipped = False
        self._is_heard = False

    def read(self) -> _Timeline:
        """The newest events that pass."""
        if self._ask.timeline.is_blocked and self._ask.state_after is None:
            self._has_skipped = self._is_heard = True
            return self._timeline(limited=False)
        ask, up_to, page_size = self._ask, self._ask.up_to, self._ask.limit + 1
        for _ in range(_MAX_PAGES):
            page = events.in_stream(self._tx, ask.room_nid, self._after, up_to, page_size, newest=True)
            if self._take(page):
                return self._timeline(limited=True)
            if len(page) < page_size:
                return self._timeline(limited=self._is_broken)
            assert page[0].pos is not None
            up_to = page[0].pos - 1
            page_size = min(4 * page_size, 200)
        return self._timeline(limited=self._has_skipped)

    def _take(self, page: Sequence[StoredEvent]) -> bool:
        """Take what passes; whether something passes that has no room any more."""
        if not page:
            return False
        ask, visible = self._ask, self._visible(page)
        for item in reversed(page):
            if item.event_nid not in visible and ask.joined_since is None:
                # To somebody who was not in the room then, it is as if the event, and the state before it, were not.
                continue
            passes = item.event_nid in visible and ask.timeline.matches(item.event)
            if passes and len(self._found) == ask.limit:
                return True
            self._is_heard = self._is_heard or ask.viewer.hears(item.event)
            if passes:
                self._found.append(item)
            else:
                self._has_skipped = True
        return False

    def _visible(self, page: Sequence[StoredEvent]) -> set[int]:
        """The numbers of the events that the viewer may see."""
        ask = self._ask
        history = _history(self._tx, ask, page)
        visible = {item.event_nid for item in page if history.may_see(item) or _is_own(ask, item)}
        hidden = [item.event_nid for item in page if item.event.is_state and item.event_nid not in visible]
        if hidden and ask.joined_since is not None and ask.state_after is not None:
            # A member may read all of the present state: what changed of it meanwhile has its place in the timeline.
            visible |= room_state.holding(self._tx, hidden, ask.up_to)
        return visible

    def _timeline(self, *, limited: bool) -> _Timeline:
        start = self._ask.after
        if limited or self._has_skipped:
            # Directly before the first event shown, so that the state has what was changed by those skipped.
            start = self._ask.up_to if not self._found else (self._found[-1].pos or 0) - 1
        return _Timeline(self._found[::-1], limited, start, self._has_skipped, self._is_heard)


def _is_own(ask: RoomAsk, item: StoredEvent) -> bool:
    """Whether this is the viewer's own membership: it is told whatever came of it."""
    return item.event.type == "m.room.member" and item.event.state_key == ask.viewer.user_id


def _history(tx: Transaction, ask: RoomAsk, page: Sequence[StoredEvent]) -> VisibleHistory:
    first = page[0].pos
    if ask.joined_since is None or first is None or ask.joined_since >= first:
        return load_histories(tx, ask.viewer, page)[ask.room_nid]
    history = VisibleHistory.of_member(ask.viewer, first, ask.joined_since)
    history.learn(tx, page)
    return history


def _state(
    tx: Transaction, ask: RoomAsk, timeline: _Timeline, heroes: Sequence[str]
) -> dict[StateKey, StoredEvent]:
    wanted = {item.event.sender for item in timeline.events} | set(heroes)
    if ask.own_member:
        wanted.add(ask.viewer.user_id)
    members = {("m.room.member", user_id) for user_id in wanted}
    span = _told_span(tx, ask)
    state = {} if span is None else _state_of_span(tx, ask, timeline, members, *span)
    if ask.joined_since is None:
        # Why the room is among those left, if the timeline does not say it.
        own = room_state.of_keys(tx, ask.room_nid, [("m.room.member", ask.viewer.user_id)], ask.up_to)
        shown = {item.event_nid for item in timeline.events}
        state.update((key, item) for key, item in own.items() if item.event_nid not in shown)
    return state


def _told_span(tx: Transaction, ask: RoomAsk) -> tuple[int | None, int] | None:
    """The positions between which the viewer is told how the state changed; the first is None for all of the state.

    Somebody who has left is told what it was at the end of the last stay; None for who was not in the room since.
    """
    since = ask.state_after
    if ask.joined_since is not None:
        return since, ask.up_to
    stays = [
        (begin, end)
        for begin, end, member in room_state.key_intervals(tx, ask.room_nid, ("m.room.member", ask.viewer.user_id))
        if member.membership == "join" and end is not None and end <= ask.up_to
    ]
    if not stays or (since is not None and stays[-1][1] <= since):
        return None
    was_there = since is not None and any(begin <= since < end for begin, end in stays)
    return since if was_there else None, stays[-1][1]


def _state_of_span(
    tx: Transaction, ask: RoomAsk, timeline: _Timeline, members: Set[StateKey], since: int | None, up_to: int
) -> dict[StateKey, StoredEvent]:
    at = up_to if ask.state_at_end else min(timeline.start, up_to)
    state: dict[StateKey, StoredEvent] = {}
    if since is None:
        read = room_state.without_members if ask.lazy else room_state.everything
        state = read(tx, ask.room_nid, at)
    elif at > since:
        state = room_state.changed_between(tx, ask.room_nid, since, at)
    if ask.lazy:
        state.update(room_state.of_keys(tx, ask.room_nid, [key for key in members if key not in state], at))
    has_moved = at < up_to and event_state.has_moves(tx, ask.room_nid, at, up_to)
    if (timeline.has_skipped or has_moved) and at < up_to:
        # What changed within the timeline, but is not shown there.
        shown = {item.event_nid for item in timeline.events}
        for key, item in room_state.changed_between(tx, ask.room_nid, at, up_to).items():
            is_left_out = ask.lazy and since is None and key[0] == "m.room.member" and key not in members
            if item.event_nid not in shown and not is_left_out:
                state[key] = item
    return state


def _named(tx: Transaction, asks: Sequence[RoomAsk]) -> set[int]:
    """Those of the rooms, as far as a summary is wanted, that have a name or a canonical alias."""
    rooms: dict[int, list[int]] = {}
    for ask in asks:
        if ask.summary:
            rooms.setdefault(ask.up_to, []).append(ask.room_nid)
    found = set()
    for up_to, room_nids in rooms.items():
        for room_nid, state in room_state.in_rooms(tx, room_nids, (_NAME, _ALIAS), up_to).items():
            name, alias = state.get(_NAME), state.get(_ALIAS)
            if (name is not None and room_name(name.event)) or (alias is not None and canonical_alias(alias.event)):
                found.add(room_nid)
    return found


def _heroes(tx: Transaction, ask: RoomAsk) -> Sequence[str]:
    """The first members but the user. Source: `GET /sync`, `m.heroes`."""
    heroes = room_members.first(tx, ask.room_nid, ask.viewer.user_nid, ("join", "invite"), _MAX_HEROES)
    return heroes or room_members.first(tx, ask.room_nid, ask.viewer.user_nid, ("leave", "ban"), _MAX_HEROES)
