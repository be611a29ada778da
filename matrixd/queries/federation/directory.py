"""The aliases of this server as other servers get them.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
"""

from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.storage import room_aliases, room_servers
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

#: Servers that are named for a room, those with the most members first.
MAX_SERVERS = 50


class Directory:
    """Looks aliases up. `own_name` is the name of this server."""

    def __init__(self, own_name: str, database: Database) -> None:
        self._own_name = own_name
        self._database = database

    async def room_of(self, alias: str) -> dict[str, Any]:
        """`room_id` and `servers`. Raises M_NOT_FOUND."""
        found = await self._database.read(_look_up, alias, self._own_name)
        if found is None:
            raise MatrixError(404, "M_NOT_FOUND", f"There is no alias {alias}.")
        return found


def servers_in(tx: Transaction, room_nid: int, own_name: str) -> list[str]:
    """The servers in a room, to join through: this one first, then those with the most members."""
    members = room_servers.of_room(tx, room_nid)
    return [own_name, *sorted(members, key=lambda name: (-members[name], name))][:MAX_SERVERS]


def _look_up(tx: Transaction, alias: str, own_name: str) -> dict[str, Any] | None:
    found = room_aliases.get(tx, alias)
    if found is None:
        return None
    return {"room_id": found.room_id, "servers": servers_in(tx, found.room_nid, own_name)}
