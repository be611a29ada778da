"""Which servers may be in a room, as far as this server can tell by itself."""

from matrixd.core.identifiers import domain_of, is_user_id
from matrixd.storage import events, room_members, room_servers, rooms, stripped_state, users
from matrixd.storage.transaction import Transaction


def known_servers(tx: Transaction, room_id: str, user_id: str) -> list[str]:
    """The servers, the best first; some may be named twice.

    That of who invited the user, those that the invite (or the answer to a knock) told of, those that were in the room
    when this server was, and the one in the room ID, if it names one.
    """
    room_nid = rooms.nid(tx, room_id)
    found = [] if room_nid is None else [*_of_member(tx, room_nid, user_id), *_of_room(tx, room_nid)]
    return [*found, domain_of(room_id)] if ":" in room_id else found


def _of_member(tx: Transaction, room_nid: int, user_id: str) -> list[str]:
    user_nid = users.find(tx, user_id)
    member = None if user_nid is None else room_members.one(tx, room_nid, user_nid)
    if user_nid is None or member is None:
        return []
    pair = room_nid, user_nid
    told = stripped_state.of_users(tx, [pair]).get(pair, [])
    event = events.by_nids(tx, [member.event_nid])[member.event_nid].event
    senders = [event.sender, *(item["sender"] for item in told)]
    return [domain_of(sender) for sender in senders if is_user_id(sender)]


def _of_room(tx: Transaction, room_nid: int) -> list[str]:
    members = room_servers.of_room(tx, room_nid)
    return sorted(members, key=lambda server: -members[server])
