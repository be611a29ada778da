"""A space and its children as another server gets them.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
"""

from collections.abc import Collection, Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.spaces import children_in_order, is_child, stripped_child
from matrixd.queries.room_summaries import RoomFacts, load_facts
from matrixd.storage import room_servers, rooms
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

#: Children of one space in an answer; those after them are left out.
MAX_CHILDREN = 1_000


class Spaces:
    """Answers `/hierarchy` of the server-server API."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hierarchy(self, server_name: str, room_id: str, *, suggested_only: bool) -> dict[str, Any]:
        """A room and its children. Raises M_NOT_FOUND if users of the server could neither see nor join the room."""
        return await self._database.read(_hierarchy, server_name, room_id, suggested_only)


def _hierarchy(tx: Transaction, server_name: str, room_id: str, suggested_only: bool) -> dict[str, Any]:
    room = load_facts(tx, [room_id]).get(room_id)
    if room is None or room_id not in _accessible(tx, {room_id: room}, server_name):
        raise MatrixError(404, "M_NOT_FOUND", f"Room {room_id} does not exist.")
    stripped = [child for child in map(stripped_child, room.children) if is_child(child)]
    children_state = children_in_order(stripped, suggested_only=suggested_only)
    children = load_facts(tx, [child["state_key"] for child in children_state[:MAX_CHILDREN]])
    children.pop(room_id, None)
    accessible = _accessible(tx, children, server_name)
    return {
        "room": {**room.summary(), "children_state": children_state},
        "children": [child.summary() for child_id, child in children.items() if child_id in accessible],
        "inaccessible_children": [child_id for child_id in children if child_id not in accessible],
    }


def _accessible(tx: Transaction, facts: Mapping[str, RoomFacts], server_name: str) -> set[str]:
    """Those of some rooms that users of a server could look into or join."""
    allowed = {room_id for room in facts.values() for room_id in room.allowed_rooms}
    entered = _rooms_with(tx, allowed, server_name)
    found = set()
    for room_id, room in facts.items():
        is_in = server_name in room.servers
        if room.is_federated and (is_in or room.is_open or not entered.isdisjoint(room.allowed_rooms)):
            found.add(room_id)
    return found


def _rooms_with(tx: Transaction, room_ids: Collection[str], server_name: str) -> set[str]:
    """Those of some rooms that a server has joined members in."""
    known = {room.room_nid: room_id for room_id, room in rooms.by_ids(tx, room_ids).items()}
    servers = room_servers.of_rooms(tx, known) if known else {}
    return {known[nid] for nid, names in servers.items() if server_name in names}
