"""Declining invites to, and taking back knocks on, rooms that this server takes no part in.

https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites

A user gets rid of an invite in any case: when no server can be told, the user is out as far as this server goes.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from matrixd.core.builder import build_event, next_depth
from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.signing import SigningKey
from matrixd.core.versions import EventIdFormat
from matrixd.services.handshakes.known_servers import known_servers
from matrixd.services.handshakes.peers import LeavePeers
from matrixd.services.handshakes.servers import candidates, in_turn
from matrixd.services.handshakes.template import Templates, Wanted
from matrixd.services.out_of_band import OutOfBand
from matrixd.storage import events, room_members, rooms, users
from matrixd.storage.database import Database
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock

logger = logging.getLogger(__name__)

#: How long other servers have to take a leave before the user is out without them, in seconds.
_PATIENCE_S = 20.0


class LeaveHandshake:
    """Has another server take a leave."""

    def __init__(self, peers: LeavePeers, templates: Templates) -> None:
        self._peers = peers
        self._templates = templates

    async def run(
        self, user_id: str, room_id: str, content: Mapping[str, Any], servers: Sequence[str]
    ) -> Event:
        """The leave that the first of some servers took. Raises MatrixError when none did."""
        wanted = Wanted(room_id, user_id, "leave", content)

        async def attempt(server: str) -> Event:
            made = await self._peers.make_leave(server, room_id, user_id)
            leave = self._templates.sign(server, made, wanted)
            await self._peers.send_leave(server, room_id, leave.event_id, leave.pdu)
            return leave

        return await in_turn(servers, f"{user_id} leaves {room_id}", attempt)


class RemoteLeaving:
    """Ends out-of-band memberships at the wish of their users."""

    def __init__(
        self,
        database: Database,
        handshake: LeaveHandshake,
        out_of_band: OutOfBand,
        server_name: str,
        signing_key: SigningKey,
        clock: Clock,
        timer: IReactorTime,
        new_event_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._handshake = handshake
        self._out_of_band = out_of_band
        self._server_name = server_name
        self._signing_key = signing_key
        self._clock = clock
        self._timer = timer
        self._new_event_id = new_event_id

    async def leave(self, user_id: str, room_id: str, extra: Mapping[str, Any]) -> str:
        """End an invite or a knock; the ID of the event by which the user is out.

        For who is out already nothing changes. Raises M_FORBIDDEN for those who have no such membership.
        """
        member, servers = await self._database.read(_membership, room_id, user_id)
        if member is None or member.event.membership not in ("invite", "knock", "leave"):
            raise MatrixError(403, "M_FORBIDDEN", f"You are not in {room_id}.")
        if member.event.membership == "leave":
            return member.event.event_id
        found = candidates(self._server_name, servers)
        try:
            leave = await self._in_time(user_id, room_id, extra, found)
        except MatrixError as error:
            logger.warning("%s leaves %s without other servers: %s", user_id, room_id, error)
            leave = self._alone(member.event, user_id, extra)
        await self._out_of_band.store(leave)
        return leave.event_id

    async def _in_time(self, user_id: str, room_id: str, extra: Mapping[str, Any], servers: Sequence[str]) -> Event:
        handshake = self._handshake.run(user_id, room_id, extra, servers)
        try:
            return await Deferred.fromCoroutine(handshake).addTimeout(_PATIENCE_S, self._timer)
        except DeferredTimeout:
            raise MatrixError(504, "M_UNKNOWN", "The other servers did not answer in time.") from None

    def _alone(self, member: Event, user_id: str, extra: Mapping[str, Any]) -> Event:
        """A leave that only this server knows: it goes on from the membership that it ends."""
        version = member.version
        return build_event(
            version,
            room_id=member.room_id,
            event_type="m.room.member",
            sender=user_id,
            content={**extra, "membership": "leave"},
            prev_events=[member],
            auth_events=[member],
            depth=next_depth(version, [member.depth]),
            origin_server_ts=self._clock.now_ms(),
            server_name=self._server_name,
            signing_key=self._signing_key,
            state_key=user_id,
            event_id=self._new_event_id() if version.event_id_format is EventIdFormat.CHOSEN else None,
        )


def _membership(tx: Transaction, room_id: str, user_id: str) -> tuple[StoredEvent | None, list[str]]:
    """A user's membership of a room, and the servers that may be in it."""
    room_nid, user_nid = rooms.nid(tx, room_id), users.find(tx, user_id)
    member = None if room_nid is None or user_nid is None else room_members.one(tx, room_nid, user_nid)
    if member is None:
        return None, []
    return events.by_nids(tx, [member.event_nid])[member.event_nid], known_servers(tx, room_id, user_id)
