"""Room tags: labels that a user gives to rooms, kept as the room account data `m.tag`.

https://spec.matrix.org/v1.19/client-server-api/#room-tagging
"""

from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.services import known_rooms
from matrixd.storage import account_data
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

TAG = "m.tag"
MAX_TAG_BYTES = 255
MAX_TAGS = 100
#: Bytes of what a client may put beside a tag.
MAX_TAG_CONTENT_BYTES = 8192


class Tags:
    """Reads and changes the tags of rooms."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_room(self, user_nid: int, room_id: str) -> dict[str, Any]:
        """Tag -> its content. Raises M_NOT_FOUND for a room that the user has nothing to do with."""
        return await self._database.read(_read, user_nid, room_id)

    async def put(self, user_nid: int, room_id: str, tag: str, content: dict[str, Any]) -> None:
        """Give a tag to a room; `content` may have an `order` from 0 to 1. Raises M_INVALID_PARAM, M_NOT_FOUND."""
        if not 0 < len(tag.encode()) <= MAX_TAG_BYTES:
            raise MatrixError(400, "M_INVALID_PARAM", f"'tag' must have 1 to {MAX_TAG_BYTES} bytes.")
        order = content.get("order")
        if "order" in content and (isinstance(order, bool) or not isinstance(order, int | float)):
            raise MatrixError(400, "M_BAD_JSON", "'order' must be a number.")
        if isinstance(order, int | float) and not 0 <= order <= 1:
            raise MatrixError(400, "M_INVALID_PARAM", "'order' must be between 0 and 1.")
        await self._database.write(_put, user_nid, room_id, tag, content)

    async def delete(self, user_nid: int, room_id: str, tag: str) -> None:
        """Take a tag from a room, if it is there. Raises M_NOT_FOUND for a room that is none of the user's."""
        await self._database.write(_delete, user_nid, room_id, tag)


def _tags(tx: Transaction, user_nid: int, room_nid: int) -> dict[str, Any]:
    content = account_data.get(tx, user_nid, room_nid, TAG)
    tags = {} if content is None else content.get("tags")
    # Clients may also write m.tag as account data, in any shape.
    return dict(tags) if isinstance(tags, dict) else {}


def _read(tx: Transaction, user_nid: int, room_id: str) -> dict[str, Any]:
    tags = _tags(tx, user_nid, known_rooms.nid(tx, room_id, user_nid))
    return {tag: content for tag, content in tags.items() if isinstance(content, dict)}


def _put(tx: Transaction, user_nid: int, room_id: str, tag: str, content: dict[str, Any]) -> None:
    room_nid = known_rooms.nid(tx, room_id, user_nid)
    tags = _tags(tx, user_nid, room_nid)
    if tag not in tags and len(tags) >= MAX_TAGS:
        raise MatrixError(400, "M_TOO_LARGE", f"The room has {MAX_TAGS} tags already.")
    if tags.get(tag) != content:
        account_data.put(tx, user_nid, room_nid, TAG, {"tags": {**tags, tag: content}})


def _delete(tx: Transaction, user_nid: int, room_id: str, tag: str) -> None:
    room_nid = known_rooms.nid(tx, room_id, user_nid)
    tags = _tags(tx, user_nid, room_nid)
    if tags.pop(tag, None) is not None:
        account_data.put(tx, user_nid, room_nid, TAG, {"tags": tags})
