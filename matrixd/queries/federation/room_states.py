"""The state of a room before an event, and auth chains, as other servers get them.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-events

A room can have tens of thousands of members, so the stored JSON is handed on without being parsed, and answers are put
together in the database's thread.
"""

from collections.abc import Callable, Collection, Iterable

import orjson

from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.versions import RoomVersion
from matrixd.queries.erased_users import ErasedUsers
from matrixd.queries.federation.auth_chains import chain_of
from matrixd.queries.federation.server_access import room_access
from matrixd.queries.federation.shared_answers import SharedAnswers
from matrixd.storage import event_json, event_state, events, users
from matrixd.storage.database import Database
from matrixd.storage.event_json import EventJson
from matrixd.storage.stored_event import StoredEvent, json_text
from matrixd.storage.transaction import Transaction


class RoomStates:
    """Answers `/state`, `/state_ids` and `/event_auth`, each with JSON that is ready to be sent.

    All raise M_NOT_FOUND if the room or the event is not known, or the event is of another room; M_FORBIDDEN if the
    asking server is not in the room; M_LIMIT_EXCEEDED when too many ask.
    """

    def __init__(self, database: Database, answers: SharedAnswers, erased_users: ErasedUsers) -> None:
        self._database = database
        self._answers = answers
        self._erased_users = erased_users

    async def state(self, server_name: str, room_id: str, event_id: str) -> bytes:
        """The state before an event, with its auth chain. M_NOT_FOUND too if that state is not known."""
        return await self._shared("state", _state, server_name, room_id, event_id)

    async def state_ids(self, server_name: str, room_id: str, event_id: str) -> bytes:
        """The same as event IDs."""
        return await self._shared("state_ids", _state_ids, server_name, room_id, event_id)

    async def event_auth(self, server_name: str, room_id: str, event_id: str) -> bytes:
        """The auth chain of an event."""
        return await self._shared("event_auth", _event_auth, server_name, room_id, event_id)

    async def _shared(
        self,
        name: str,
        read: Callable[[Transaction, StoredEvent, Collection[str]], bytes],
        server_name: str,
        room_id: str,
        event_id: str,
    ) -> bytes:
        stored = await self._database.read(_event, server_name, room_id, event_id, name != "event_auth")

        async def make() -> bytes:
            return await self._database.read(read, stored, tuple(self._erased_users.positions))

        return await self._answers.get((name, event_id), make)


def _event(tx: Transaction, server_name: str, room_id: str, event_id: str, with_state: bool) -> StoredEvent:
    access = room_access(tx, room_id, server_name)
    if with_state and access.room.state_completeness != "full":
        raise MatrixError(404, "M_NOT_FOUND", f"This server does not know the whole state of {room_id} yet.")
    stored = events.by_id(tx, event_id)
    if stored is None or stored.room_nid != access.room.room_nid:
        raise MatrixError(404, "M_NOT_FOUND", f"Could not find event {event_id} in {room_id}.")
    return stored


def _state_nids(tx: Transaction, stored: StoredEvent) -> list[int]:
    state = None if stored.verdict == "rejected" else event_state.before(tx, stored)
    if state is None:
        raise MatrixError(404, "M_NOT_FOUND", f"The state at {stored.event.event_id} is not known here.")
    return state.all_nids(tx)


def _state(tx: Transaction, stored: StoredEvent, erased: Collection[str]) -> bytes:
    state, chain = state_with_chain(tx, stored.room_nid, _state_nids(tx, stored))
    writer = PduWriter(tx, stored.event.version, erased)
    return b'{"pdus":%b,"auth_chain":%b}' % (writer.array(state), writer.array(chain))


def _state_ids(tx: Transaction, stored: StoredEvent, erased: Collection[str]) -> bytes:
    state, chain = state_with_chain(tx, stored.room_nid, _state_nids(tx, stored))
    return orjson.dumps(
        {"pdu_ids": [text.event_id for text in state], "auth_chain_ids": [text.event_id for text in chain]}
    )


def _event_auth(tx: Transaction, stored: StoredEvent, erased: Collection[str]) -> bytes:
    own = event_json.by_nids(tx, [stored.event_nid])
    chain = chain_of(tx, stored.room_nid, own).values()
    return b'{"auth_chain":%b}' % PduWriter(tx, stored.event.version, erased).array(chain)


def state_with_chain(
    tx: Transaction, room_nid: int, event_nids: list[int]
) -> tuple[Collection[EventJson], Collection[EventJson]]:
    """The events of a room's state, of which the numbers are given, and their auth chain."""
    state = {text.event_id: text for text in event_json.by_nids(tx, event_nids)}
    return state.values(), chain_of(tx, room_nid, state.values(), state).values()


class PduWriter:
    """Writes lists of stored events of a room as JSON. What erased users sent is redacted."""

    def __init__(self, tx: Transaction, version: RoomVersion, erased: Collection[str]) -> None:
        self._version = version
        self._erased = frozenset(users.find_many(tx, erased).values())

    def array(self, texts: Iterable[EventJson]) -> bytes:
        """The events as a JSON array."""
        return b"[" + b",".join([self._written(text) for text in texts]) + b"]"

    def _written(self, text: EventJson) -> bytes:
        if text.sender_nid not in self._erased:
            return text.json.encode()
        event = Event.from_stored(self._version, orjson.loads(text.json), text.event_id)
        return json_text(event.redacted()).encode()
