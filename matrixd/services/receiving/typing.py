"""`m.typing` of other servers.

https://spec.matrix.org/v1.19/server-server-api/#typing-notifications
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from matrixd.core.identifiers import is_room_id
from matrixd.queries.server_acls import ServerAcls
from matrixd.services.receiving.edu_content import decoded, is_of
from matrixd.services.receiving.edus import Refuse
from matrixd.services.typing import Typing
from matrixd.storage import rooms, shared_rooms
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction


class _Content(Struct):
    room_id: str
    user_id: str
    typing: bool


class TypingEdus:
    """Takes note of who types on other servers: only members of a room, of servers that its ACL lets in."""

    def __init__(self, database: Database, typing: Typing, acls: ServerAcls) -> None:
        self._database = database
        self._typing = typing
        self._acls = acls

    async def receive(self, origin: str, contents: Sequence[Mapping[str, Any]], refuse: Refuse) -> None:
        """See `EduType`."""
        notes = []
        for content in contents:
            note = decoded(content, _Content, refuse)
            if note is not None and await self._may_be_told(note, origin, refuse):
                notes.append(note)
        if not notes:
            return
        members = await self._database.read(_members, {(note.room_id, note.user_id) for note in notes})
        for note in notes:
            room_nid = members.get((note.room_id, note.user_id))
            if room_nid is None:
                refuse(f"{note.user_id} is not in {note.room_id}")
            else:
                self._typing.set_remote(room_nid, note.user_id, note.typing)

    async def _may_be_told(self, note: _Content, origin: str, refuse: Refuse) -> bool:
        if not is_room_id(note.room_id) or not is_of(note.user_id, origin):
            refuse("'room_id' must be a room ID, and 'user_id' a user of the server")
            return False
        if not await self._acls.allows(note.room_id, origin):
            refuse(f"the ACL of {note.room_id} keeps the server out")
            return False
        return True


def _members(tx: Transaction, pairs: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Those of some pairs of room and user where the user is in the room: the room's number."""
    by_room: dict[str, list[str]] = {}
    for room_id, user_id in pairs:
        by_room.setdefault(room_id, []).append(user_id)
    found: dict[tuple[str, str], int] = {}
    for room_id, user_ids in by_room.items():
        room_nid = rooms.nid(tx, room_id)
        if room_nid is not None:
            found |= {(room_id, user_id): room_nid for user_id in shared_rooms.joined_among(tx, room_nid, user_ids)}
    return found
