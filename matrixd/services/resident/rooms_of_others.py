"""The room that another server asks about, if it may take part in it, and the user for whom it asks."""

from collections.abc import Collection

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import domain_of, is_room_id, validate_user_id
from matrixd.queries.server_acls import ServerAcls
from matrixd.services.room_head import RoomHead, RoomHeads, UnknownRoom
from matrixd.storage.room_state import StateKey


class RoomsOfOthers:
    """Opens rooms to other servers."""

    def __init__(self, heads: RoomHeads, acls: ServerAcls) -> None:
        self._heads = heads
        self._acls = acls

    async def room(self, origin: str, room_id: str, keys: Collection[StateKey] = ()) -> RoomHead:
        """The head of a room that this server is in. Raises M_NOT_FOUND, and M_FORBIDDEN by the room's server ACL."""
        if not is_room_id(room_id):
            raise MatrixError(400, "M_INVALID_PARAM", "'roomId' is not a room ID.")
        try:
            head = await self._heads.get(room_id, keys)
        except UnknownRoom:
            raise _not_here(room_id) from None
        if not head.is_resident:
            raise _not_here(room_id)
        await self._acls.check(room_id, origin)
        if head.blocked:
            raise MatrixError(403, "M_FORBIDDEN", "This room is blocked on this server.")
        return head

    async def room_with_members(self, origin: str, room_id: str, keys: Collection[StateKey] = ()) -> RoomHead:
        """The same for who wants to come in: a room that all have left lives on wherever it is known, or nowhere."""
        head = await self.room(origin, room_id, keys)
        if not head.joined_count:
            raise _not_here(room_id)
        return head


def check_user(origin: str, user_id: str) -> None:
    """Raises M_INVALID_PARAM for what is no user ID, M_FORBIDDEN for a user of another server than that which asks."""
    validate_user_id(user_id, "userId")
    if domain_of(user_id) != origin:
        raise MatrixError(403, "M_FORBIDDEN", f"{user_id} is no user of {origin}.")


def _not_here(room_id: str) -> MatrixError:
    return MatrixError(404, "M_NOT_FOUND", f"This server is not in {room_id}.")
