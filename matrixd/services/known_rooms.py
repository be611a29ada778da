"""From a room ID in a request to the room's number, if the user has to do with that room."""

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import is_room_id
from matrixd.storage import room_members, rooms
from matrixd.storage.transaction import Transaction


def nid(tx: Transaction, room_id: str, user_nid: int) -> int:
    """The number of a room that the user is, was, or is asked to be a member of.

    Raises M_INVALID_PARAM for what is no room ID, M_NOT_FOUND for other rooms, known or not.
    """
    room_nid = _nid(tx, room_id)
    if room_nid is None or room_members.one(tx, room_nid, user_nid) is None:
        raise MatrixError(404, "M_NOT_FOUND", "You have nothing to do with this room.")
    return room_nid


def joined_nid(tx: Transaction, room_id: str, user_nid: int) -> int:
    """The number of a room that the user is joined to. Raises M_INVALID_PARAM, or M_FORBIDDEN for other rooms."""
    room_nid = _nid(tx, room_id)
    member = None if room_nid is None else room_members.one(tx, room_nid, user_nid)
    if room_nid is None or member is None or member.membership != "join":
        raise MatrixError(403, "M_FORBIDDEN", "You are not joined to this room.")
    return room_nid


def _nid(tx: Transaction, room_id: str) -> int | None:
    if not is_room_id(room_id):
        raise MatrixError(400, "M_INVALID_PARAM", "'roomId' is not a room ID.")
    return rooms.nid(tx, room_id)
