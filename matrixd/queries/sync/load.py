"""What the database has to say of some rooms: timeline, state, summary; a transaction for every few of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.core.content import canonical_alias, room_name
from matrixd.core.filters import EventFilter
from matrixd.queries import event_details
from matrixd.queries.client_events import load_shown
from matrixd.queries.event_details import Details, Histories
from matrixd.queries.event_visibility import Viewer, VisibleHistory, load_histories
from matrixd.storage import events, room_members, room_state
from matrixd.storage.database import Database
from matrixd.storage.room_state import StateKey
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

#: A filter that lets hardly anything pass must not make us read a whole room.
_MAX_PAGES = 5
_MAX_HEROES = 5
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
    rooms = [_load_room(tx, ask) for ask in asks]
    shown = [item for room in rooms for item in room.timeline]
    histories, details = load_shown(tx, asks[0].viewer, shown, bundled=True)
    state = [item for room in rooms for item in room.state.values()]
    return Loaded(rooms, histories, details, event_details.load_plain(tx, state))


def _load_room(tx: Transaction, ask: RoomAsk) -> RoomData:
    timeline, limited, start = _timeline(tx, ask)
    heroes = _heroes(tx, ask) if ask.summary else None
    return RoomData(timeline, limited, start, _state(tx, ask, timeline, limited, start, heroes or ()), heroes)


def _timeline(tx: Transaction, ask: RoomAsk) -> tuple[list[StoredEvent], bool, int]:
    """The newest events that pass, whether there are more before them, and the position that they begin after."""
    found: list[StoredEvent] = []
    up_to = ask.up_to
    page_size = ask.limit + 1
    for _ in range(_MAX_PAGES):
        page = events.in_stream(tx, ask.room_nid, ask.after, up_to, page_size, newest=True)
        if not page:
            break
        assert page[0].pos is not None
        history = _history(tx, ask, page[0].pos)
        for item in reversed(page):
            assert item.pos is not None
            if len(found) == ask.limit:
                return found[::-1], True, item.pos
            if ask.timeline.matches(item.event) and (history.may_see(item) or _is_own(ask, item)):
                found.append(item)
        if len(page) < page_size:
            break
        up_to = page[0].pos - 1
        page_size = min(4 * page_size, 200)
    else:
        return found[::-1], True, up_to
    return found[::-1], False, ask.after


def _is_own(ask: RoomAsk, item: StoredEvent) -> bool:
    """Whether this is the viewer's own membership: it is told whatever came of it."""
    return item.event.type == "m.room.member" and item.event.state_key == ask.viewer.user_id


def _history(tx: Transaction, ask: RoomAsk, since: int) -> VisibleHistory:
    if ask.joined_since is not None and ask.joined_since < since:
        return VisibleHistory.of_member(ask.viewer, since, ask.joined_since)
    return load_histories(tx, ask.viewer, {ask.room_nid: since})[ask.room_nid]


def _state(
    tx: Transaction, ask: RoomAsk, timeline: Sequence[StoredEvent], limited: bool, start: int, heroes: Sequence[str]
) -> dict[StateKey, StoredEvent]:
    at = ask.up_to if ask.state_at_end else start
    wanted = {item.event.sender for item in timeline} | set(heroes)
    if ask.own_member:
        wanted.add(ask.viewer.user_id)
    members = [("m.room.member", user_id) for user_id in wanted]
    if ask.state_after is None:
        if not ask.lazy:
            return room_state.everything(tx, ask.room_nid, at)
        state = room_state.without_members(tx, ask.room_nid, at)
    else:
        gap = limited or ask.state_at_end or start > ask.state_after
        state = room_state.changed_between(tx, ask.room_nid, ask.state_after, at) if gap else {}
    if ask.lazy:
        state.update(room_state.of_keys(tx, ask.room_nid, [key for key in members if key not in state], at))
    return state


def _heroes(tx: Transaction, ask: RoomAsk) -> Sequence[str] | None:
    """The first members but the user, unless the room has a name. Source: `GET /sync`, `m.heroes`."""
    named = room_state.of_keys(tx, ask.room_nid, [("m.room.name", ""), ("m.room.canonical_alias", "")], ask.up_to)
    name, alias = named.get(("m.room.name", "")), named.get(("m.room.canonical_alias", ""))
    if (name is not None and room_name(name.event)) or (alias is not None and canonical_alias(alias.event)):
        return None
    heroes = room_members.first(tx, ask.room_nid, ask.viewer.user_nid, ("join", "invite"), _MAX_HEROES)
    return heroes or room_members.first(tx, ask.room_nid, ask.viewer.user_nid, ("leave", "ban"), _MAX_HEROES)
