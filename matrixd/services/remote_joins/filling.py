"""Adding to a room what the commit that made it usable left out: its members.

They held their places already when the user of this server joined, so they are put into the state as of then: beneath
what has changed since. Chunk by chunk, so that neither other rooms nor this one wait for long. Counts of members are
made anew at the end: until then they are estimates.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping

from matrixd.core.identifiers import domain_of
from matrixd.services.remote_joins.room_import import is_gone
from matrixd.services.remote_joins.states import State
from matrixd.services.room_head import RoomHeads
from matrixd.storage import (
    event_state,
    events,
    remote_join_state,
    remote_joins,
    room_members,
    room_servers,
    room_state,
    rooms,
    users,
)
from matrixd.storage.database import Database
from matrixd.storage.remote_join_state import Place
from matrixd.storage.room_members import Member
from matrixd.storage.room_state import Span
from matrixd.storage.rows import RoomFilled
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

#: Members that one commit adds.
_CHUNK = 500


class Filling:
    """Adds what is in `remote_join_state` to the state of rooms that are in use."""

    def __init__(
        self, database: Database, heads: RoomHeads, clock: Clock, is_local: Callable[[str], bool]
    ) -> None:
        self._database = database
        self._heads = heads
        self._clock = clock
        self._is_local = is_local

    async def run(self, room_id: str, join_id: str) -> list[str]:
        """Add all of it to a room, as of the join event with an ID; afterwards the room's state is whole.

        Gives the users of this server who have left, of which the room does not know.
        """
        work = _Fill(room_id, join_id, self._is_local)
        while True:
            async with self._heads.exclusive(room_id):
                left = await self._database.write(work.chunk)
                self._heads.forget(room_id)
                if not left:
                    await self._database.write(work.finish, self._clock.now_ms())
                    self._heads.forget(room_id)
                    return list(work.gone)


class _Fill:
    """The commits."""

    def __init__(self, room_id: str, join_id: str, is_local: Callable[[str], bool]) -> None:
        self._room_id = room_id
        self._join_id = join_id
        self._is_local = is_local
        self.gone: set[str] = set()

    def chunk(self, tx: Transaction) -> bool:
        """Add some; False if none is left."""
        join = events.by_id(tx, self._join_id)
        assert join is not None, "the room was imported"
        assert join.pos is not None, "the room was imported"
        places = remote_join_state.first(tx, join.room_nid, _CHUNK)
        if not places:
            return False
        keys = {place.key_nid for place in places}
        held: dict[int, list[Span]] = {}
        for span in room_state.spans(tx, join.room_nid, keys, join.pos):
            held.setdefault(span.key_nid, []).append(span)
        rows = (_added(place, held.get(place.key_nid, []), join.pos) for place in places)
        added = [row for row in rows if row is not None]
        room_state.end_at(tx, join.room_nid, join.pos, [span.key_nid for span in added])
        room_state.insert(tx, join.room_nid, added)
        if room_state.has_before(tx, join.room_nid, join.pos):
            event_state.note_moves(tx, [(join.room_nid, join.pos, span.key_nid) for span in added])
        self._add_members(tx, join, [span.event_nid for span in added if span.valid_to is None])
        self._complete_join(tx, join, places)
        remote_join_state.remove(tx, join.room_nid, keys)
        return True

    def _add_members(self, tx: Transaction, join: StoredEvent, event_nids: Collection[int]) -> None:
        assert join.pos is not None, "the room was imported"
        found = events.by_nids(tx, event_nids).values()
        members = [item for item in found if item.event.type == "m.room.member"]
        user_nids = users.nids(tx, (item.event.key[1] for item in members))
        rows = []
        for item in members:
            user_id, membership = item.event.key[1], item.event.membership or "leave"
            user_nid, is_local = user_nids[user_id], self._is_local(user_id)
            if is_local and is_gone(tx, join.room_nid, user_nid, membership):
                self.gone.add(user_id)
            else:
                rows.append(
                    Member(user_nid, join.room_nid, membership, item.event_nid, join.pos, item.sender_nid, is_local)
                )
        room_members.set_many(tx, rows)

    def _complete_join(self, tx: Transaction, join: StoredEvent, places: Collection[Place]) -> None:
        """The state before the join had the user's membership of then, which may not have been known."""
        for place in places:
            if place.key_nid == join.key_nid and join.state_nid is not None:
                event_state.set_entry(tx, join.state_nid, place.key_nid, place.event_nid)

    def finish(self, tx: Transaction, now_ms: int) -> None:
        """Count who is in the room, and note that its state is whole."""
        room_nid = rooms.nid(tx, self._room_id)
        assert room_nid is not None, "the room was imported"
        joined = room_members.joined_ids(tx, room_nid)
        remote: Mapping[str, int] = Counter(domain_of(user_id) for user_id in joined if not self._is_local(user_id))
        room_servers.replace(tx, room_nid, remote)
        invited = room_members.count(tx, room_nid, "invite")
        rooms.set_counts(tx, room_nid, len(joined), invited)
        pos = tx.next_id("events")
        rooms.set_completeness(tx, room_nid, "full", pos)
        remote_joins.move(tx, self._room_id, State.COMPLETE.value, now_ms)
        tx.announce(RoomFilled(pos, room_nid, self._room_id, len(joined), invited))


def _added(place: Place, spans: list[Span], pos: int) -> Span | None:
    """The row that a place of the state as of a position gets; None if it has one.

    `spans` are the place's rows that reach beyond the position. What it has from an earlier stay, if that is another
    event, ends there; what has come since stays.
    """
    later = [span for span in spans if span.valid_from > pos]
    until = later[0].valid_from if later else None
    for span in spans:
        if span.valid_from == pos or (span.valid_from < pos and span.event_nid == place.event_nid):
            return None
        if span.valid_from < pos:
            until = span.valid_to
    return Span(place.key_nid, pos, until, place.event_nid)
