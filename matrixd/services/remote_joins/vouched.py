"""Joining a restricted room that this server is in, when nobody of it may let the user in: another server vouches.

https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.services.handshakes.servers import in_turn
from matrixd.services.handshakes.template import Wanted
from matrixd.services.receiving.receiver import Receiver
from matrixd.services.remote_joins.handshake import Joined, JoinHandshake


class VouchedJoins:
    """Joins rooms with the help of other servers that are in them, too."""

    def __init__(self, handshake: JoinHandshake, receiver: Receiver) -> None:
        self._handshake = handshake
        self._receiver = receiver

    async def join(self, user_id: str, room_id: str, content: Mapping[str, Any], servers: Sequence[str]) -> str:
        """Join; the ID of the event. Raises MatrixError: what the servers said, or what we say to the event."""
        wanted = Wanted(room_id, user_id, "join", content)

        async def attempt(server: str) -> Joined:
            join = await self._handshake.make(server, wanted)
            return await self._handshake.send(server, join, _ignore)

        joined = await in_turn(servers, f"{user_id} joins {room_id}", attempt)
        await self._receiver.accept(joined.resident, joined.join, joined.signed_by, sends_on=False)
        return joined.join.event_id


def _ignore(_in_state: bool, _pdu: Mapping[str, Any]) -> None:
    """The state is here already."""
