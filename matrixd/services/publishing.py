"""Which rooms are published. https://spec.matrix.org/v1.19/client-server-api/#published-room-directory"""

from collections.abc import Callable, Collection

from matrixd.core.errors import MatrixError
from matrixd.queries.authentication import Requester
from matrixd.services.aliases import may_name
from matrixd.services.room_head import RoomHeads, UnknownRoom
from matrixd.services.room_rules import RoomRules
from matrixd.services.suspension import refuse_suspended
from matrixd.storage import room_aliases, rooms
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction


class Publishing:
    """Puts rooms into the published room directory, and takes them out."""

    def __init__(self, database: Database, heads: RoomHeads, rules: RoomRules) -> None:
        self._database = database
        self._heads = heads
        self._rules = rules

    async def set(self, requester: Requester, room_id: str, published: bool) -> None:
        """Publish a room, or take it out; for those who may set its canonical alias, and administrators.

        Raises M_NOT_FOUND for an unknown room, M_FORBIDDEN.
        """
        refuse_suspended(requester)
        try:
            head = await self._heads.get(room_id, [("m.room.member", requester.user_id)])
        except UnknownRoom:
            raise _unknown(room_id) from None
        if not requester.is_admin and not may_name(head, requester.user_id):
            raise MatrixError(403, "M_FORBIDDEN", "Only those who may name the room may publish it.")
        if published:
            aliases = await self._database.read(room_aliases.of_room, room_id)
            self.check_may_publish(requester.user_id, room_id, aliases)
        await self._database.write(self.change(room_id, published))

    def check_may_publish(self, user_id: str, room_id: str, aliases: Collection[str]) -> None:
        """Raises M_FORBIDDEN if the configuration does not allow it."""
        if not self._rules.allow(user_id, room_id, aliases):
            raise MatrixError(403, "M_FORBIDDEN", "This server does not let you publish this room.")

    def change(self, room_id: str, published: bool) -> Callable[[Transaction], None]:
        """What does it in a transaction."""

        def change(tx: Transaction) -> None:
            room_nid = rooms.nid(tx, room_id)
            if room_nid is None:
                raise _unknown(room_id)
            rooms.set_published(tx, room_nid, published)

        return change


def _unknown(room_id: str) -> MatrixError:
    return MatrixError(404, "M_NOT_FOUND", f"This server knows no room {room_id}.")
