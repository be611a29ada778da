"""Memberships of this server's users in rooms that it takes no part in: invites, knocks, and the end of these.

Such an event has a position, so that the user's syncs find it, and holds the user's place in the room's state; but it
is in no timeline, and the rest of the room is not known. What the user is shown of the room came with the event.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matrixd.core.client_event import pruned_stripped_state
from matrixd.core.event import Event
from matrixd.services.room_head import RoomHeads
from matrixd.storage import (
    events,
    room_members,
    room_state,
    rooms,
    stripped_state,
    users,
)
from matrixd.storage.database import Database
from matrixd.storage.events import NewEvent
from matrixd.storage.room_members import Member
from matrixd.storage.room_state import StateChange
from matrixd.storage.rows import EventRow, MembershipChange
from matrixd.storage.transaction import Transaction


class OutOfBand:
    """Stores them."""

    def __init__(self, database: Database, heads: RoomHeads) -> None:
        self._database = database
        self._heads = heads

    async def store(self, event: Event, stripped: Sequence[Mapping[str, Any]] = ()) -> EventRow | None:
        """Store the m.room.member event of a user of this server and let the user's syncs see it.

        `event` is signed by all who have to, and checked: nothing is checked here. `stripped` is what came with it
        (`invite_room_state`, `knock_room_state`): PDUs or stripped state; what is neither is left out. For the room a
        row is made if there is none. What was kept for an earlier invite or knock is dropped.

        None, and nothing done, if the event is stored already, or if users of this server are in the room: then the
        event belongs into the timeline, and it comes, or goes, with a transaction.
        """
        async with self._heads.exclusive(event.room_id):
            row = await self._database.write(_store, event, pruned_stripped_state(list(stripped)))
            if row is not None:
                self._heads.forget(event.room_id)
        return row


def _store(tx: Transaction, event: Event, stripped: Sequence[Mapping[str, Any]]) -> EventRow | None:
    room_nid = rooms.nid(tx, event.room_id)
    if room_nid is None:
        room_nid = rooms.create(tx, event.room_id, event.version.identifier)
    known = events.by_id(tx, event.event_id)
    if (known is not None and known.pos is not None) or room_members.local_joined(tx, room_nid):
        return None
    assert event.state_key is not None, "a membership is state"
    concerned = users.nids(tx, [event.sender, event.state_key])
    sender_nid, user_nid = concerned[event.sender], concerned[event.state_key]
    before = room_members.one(tx, room_nid, user_nid)
    replaces = room_state.of_keys(tx, room_nid, [event.key]).get(event.key)
    key_nid = room_state.key_nids(tx, [event.key])[event.key]
    pos = tx.next_id("events")
    room = rooms.by_nids(tx, [room_nid])[room_nid]
    event_nid = tx.next_id("event_nids") if known is None else known.event_nid
    new = NewEvent(event_nid, room_nid, pos, sender_nid, key_nid, room.unread, stripped_state.OUT_OF_BAND, event)
    if known is None:
        events.insert(tx, [new])
    else:
        events.place(tx, new)
    room_state.apply(tx, [StateChange(room_nid, key_nid, pos, event_nid, replaces is not None)])
    membership = event.membership or "leave"
    room_members.set_many(tx, [Member(user_nid, room_nid, membership, event_nid, pos, sender_nid, True)])
    stripped_state.remove(tx, room_nid, [user_nid])
    if membership in ("invite", "knock"):
        stripped_state.put(tx, room_nid, user_nid, stripped)
    row = EventRow(
        pos=pos,
        event_nid=event_nid,
        room_nid=room_nid,
        event=event,
        sender_nid=sender_nid,
        unread=room.unread,
        notifies=False,
        replaces=replaces.event if replaces is not None else None,
        member=MembershipChange(
            event.state_key, user_nid, membership, before.membership if before is not None else "leave", True
        ),
        device_nid=None,
        txn_id=None,
        thread_id=None,
        push_deltas=(),
        redacted=None,
        joined_count=room.joined_count,
        invited_count=room.invited_count,
        verdict=stripped_state.OUT_OF_BAND,
    )
    tx.announce(row)
    return row
