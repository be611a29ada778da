"""Account data: what clients keep on the server for themselves.

https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from collections.abc import Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import fits
from matrixd.services import known_rooms
from matrixd.storage import account_data
from matrixd.storage.account_data import GLOBAL
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

FULLY_READ = "m.fully_read"
PUSH_RULES = "m.push_rules"
#: "Servers MUST reject setting account data for event types that the server manages".
SERVER_MANAGED = frozenset({FULLY_READ, PUSH_RULES})

MAX_TYPE_BYTES = 255
#: The specification has no limit; clients keep lists of rooms and emoji here, which stay far below it.
MAX_CONTENT_BYTES = 1024 * 1024


class AccountData:
    """Reads and changes account data. `room_id` None is global account data."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_nid: int, room_id: str | None, data_type: str) -> Mapping[str, Any]:
        """The content of one type. Raises M_NOT_FOUND."""
        _check_type(data_type)
        content = await self._database.read(_get, user_nid, room_id, data_type)
        if content is None:
            raise MatrixError(404, "M_NOT_FOUND", f"There is no account data of type '{data_type}'.")
        return content

    async def put(self, user_nid: int, room_id: str | None, data_type: str, content: Mapping[str, Any]) -> None:
        """Set the content of one type.

        Raises 405 M_BAD_JSON for what only the server sets, M_INVALID_PARAM, M_NOT_FOUND for a room that the user
        has nothing to do with.
        """
        if data_type in SERVER_MANAGED:
            raise MatrixError(405, "M_BAD_JSON", f"Account data of type '{data_type}' is set by the server.")
        _check_type(data_type)
        await self._database.write(_put, user_nid, room_id, data_type, content)


def _check_type(data_type: str) -> None:
    if not data_type or not fits(data_type, MAX_TYPE_BYTES):
        raise MatrixError(400, "M_INVALID_PARAM", f"'type' must have 1 to {MAX_TYPE_BYTES} bytes, none of them NUL.")


def _get(tx: Transaction, user_nid: int, room_id: str | None, data_type: str) -> Mapping[str, Any] | None:
    room_nid = GLOBAL if room_id is None else known_rooms.nid(tx, room_id, user_nid)
    return account_data.get(tx, user_nid, room_nid, data_type)


def _put(
    tx: Transaction, user_nid: int, room_id: str | None, data_type: str, content: Mapping[str, Any]
) -> None:
    room_nid = GLOBAL if room_id is None else known_rooms.nid(tx, room_id, user_nid)
    if account_data.get(tx, user_nid, room_nid, data_type) != content:
        account_data.put(tx, user_nid, room_nid, data_type, content)
