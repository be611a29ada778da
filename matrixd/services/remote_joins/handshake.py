"""Asking one server to let a user into a room.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixd.core.event import Event
from matrixd.core.event_signing import authorising_server
from matrixd.core.identifiers import is_server_name
from matrixd.core.signing import signatures_by
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.services.handshakes.peers import JoinPeers, TakePdu
from matrixd.services.handshakes.servers import UselessAnswer
from matrixd.services.handshakes.template import Templates, Wanted
from matrixd.services.receiving.pdu_checks import PduChecks

#: Servers of a room that are remembered as possible helpers.
_MAX_SERVERS = 10_000


@dataclass(frozen=True, slots=True)
class Joined:
    """A join that a server has taken. The events of its answer went to `take`."""

    resident: str
    #: With the signatures of all who had to sign it.
    join: Event
    #: The servers whose signatures were verified.
    signed_by: frozenset[str]
    members_omitted: bool
    #: The servers in the room, if the other server said.
    servers: Sequence[str]


class JoinHandshake:
    """Makes the two requests."""

    def __init__(self, peers: JoinPeers, templates: Templates, checks: PduChecks, server_name: str) -> None:
        self._peers = peers
        self._templates = templates
        self._checks = checks
        self._server_name = server_name

    async def make(self, destination: str, wanted: Wanted) -> Event:
        """The join that a server would take, signed by us. Raises RemoteError, UselessAnswer."""
        made = await self._peers.make_join(destination, wanted.room_id, wanted.user_id, list(ROOM_VERSIONS))
        return self._templates.sign(destination, made, wanted)

    async def send(self, destination: str, join: Event, take: TakePdu) -> Joined:
        """Have a server take a join. Raises RemoteError, UselessAnswer.

        After UselessAnswer the other servers in the room may know the user as joined.
        """
        answer = await self._peers.send_join(destination, join.room_id, join.event_id, join.pdu, take)
        signed, signed_by = await self._signed(destination, join, answer.event)
        servers = [name for name in answer.servers_in_room[:_MAX_SERVERS] if is_server_name(name)]
        return Joined(destination, signed, signed_by, answer.members_omitted, servers)

    async def _signed(
        self, destination: str, join: Event, answered: Mapping[str, Any] | None
    ) -> tuple[Event, frozenset[str]]:
        """The join with the signature of the server that authorised it, where one had to.

        https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
        """
        authoriser = authorising_server(join)
        if authoriser is None or authoriser == self._server_name:
            return join, frozenset((self._server_name,))
        theirs = signatures_by(answered or {}, authoriser)
        if not theirs:
            raise UselessAnswer(destination, "its answer lacks the join with the authorising server's signature")
        # All but the signature is ours: what else was changed would not be what we have signed.
        pdu = {**join.pdu, "signatures": {**join.pdu["signatures"], authoriser: theirs}}
        checked = await self._checks.check(join.version, join.room_id, [pdu])
        if authoriser not in checked.signed_by.get(join.event_id, frozenset()):
            raise UselessAnswer(destination, f"the signature of {authoriser} on the join is wrong")
        return checked.events[0], checked.signed_by[join.event_id]
