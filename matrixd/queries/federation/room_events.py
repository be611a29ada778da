"""Events of rooms as other servers get them: one, those before some, those that somebody has missed, by time.

https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from collections.abc import Collection, Iterable

import orjson

from matrixd.core.errors import MatrixError
from matrixd.core.streams import MAX_POSITION
from matrixd.queries.erased_users import ErasedUsers
from matrixd.queries.federation import room_graph
from matrixd.queries.federation.server_access import access_to, as_seen, room_access, visible
from matrixd.queries.server_acls import ServerAcls
from matrixd.storage import event_times, events, rooms
from matrixd.storage.database import Database
from matrixd.storage.event_times import Moment
from matrixd.storage.stored_event import StoredEvent, json_text
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

#: Events that are looked at for one near to a moment that the server may see.
_CANDIDATES = 20


class RoomEvents:
    """Reads them. `own_name` is the name of this server.

    What a server may not see, and what erased users sent, it gets redacted: the room's graph stays whole.
    """

    def __init__(
        self, own_name: str, database: Database, clock: Clock, acls: ServerAcls, erased_users: ErasedUsers
    ) -> None:
        self._own_name = own_name
        self._database = database
        self._clock = clock
        self._acls = acls
        self._erased_users = erased_users

    async def event(self, server_name: str, event_id: str) -> bytes:
        """One event in a transaction. Raises M_FORBIDDEN by the room's ACL, M_NOT_FOUND for what is not to be seen."""
        stored = await self._database.read(_event, server_name, event_id, self._erased)
        await self._acls.check(stored.event.room_id, server_name)
        return self._transaction([stored])

    async def backfill(self, server_name: str, room_id: str, start: Collection[str], limit: int) -> bytes:
        """Some events and those before them in a transaction. Raises M_NOT_FOUND and M_FORBIDDEN."""
        await self._acls.check(room_id, server_name)
        return self._transaction(
            await self._database.read(_backfill, server_name, room_id, start, limit, self._erased)
        )

    async def missing(
        self,
        server_name: str,
        room_id: str,
        earliest: Collection[str],
        latest: Collection[str],
        min_depth: int,
        limit: int,
    ) -> bytes:
        """`{"events": …}`: what lies between some events. Raises M_NOT_FOUND and M_FORBIDDEN."""
        await self._acls.check(room_id, server_name)
        found = await self._database.read(
            _missing, server_name, room_id, earliest, latest, min_depth, limit, self._erased
        )
        return b'{"events":%b}' % _pdus(found)

    async def nearest(self, server_name: str, room_id: str, ts: int, *, backwards: bool) -> dict[str, object]:
        """`event_id` and `origin_server_ts` of the event nearest to `ts` (ms). Raises M_NOT_FOUND and M_FORBIDDEN."""
        await self._acls.check(room_id, server_name)
        event = (await self._database.read(_nearest, server_name, room_id, ts, backwards)).event
        return {"event_id": event.event_id, "origin_server_ts": event.origin_server_ts}

    @property
    def _erased(self) -> Collection[str]:
        return self._erased_users.positions.keys()

    def _transaction(self, found: Iterable[StoredEvent]) -> bytes:
        """definitions/transaction.yaml"""
        envelope = orjson.dumps({"origin": self._own_name, "origin_server_ts": self._clock.now_ms()})
        return b'%b,"pdus":%b}' % (envelope[:-1], _pdus(found))


def _pdus(found: Iterable[StoredEvent]) -> bytes:
    # Old room versions allow numbers that the quick serialiser does not write: what is stored is written as it is.
    return b"[" + b",".join(json_text(stored.event).encode() for stored in found) + b"]"


def _event(tx: Transaction, server_name: str, event_id: str, erased: Collection[str]) -> StoredEvent:
    unknown = MatrixError(404, "M_NOT_FOUND", f"Could not find event {event_id}.")
    stored = events.by_id(tx, event_id)
    room = None if stored is None else rooms.by_nids(tx, [stored.room_nid]).get(stored.room_nid)
    if stored is None or room is None or stored.verdict == "out_of_band":
        raise unknown
    access = access_to(tx, room, server_name)
    if not access.is_in and not visible(tx, access, [stored]):
        raise unknown
    if stored.is_outlier and not stored.event.is_state:
        raise unknown
    return as_seen(tx, access, [stored], erased)[0]


def _backfill(
    tx: Transaction, server_name: str, room_id: str, start: Collection[str], limit: int, erased: Collection[str]
) -> list[StoredEvent]:
    access = room_access(tx, room_id, server_name, or_world_readable=True)
    return as_seen(tx, access, room_graph.backfill(tx, access.room.room_nid, start, limit), erased)


def _missing(
    tx: Transaction,
    server_name: str,
    room_id: str,
    earliest: Collection[str],
    latest: Collection[str],
    min_depth: int,
    limit: int,
    erased: Collection[str],
) -> list[StoredEvent]:
    access = room_access(tx, room_id, server_name, or_world_readable=True)
    found = room_graph.missing(tx, access.room.room_nid, earliest, latest, min_depth, limit)
    return as_seen(tx, access, found, erased)


def _nearest(tx: Transaction, server_name: str, room_id: str, ts: int, backwards: bool) -> StoredEvent:
    access = room_access(tx, room_id, server_name, or_world_readable=True)
    moment = Moment(access.room.room_nid, ts, backwards, -MAX_POSITION, MAX_POSITION)
    candidates = event_times.nearest_in_time(tx, moment, _CANDIDATES)
    allowed = visible(tx, access, candidates)
    found = next((stored for stored in candidates if stored.event_nid in allowed), None)
    if found is None:
        side = "backward" if backwards else "forward"
        raise MatrixError(404, "M_NOT_FOUND", f"Unable to find event from {ts} in {side} direction.")
    return found
