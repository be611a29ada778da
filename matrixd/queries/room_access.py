"""Who may look into a room, and how far: the members, those who have left, and everybody where the world may read."""

from dataclasses import dataclass

from matrixd.core.errors import MatrixError
from matrixd.core.visibility import HistoryVisibility, history_visibility
from matrixd.queries.event_visibility import VISIBILITY_KEY, Viewer
from matrixd.storage import room_members, room_state, rooms
from matrixd.storage.room_members import Member
from matrixd.storage.rooms import Room
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class RoomAccess:
    """What somebody may see of a room. Positions are those of the events stream."""

    room: Room
    member: Member | None
    #: The viewer has left: the state after this position is what they see. None: the current state.
    state_at: int | None = None
    #: The viewer has left, and the world may not read: no event after this position is shown.
    last_pos: int | None = None

    @property
    def membership(self) -> str:
        """The viewer's membership."""
        return "leave" if self.member is None else self.member.membership

    def state_up_to(self, pos: int) -> int:
        """The position after which the viewer's state at a position is to be read."""
        return pos if self.state_at is None else min(pos, self.state_at)


def room_access(tx: Transaction, room_id: str, viewer: Viewer) -> RoomAccess:
    """What the viewer may see of a room; raises M_FORBIDDEN as well if there is no such room."""
    room = rooms.by_id(tx, room_id)
    if room is None:
        raise not_in_room(room_id)
    member = room_members.one(tx, room.room_nid, viewer.user_nid)
    if member is not None and member.membership == "join":
        return RoomAccess(room, member)
    visibility = room_state.of_keys(tx, room.room_nid, [VISIBILITY_KEY]).get(VISIBILITY_KEY)
    is_readable = visibility is not None and history_visibility(visibility.event) is HistoryVisibility.WORLD_READABLE
    left = None if member is None or member.forgotten else left_at(tx, room.room_nid, viewer)
    if left is None and not is_readable:
        raise not_in_room(room_id)
    return RoomAccess(room, member, left, None if is_readable else left)


def left_at(tx: Transaction, room_nid: int, viewer: Viewer) -> int | None:
    """The position of the event that ended the viewer's last stay in a room; None for who never was in it."""
    intervals = room_state.intervals(tx, [room_nid], [("m.room.member", viewer.user_id)]).get(room_nid, [])
    return max(
        (item.valid_to for item in intervals if item.event.membership == "join" and item.valid_to is not None),
        default=None,
    )


def not_in_room(room_id: str) -> MatrixError:
    """The answer to who may not look into a room, or asks for one that is not there."""
    return MatrixError(403, "M_FORBIDDEN", f"You are not in the room {room_id}, nor have you been.")
