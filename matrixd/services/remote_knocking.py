"""Knocking on rooms that this server takes no part in.

https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.services.handshakes.known_servers import known_servers
from matrixd.services.handshakes.peers import KnockPeers
from matrixd.services.handshakes.servers import candidates, in_turn
from matrixd.services.handshakes.template import Templates, Wanted
from matrixd.services.limits import Limit
from matrixd.services.out_of_band import OutOfBand
from matrixd.services.receiving.pdu_checks import PduChecks
from matrixd.storage import events, room_members, rooms, users
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

#: Room versions in which one can knock.
_VERSIONS = [version.identifier for version in ROOM_VERSIONS.values() if version.auth.knock]
#: Entries of `knock_room_state` that are looked at.
_MAX_STATE = 100


@dataclass(frozen=True, slots=True)
class _Standing:
    """What is known before a knock."""

    is_blocked: bool
    #: The knock that stands.
    knock_id: str | None
    servers: list[str]


class RemoteKnocking:
    """Has other servers take knocks."""

    def __init__(
        self,
        database: Database,
        peers: KnockPeers,
        templates: Templates,
        checks: PduChecks,
        out_of_band: OutOfBand,
        server_name: str,
        per_user: Limit,
    ) -> None:
        self._database = database
        self._peers = peers
        self._templates = templates
        self._checks = checks
        self._out_of_band = out_of_band
        self._server_name = server_name
        self._per_user = per_user

    async def knock(self, user_id: str, room_id: str, content: Mapping[str, Any], servers: Sequence[str]) -> str:
        """Knock through the first server that lets us; the ID of the event. Who knocks already, does not knock twice.

        `servers` are those that the client names: they are asked first. Raises M_FORBIDDEN for a blocked room,
        M_LIMIT_EXCEEDED, and what the servers said.
        """
        standing = await self._database.read(_standing, room_id, user_id)
        if standing.knock_id is not None:
            return standing.knock_id
        if standing.is_blocked:
            raise MatrixError(403, "M_FORBIDDEN", "This room is blocked on this server.")
        found = candidates(self._server_name, servers, standing.servers)
        self._per_user.check(user_id)
        wanted = Wanted(room_id, user_id, "knock", content)

        async def attempt(server: str) -> tuple[Event, list[Mapping[str, Any]]]:
            made = await self._peers.make_knock(server, room_id, user_id, _VERSIONS)
            knock = self._templates.sign(server, made, wanted)
            state = await self._peers.send_knock(server, room_id, knock.event_id, knock.pdu)
            return knock, await self._usable(knock, state)

        knock, state = await in_turn(found, f"{user_id} knocks on {room_id}", attempt)
        await self._out_of_band.store(knock, state)
        return knock.event_id

    async def _usable(self, knock: Event, state: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """What of `knock_room_state` may be shown: what is badly signed or no event of the room is left out.

        Before v1.16 of the specification it was stripped state, which older servers still send and nobody can check.
        """
        entries = state[:_MAX_STATE]
        signed = [entry for entry in entries if "signatures" in entry]
        checked = await self._checks.check(knock.version, knock.room_id, signed)
        shown: list[Mapping[str, Any]] = [event.pdu for event in checked.events]
        if not knock.version.room_id_is_create_hash:
            shown += [entry for entry in entries if "signatures" not in entry]
        return shown


def _standing(tx: Transaction, room_id: str, user_id: str) -> _Standing:
    room, user_nid = rooms.by_id(tx, room_id), users.find(tx, user_id)
    member = None if room is None or user_nid is None else room_members.one(tx, room.room_nid, user_nid)
    knock_id = None
    if member is not None and member.membership == "knock":
        knock_id = events.by_nids(tx, [member.event_nid])[member.event_nid].event.event_id
    return _Standing(room is not None and room.blocked, knock_id, known_servers(tx, room_id, user_id))
