"""The published room directory, as clients read it.

https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.core.content import is_federated
from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.queries.room_summaries import STATE_TYPES, directory_entry
from matrixd.storage import published_rooms, rooms
from matrixd.storage.database import Database
from matrixd.storage.published_rooms import Place, PublishedRoom
from matrixd.storage.transaction import Transaction

#: Rooms in one answer.
MAX_LIMIT = 500
#: Rooms whose state is read together while searching.
_CHUNK = 200
_STATE = tuple(event_type for event_type in STATE_TYPES if event_type != "m.room.encryption")


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """What a client searches for. `room_types` None: rooms of any type; None in it: rooms without one."""

    term: str = ""
    room_types: Collection[str | None] | None = None
    #: Another server asks: rooms that only users of this server may join are left out.
    for_server: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is searched for."""
        return not self.term and self.room_types is None

    def fits(self, entry: dict[str, Any], state: Mapping[str, Event]) -> bool:
        """Whether an entry of the directory, made of `state`, is searched for."""
        create = state.get("m.room.create")
        if self.for_server and create is not None and not is_federated(create):
            return False
        if self.room_types is not None and entry.get("room_type") not in self.room_types:
            return False
        term = self.term.casefold()
        return any(term in entry.get(name, "").casefold() for name in ("name", "topic", "canonical_alias"))


class PublicRooms:
    """Answers `/publicRooms`. Without `is_searchable` searches find nothing (option `enable_room_list_search`)."""

    def __init__(self, database: Database, is_searchable: bool) -> None:
        self._database = database
        self._is_searchable = is_searchable

    async def page(self, limit: int, since: str | None, room_filter: RoomFilter) -> dict[str, Any]:
        """One page, in the form of the specification. Raises M_INVALID_PARAM for a wrong `since`."""
        if not self._is_searchable and not room_filter.is_empty:
            return {"chunk": [], "total_room_count_estimate": 0}
        backwards, place = _parse(since)
        wanted = min(limit, MAX_LIMIT)
        return await self._database.read(_page, wanted, place, backwards, room_filter)

    async def is_published(self, room_id: str) -> bool | None:
        """Whether a room is in the directory; None for a room that this server does not know."""
        room = await self._database.read(rooms.by_id, room_id)
        return None if room is None else room.published


def _page(tx: Transaction, limit: int, since: Place | None, backwards: bool, room_filter: RoomFilter) -> dict[str, Any]:
    found, has_more = _search(tx, limit, since, backwards, room_filter)
    answer: dict[str, Any] = {"chunk": [entry for _, entry in found]}
    if found:
        first, last = found[0][0], found[-1][0]
        if has_more or backwards:
            answer["next_batch"] = _token("n", last)
        if (has_more and backwards) or (since is not None and not backwards):
            answer["prev_batch"] = _token("p", first)
    if room_filter.is_empty:
        answer["total_room_count_estimate"] = published_rooms.count(tx)
    return answer


def _search(
    tx: Transaction, limit: int, since: Place | None, backwards: bool, room_filter: RoomFilter
) -> tuple[list[tuple[PublishedRoom, dict[str, Any]]], bool]:
    """At most `limit` rooms that fit, in the directory's order, and whether there are more in the same direction."""
    found: list[tuple[PublishedRoom, dict[str, Any]]] = []
    place = since
    size = limit + 1 if room_filter.is_empty else _CHUNK
    while len(found) <= limit:
        before, after = (place, None) if backwards else (None, place)
        chunk = published_rooms.page(tx, size, after=after, before=before)
        states = published_rooms.state(tx, [room.room_nid for room in chunk], _STATE)
        fitting = []
        for room in chunk:
            state = states.get(room.room_nid, {})
            entry = directory_entry(room.room_id, room.joined_count, state)
            if room_filter.fits(entry, state):
                fitting.append((room, entry))
        found = [*fitting, *found] if backwards else [*found, *fitting]
        if len(chunk) < size:
            break
        edge = chunk[0] if backwards else chunk[-1]
        place = (edge.joined_count, edge.room_nid)
    has_more = len(found) > limit
    return (found[-limit:] if backwards else found[:limit]), has_more


def _token(direction: str, room: PublishedRoom) -> str:
    return f"{direction}{room.joined_count}_{room.room_nid}"


def _parse(since: str | None) -> tuple[bool, Place | None]:
    """Whether a token leads backwards, and from which place."""
    if since is None:
        return False, None
    count, _, nid = since[1:].partition("_")
    are_numbers = all(part.isascii() and part.isdigit() and len(part) < 16 for part in (count, nid))
    if since[:1] not in ("n", "p") or not are_numbers:
        raise MatrixError(400, "M_INVALID_PARAM", "'since' is not a token of this list.")
    return since[0] == "p", (int(count), int(nid))
