"""The event nearest to a moment, also where this server's own history of a room has a hole.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS, RoomVersion
from matrixd.net.errors import RemoteError
from matrixd.queries import timestamp_to_event
from matrixd.queries.event_context import find_event
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.room_access import room_access
from matrixd.services.receiving.anchors import NoAnchor
from matrixd.storage import room_servers
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

logger = logging.getLogger(__name__)

#: Servers that are asked, those with the most members first.
MAX_ASKED = 3


class TimeSource(Protocol):
    """Other servers; raises RemoteError."""

    async def timestamp_to_event(
        self, destination: str, room_id: str, ts: int, *, backwards: bool
    ) -> tuple[str, int]: ...


class Anchoring(Protocol):
    """Fetches an event, with the state before it, into the room's history; raises NoAnchor."""

    async def anchor(self, servers: Sequence[str], version: RoomVersion, room_id: str, event_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Local:
    """What this server's history has."""

    event: Event | None
    version: RoomVersion
    #: Whom to ask whether there is something nearer; nobody, if there cannot be.
    servers: Sequence[str]


class JumpToDate:
    """Finds such events."""

    def __init__(self, database: Database, source: TimeSource, anchors: Anchoring) -> None:
        self._database = database
        self._source = source
        self._anchors = anchors

    async def nearest(self, viewer: Viewer, room_id: str, ts: int, backwards: bool) -> dict[str, Any]:
        """`event_id` and `origin_server_ts` of the event nearest to `ts` (ms), at or before it or at or after it.

        Raises M_FORBIDDEN where the viewer may not look into the room, M_NOT_FOUND if there is no such event.
        """
        local = await self._database.read(_look, viewer, room_id, ts, backwards)
        nearer = await self._nearer(viewer, room_id, ts, backwards, local) if local.servers else None
        event = nearer or local.event
        if event is None:
            side = "before" if backwards else "after"
            raise MatrixError(404, "M_NOT_FOUND", f"There is no event {side} the timestamp {ts} that you may see.")
        return {"event_id": event.event_id, "origin_server_ts": event.origin_server_ts}

    async def _nearer(
        self, viewer: Viewer, room_id: str, ts: int, backwards: bool, local: _Local
    ) -> Event | None:
        for server in local.servers:
            try:
                event_id, at = await self._source.timestamp_to_event(server, room_id, ts, backwards=backwards)
            except RemoteError as error:
                logger.info("the event of %s nearest to %s: %s", room_id, ts, error)
                continue
            if not _is_nearer(at, ts, backwards, local.event):
                continue
            event = await self._fetched(viewer, room_id, event_id, local)
            if event is not None and _is_nearer(event.origin_server_ts, ts, backwards, local.event):
                return event
        return None

    async def _fetched(self, viewer: Viewer, room_id: str, event_id: str, local: _Local) -> Event | None:
        """An event that is fetched if it is not here; None if it cannot be had, or the viewer may not see it."""
        event = await self._database.read(_seen, viewer, room_id, event_id)
        if event is not None:
            return event
        try:
            await self._anchors.anchor(local.servers, local.version, room_id, event_id)
        except NoAnchor as error:
            logger.info("%s of %s, which is nearer to a moment, cannot be had: %s", event_id, room_id, error)
            return None
        return await self._database.read(_seen, viewer, room_id, event_id)


def _look(tx: Transaction, viewer: Viewer, room_id: str, ts: int, backwards: bool) -> _Local:
    access = room_access(tx, room_id, viewer)
    room = access.room
    found = timestamp_to_event.nearest_event(tx, viewer, access, ts, backwards)
    servers: Sequence[str] = ()
    if access.membership == "join" and timestamp_to_event.is_beside_hole(tx, room.room_nid, ts):
        members = room_servers.of_room(tx, room.room_nid)
        servers = sorted(members, key=lambda name: (-members[name], name))[:MAX_ASKED]
    return _Local(None if found is None else found.event, ROOM_VERSIONS[room.version], servers)


def _seen(tx: Transaction, viewer: Viewer, room_id: str, event_id: str) -> Event | None:
    try:
        return find_event(tx, viewer, room_id, event_id).stored.event
    except MatrixError:
        return None


def _is_nearer(at: int, ts: int, backwards: bool, than: Event | None) -> bool:
    """Whether a time lies on the right side of `ts`, and nearer to it than an event."""
    if at > ts if backwards else at < ts:
        return False
    return than is None or abs(at - ts) < abs(than.origin_server_ts - ts)
