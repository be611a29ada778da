"""Events of rooms that this server takes no part in: what matters is only what ends an invite or a knock of ours."""

from collections.abc import Callable

from matrixd.core.event import Event
from matrixd.services.out_of_band import OutOfBand
from matrixd.storage import events, room_members, rooms, users
from matrixd.storage.database import Database
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction


class OutsideRooms:
    """Takes such events."""

    def __init__(self, database: Database, out_of_band: OutOfBand, is_local: Callable[[str], bool]) -> None:
        self._database = database
        self._out_of_band = out_of_band
        self._is_local = is_local

    async def receive(self, origin: str, event: Event) -> bool:
        """Whether the event takes back an invite, or refuses a knock, of a user of ours, and was taken.

        The state of the room is not known, so who may do that is not either. It is believed of the server whose user
        had sent the invite, and of who names the invite, or the knock, among its auth events: to know that, one has to
        be in the room.
        """
        if event.membership not in ("leave", "ban") or event.state_key is None or not self._is_local(event.state_key):
            return False
        standing = await self._database.read(_standing, event.room_id, event.state_key)
        if standing is None or event.sender_domain != origin:
            return False
        is_inviter = standing.event.membership == "invite" and standing.event.sender_domain == origin
        if not is_inviter and standing.event.event_id not in event.auth_events:
            return False
        await self._out_of_band.store(event)
        return True


def _standing(tx: Transaction, room_id: str, user_id: str) -> StoredEvent | None:
    """The invite or the knock that a user has of a room."""
    room_nid, user_nid = rooms.nid(tx, room_id), users.find(tx, user_id)
    if room_nid is None or user_nid is None:
        return None
    member = room_members.one(tx, room_nid, user_nid)
    if member is None or member.membership not in ("invite", "knock"):
        return None
    return events.by_nids(tx, [member.event_nid]).get(member.event_nid)
