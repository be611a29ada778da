"""The `invite` and `knock` sections: rooms by the stripped state that their newest event brought along."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from matrixd.core.client_event import STRIPPED_STATE_TYPES, stripped, stripped_state
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.user_rooms import RoomEntry, UserRooms
from matrixd.storage import events, room_state, users
from matrixd.storage import stripped_state as kept_state
from matrixd.storage.database import Database
from matrixd.storage.stored_event import StoredEvent
from matrixd.storage.transaction import Transaction

_SECTION_OF = {"invite": "invite_state", "knock": "knock_state"}


class InvitedRooms:
    """Writes the sections."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sections(self, request: SyncRequest, index: UserRooms, up_to: int, membership: str) -> dict[str, bytes]:
        """The JSON of each room that the user was invited to (or knocked on) since the token, by room ID."""
        entries = [
            entry
            for entry in index.entries.values()
            if entry.membership == membership
            and request.after < entry.pos <= up_to
            and request.filter.room.matches_room(entry.room.room_id)
        ]
        if not entries:
            return {}
        states = await self._database.read(_stripped_states, entries)
        name = _SECTION_OF[membership]
        return {
            entry.room.room_id: orjson.dumps({name: {"events": state}})
            for entry, (sender, state) in zip(entries, states, strict=True)
            if membership != "invite" or sender not in request.viewer.ignored
        }


def _stripped_states(tx: Transaction, entries: Sequence[RoomEntry]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Of each room: who sent the newest membership, and the stripped state."""
    members = events.by_nids(tx, [entry.event_nid for entry in entries])
    found = [members[entry.event_nid] for entry in entries]
    return [(member.event.sender, load_stripped_state(tx, member)) for member in found]


def load_stripped_state(tx: Transaction, member: StoredEvent) -> list[dict[str, Any]]:
    """What the target of an invite, or someone who knocks, is told of the room: its state as of then, stripped.

    Of a room that this server takes no part in: what came with the invite, or was answered to the knock.
    """
    if member.verdict == kept_state.OUT_OF_BAND:
        user_nid = users.find(tx, member.event.key[1])
        pair = member.room_nid, user_nid or 0
        kept = kept_state.of_users(tx, [pair]).get(pair, [])
        own = stripped(member.event)
        return [*(event for event in kept if not _same_place(event, own)), own]
    keys = [*((event_type, "") for event_type in STRIPPED_STATE_TYPES), ("m.room.member", member.event.sender)]
    state = room_state.of_keys(tx, member.room_nid, keys, member.pos)
    return stripped_state({key: item.event for key, item in state.items()}, member.event)


def _same_place(event: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (event["type"], event["state_key"]) == (other["type"], other["state_key"])
