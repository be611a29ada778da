"""Leaving rooms, declining invites, taking knocks back, and forgetting rooms.

https://spec.matrix.org/v1.19/client-server-api/#leaving-rooms
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.services.batches import in_batches
from matrixd.services.membership import member_draft, send_member
from matrixd.services.remote_leaving import RemoteLeaving
from matrixd.services.room_head import RoomHead, RoomHeads
from matrixd.services.room_lanes import RoomLanes
from matrixd.storage import room_members, rooms, users
from matrixd.storage.database import Database
from matrixd.storage.rows import RoomForgotten
from matrixd.storage.transaction import Transaction

logger = logging.getLogger(__name__)

_MEMBERSHIPS = ("join", "invite", "knock")


class Leaving:
    """Takes users out of rooms at their own wish."""

    def __init__(self, database: Database, heads: RoomHeads, lanes: RoomLanes, remote: RemoteLeaving) -> None:
        self._database = database
        self._heads = heads
        self._lanes = lanes
        self._remote = remote

    async def leave(self, user_id: str, room_id: str, extra: Mapping[str, Any]) -> str:
        """Leave a room; the ID of the event by which the user is out of it.

        Of a room that this server is not in, an invite is declined or a knock taken back, whoever can be told of it.

        To leave a room that one has left changes nothing. Raises M_FORBIDDEN for those who were never in the room,
        known or not, or are banned from it.
        """
        key = ("m.room.member", user_id)
        head = await self._heads.find(room_id, [key])
        if head is None or not head.is_resident:
            return await self._remote.leave(user_id, room_id, extra)
        event = head.state(key)
        if event is None:
            raise _not_in(room_id)
        if event.membership == "leave":
            return event.event_id
        draft = member_draft(user_id, user_id, {**extra, "membership": "leave"})
        return await send_member(self._lanes, room_id, draft)

    async def leave_all_rooms(self, user_id: str) -> None:
        """Take a user out of all rooms, and decline all invites; for an account that ends.

        Where a room does not let the user go, the log says why, and the user is taken out of the others. May be called
        again after it failed. Raises `Unavailable` while the database is away.
        """
        room_ids = await self._database.read(_present_in, user_id)
        await in_batches(room_ids, lambda room_id: self._leave_or_log(user_id, room_id))

    async def _leave_or_log(self, user_id: str, room_id: str) -> None:
        try:
            head = await self._heads.find(room_id)
            if head is None or not head.is_resident:
                await self._remote.leave(user_id, room_id, {})
                return
            draft = member_draft(user_id, user_id, {"membership": "leave"}, check=_is_present(user_id))
            await self._lanes.send(room_id, [draft])
        except (RuleViolation, MatrixError) as error:
            logger.warning("%s could not be taken out of %s: %s", user_id, room_id, error)

    async def forget(self, user_nid: int, room_id: str) -> None:
        """Show the user nothing more of a room.

        Raises M_UNKNOWN for a room that the user has not left, M_NOT_FOUND for one that the user was never in.
        """
        await self._database.write(_forget, user_nid, room_id)


def _is_present(user_id: str) -> Callable[[RoomHead], None]:
    def check(head: RoomHead) -> None:
        if head.membership(user_id) not in _MEMBERSHIPS:
            raise _not_in(head.room_id)

    return check


def _not_in(room_id: str) -> MatrixError:
    return MatrixError(403, "M_FORBIDDEN", f"You are not in {room_id}.")


def _present_in(tx: Transaction, user_id: str) -> list[str]:
    user_nid = users.find(tx, user_id)
    if user_nid is None:
        return []
    nids = [member.room_nid for member in room_members.of_user(tx, user_nid) if member.membership in _MEMBERSHIPS]
    return [room.room_id for room in rooms.by_nids(tx, nids).values()]


def _forget(tx: Transaction, user_nid: int, room_id: str) -> None:
    room_nid = rooms.nid(tx, room_id)
    member = None if room_nid is None else room_members.one(tx, room_nid, user_nid)
    if room_nid is None or member is None:
        raise MatrixError(404, "M_NOT_FOUND", f"You were never in {room_id}.")
    if member.membership in _MEMBERSHIPS:
        raise MatrixError(400, "M_UNKNOWN", f"You have to leave {room_id} before you can forget it.")
    if not member.forgotten:
        room_members.forget(tx, room_nid, user_nid)
        tx.announce(RoomForgotten(user_nid, room_nid))
