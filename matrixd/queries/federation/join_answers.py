"""What a server is told that joins a room through us: the room's state before the join.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

from collections.abc import Collection

import orjson

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.queries.erased_users import ErasedUsers
from matrixd.queries.federation.auth_chains import chain_of
from matrixd.queries.federation.room_states import PduWriter
from matrixd.storage import event_json, event_state, events, room_members, room_servers
from matrixd.storage.database import Database
from matrixd.storage.event_state import EventState
from matrixd.storage.transaction import Transaction

#: Members fewer than these are told in any case: to ask for them later costs more than to read them now.
MANY_MEMBERS = 50
#: Members by whom a room without a name is known. https://spec.matrix.org/v1.19/client-server-api/#mroommember
_HEROES = 5
_NAMES = (("m.room.name", ""), ("m.room.canonical_alias", ""))


class JoinAnswers:
    """Puts such answers together, in the database's thread."""

    def __init__(self, server_name: str, database: Database, erased_users: ErasedUsers) -> None:
        self._server_name = server_name
        self._database = database
        self._erased_users = erased_users

    async def of(self, join: Event, *, omit_members: bool) -> bytes:
        """The answer about a join that was accepted: JSON. With `omit_members`, without most of many members."""
        erased = tuple(self._erased_users.positions)
        return await self._database.read(_answer, self._server_name, join, omit_members, erased)


def _answer(tx: Transaction, server_name: str, join: Event, omit_members: bool, erased: Collection[str]) -> bytes:
    stored = events.by_id(tx, join.event_id)
    before = None if stored is None else event_state.before(tx, stored)
    if stored is None or before is None:
        raise MatrixError(404, "M_NOT_FOUND", "The room's state at the join is not known here.")
    everything = before.all_nids(tx)
    omit_members = omit_members and _members(tx, everything) >= MANY_MEMBERS
    nids = _without_members(tx, before, join, everything) if omit_members else everything
    state = {text.event_id: text for text in event_json.by_nids(tx, nids)}
    own = list(event_json.by_nids(tx, [stored.event_nid]))
    chain = chain_of(tx, stored.room_nid, [*state.values(), *own], state)
    if omit_members:
        chain = {event_id: text for event_id, text in chain.items() if event_id not in state}
    writer = PduWriter(tx, join.version, erased)
    parts = [
        b'"members_omitted":%b' % (b"true" if omit_members else b"false"),
        b'"origin":%b' % orjson.dumps(server_name),
        b'"event":%b' % writer.array(own)[1:-1],
        b'"state":%b' % writer.array(state.values()),
        b'"auth_chain":%b' % writer.array(chain.values()),
    ]
    if omit_members:
        servers = {server_name, *room_servers.of_room(tx, stored.room_nid)}
        parts.append(b'"servers_in_room":%b' % orjson.dumps(sorted(servers)))
    return b"{" + b",".join(parts) + b"}"


def _members(tx: Transaction, nids: Collection[int]) -> int:
    return len(nids) - len(events.without_type(tx, nids, "m.room.member"))


def _without_members(tx: Transaction, before: EventState, join: Event, nids: Collection[int]) -> list[int]:
    """The state but for members, with those by whom a nameless room is known."""
    kept = events.without_type(tx, nids, "m.room.member")
    if before.of_keys(tx, _NAMES):
        return kept
    heroes = room_members.first(tx, before.room_nid, 0, ("join", "invite"), _HEROES + 1)
    keys = [("m.room.member", user_id) for user_id in heroes if user_id != join.state_key][:_HEROES]
    return [*kept, *(item.event_nid for item in before.of_keys(tx, keys).values())]
