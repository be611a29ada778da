"""Which rooms, and which events of them, another server may read.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility, read for a server's users together.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.visibility import HistoryVisibility, ServerStandpoint, history_visibility, server_may_see
from matrixd.queries import event_details
from matrixd.storage import event_state, events, room_servers, room_state, rooms, state_history
from matrixd.storage.rooms import Room
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

VISIBILITY_KEY = ("m.room.history_visibility", "")
_OPEN_TO_MEMBERS = (HistoryVisibility.WORLD_READABLE, HistoryVisibility.SHARED)


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """A room as another server may look into it."""

    room: Room
    server_name: str
    #: Whether the server has joined members there.
    is_in: bool


def room_access(tx: Transaction, room_id: str, server_name: str, *, or_world_readable: bool = False) -> ServerAccess:
    """A room that a server takes part in or, if that suffices, whose history the world may read.

    Raises M_NOT_FOUND for a room that is not known here, M_FORBIDDEN for others.
    """
    room = rooms.by_id(tx, room_id)
    if room is None:
        raise MatrixError(404, "M_NOT_FOUND", f"This server knows no room {room_id}.")
    access = access_to(tx, room, server_name)
    if not access.is_in and not (or_world_readable and _world_may_read(tx, room.room_nid)):
        raise MatrixError(403, "M_FORBIDDEN", f"{server_name} is not in the room {room_id}.")
    return access


def access_to(tx: Transaction, room: Room, server_name: str) -> ServerAccess:
    """How a server stands to a room."""
    return ServerAccess(room, server_name, room_servers.in_room(tx, room.room_nid, server_name))


def _world_may_read(tx: Transaction, room_nid: int) -> bool:
    found = room_state.of_keys(tx, room_nid, [VISIBILITY_KEY]).get(VISIBILITY_KEY)
    return found is not None and history_visibility(found.event) is HistoryVisibility.WORLD_READABLE


def visible(tx: Transaction, access: ServerAccess, found: Sequence[StoredEvent]) -> set[int]:
    """The numbers of those of some events of the room that the server may see.

    Of an event whose place in the history is not known only members of the room may know, and only if it is state.
    """
    visibilities = _visibilities(tx, access.room.room_nid, found)
    allowed: set[int] = set()
    doubtful: list[StoredEvent] = []
    for stored in found:
        if stored.is_outlier:
            allowed |= {stored.event_nid} if access.is_in and stored.event.is_state else set()
        elif access.is_in and visibilities[stored.event_nid] in _OPEN_TO_MEMBERS:
            allowed.add(stored.event_nid)
        else:
            doubtful.append(stored)
    return allowed | _seen_by_members(tx, access, doubtful, visibilities)


def as_seen(
    tx: Transaction, access: ServerAccess, found: Sequence[StoredEvent], erased: Collection[str]
) -> list[StoredEvent]:
    """The events as the server gets them: redacted, where it may not see them or their senders were erased.

    A redacted event keeps its ID, signatures and references, so that the room's graph stays whole.
    """
    allowed = visible(tx, access, found)
    return [
        stored
        if stored.event_nid in allowed and stored.event.sender not in erased
        else event_details.redacted_copy(stored)
        for stored in found
    ]


class _Past:
    """What some keys of a room held before each of some events, of which the state before is known."""

    def __init__(self, tx: Transaction, room_nid: int, key_nids: Collection[int], found: Iterable[StoredEvent]) -> None:
        self._held = state_history.of_keys(tx, room_nid, key_nids)
        sets = _sets_of(found)
        self._in_sets = event_state.held_in_sets(tx, sets, key_nids) if sets else {}
        self._events = events.by_nids(tx, {nid for held in self._in_sets.values() for nid in held.values()})

    def event_before(self, stored: StoredEvent, key_nid: int) -> Event | None:
        """The event that held a key before an event."""
        if stored.state_nid is not None:
            event_nid = self._in_sets[stored.state_nid].get(key_nid)
            return None if event_nid is None else self._events[event_nid].event
        if stored.pos is None:
            return None
        held = self._held.get(key_nid, ())
        return next((item.stored.event for item in reversed(held) if item.is_at(stored.pos - 1)), None)

    def last_join(self) -> int:
        """The position of the last join among what the timeline held; 0 without any."""
        joins = (
            item.valid_from for held in self._held.values() for item in held if item.stored.event.membership == "join"
        )
        return max(joins, default=0)


def _sets_of(found: Iterable[StoredEvent]) -> set[int]:
    return {stored.state_nid for stored in found if stored.state_nid is not None}


def _visibilities(tx: Transaction, room_nid: int, found: Sequence[StoredEvent]) -> dict[int, HistoryVisibility]:
    """The visibility before each of some events, by their numbers."""
    key_nid = event_state.find_key_nids(tx, [VISIBILITY_KEY]).get(VISIBILITY_KEY)
    if key_nid is None:
        return {stored.event_nid: HistoryVisibility.SHARED for stored in found}
    past = _Past(tx, room_nid, [key_nid], found)
    return {stored.event_nid: history_visibility(past.event_before(stored, key_nid)) for stored in found}


def _seen_by_members(
    tx: Transaction,
    access: ServerAccess,
    doubtful: Sequence[StoredEvent],
    visibilities: Mapping[int, HistoryVisibility],
) -> set[int]:
    """Those of some events that the server may see for what its users were at the time."""
    if not doubtful:
        return set()
    room_nid, server_name = access.room.room_nid, access.server_name
    keys = {
        *state_history.member_keys(tx, room_nid, server_name),
        *state_history.member_keys_in_sets(tx, _sets_of(doubtful), server_name),
    }
    past = _Past(tx, room_nid, keys, doubtful)
    last_join = past.last_join()
    allowed = set()
    for stored in doubtful:
        members = (past.event_before(stored, key) for key in keys)
        standpoint = ServerStandpoint(
            server_name,
            visibilities[stored.event_nid],
            {event.membership or "leave" for event in members if event is not None},
            access.is_in or (stored.pos is not None and last_join > stored.pos),
        )
        if server_may_see(stored.event, standpoint):
            allowed.add(stored.event_nid)
    return allowed
