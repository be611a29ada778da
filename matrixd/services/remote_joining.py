"""How users of this server come into rooms through other servers: which of them are asked, and how often."""

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.services.handshakes.known_servers import known_servers
from matrixd.services.handshakes.servers import candidates
from matrixd.services.limits import Limit
from matrixd.services.remote_joins.machine import RemoteJoins
from matrixd.services.remote_joins.vouched import VouchedJoins
from matrixd.services.room_head import RoomHead
from matrixd.storage import rooms
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction


def takes_part(head: RoomHead, user_id: str) -> bool:
    """Whether this server can let a user into a room by itself; the head has the user's membership.

    An invite of another server to a room that nobody of this server is in says that the room goes on elsewhere.
    """
    member = head.state(("m.room.member", user_id))
    is_invited_by_others = (
        member is not None
        and member.membership == "invite"
        and member.sender_domain != user_id.partition(":")[2]
        and head.joined_count == sum(head.servers.values())
    )
    return head.is_resident and not is_invited_by_others


class RemoteJoining:
    """Finds servers and asks them."""

    def __init__(
        self, database: Database, joins: RemoteJoins, vouched: VouchedJoins, server_name: str, per_user: Limit
    ) -> None:
        self._database = database
        self._joins = joins
        self._vouched = vouched
        self._server_name = server_name
        self._per_user = per_user

    async def join(self, user_id: str, room_id: str, content: Mapping[str, Any], servers: Sequence[str]) -> bool:
        """Join a room that this server is not in. `servers` are those that the client names: they are asked first.

        False: look again whether this server is in the room. Raises M_FORBIDDEN for a blocked room,
        M_LIMIT_EXCEEDED, and as `RemoteJoins.join`.
        """
        found = await self._servers(user_id, room_id, servers)
        self._per_user.check(user_id)
        return await self._joins.join(user_id, room_id, content, found)

    async def join_vouched(
        self, user_id: str, room_id: str, content: Mapping[str, Any], servers: Sequence[str]
    ) -> str:
        """Join a restricted room that this server is in through one of the others in it; the ID of the event.

        Raises M_LIMIT_EXCEEDED, and as `VouchedJoins.join`.
        """
        found = await self._servers(user_id, room_id, servers)
        self._per_user.check(user_id)
        return await self._vouched.join(user_id, room_id, content, found)

    async def _servers(self, user_id: str, room_id: str, servers: Sequence[str]) -> list[str]:
        is_blocked, known = await self._database.read(_look_up, room_id, user_id)
        if is_blocked:
            raise MatrixError(403, "M_FORBIDDEN", "This room is blocked on this server.")
        return candidates(self._server_name, servers, known)


def _look_up(tx: Transaction, room_id: str, user_id: str) -> tuple[bool, list[str]]:
    room = rooms.by_id(tx, room_id)
    return room is not None and room.blocked, known_servers(tx, room_id, user_id)
