"""A server's rooms, and what other servers read of them, on both engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.queries.federation.room_events import RoomEvents
from matrixd.queries.federation.room_states import RoomStates
from matrixd.queries.federation.shared_answers import SharedAnswers
from matrixd.queries.federation.spaces import Spaces
from matrixd.queries.server_acls import ServerAcls
from matrixd.storage import event_state, events, room_state, rooms, users
from matrixd.storage.event_state import EventState
from matrixd.storage.events import NewEvent
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.rooms import SERVER, RoomWorld, user_id


class ReadWorld(RoomWorld):
    """Rooms with what other servers read of them."""

    def __init__(self, db: OpenDatabase) -> None:
        super().__init__(db)
        budget = CacheBudget(2**24)
        self.acls = ServerAcls(db.database, self.feed, budget)
        self.events = RoomEvents(SERVER, db.database, self.clock, self.acls, self.erased_users)
        self.states = RoomStates(db.database, SharedAnswers(self.clock, budget), self.erased_users)
        self.spaces = Spaces(db.database)
        self._made = 0

    def backfill(self, server: str, room: str, *start: str, limit: int = 100) -> list[dict[str, Any]]:
        """The PDUs of a backfill."""
        answer = self.json(self.events.backfill(server, room, start, limit))
        assert (answer["origin"], answer["origin_server_ts"]) == (SERVER, self.clock.ms)
        pdus: list[dict[str, Any]] = answer["pdus"]
        return pdus

    def missing(
        self, room: str, earliest: list[str], latest: list[str], *, depth: int = 0, limit: int = 10
    ) -> list[str]:
        """What other.example gets as missing: the bodies of messages, the types of other events."""
        return names(self.json(self.events.missing("other.example", room, earliest, latest, depth, limit))["events"])

    def beside(
        self,
        room: str,
        sender: str,
        body: str,
        prev_events: list[str],
        *,
        depth: int,
        state: EventState | None = None,
        pos: int | None = None,
        verdict: str | None = None,
        **pdu: Any,
    ) -> str:
        """Store an event that is not at the end of the timeline; with neither state nor position it is an outlier."""
        event_id, store = self.storing(
            room, sender, body, prev_events, depth=depth, state=state, pos=pos, verdict=verdict, **pdu
        )
        self.db.write(store)
        return event_id

    def storing(
        self,
        room: str,
        sender: str,
        body: str,
        prev_events: list[str],
        *,
        depth: int,
        state: EventState | None = None,
        pos: int | None = None,
        verdict: str | None = None,
        **pdu: Any,
    ) -> tuple[str, Callable[[Transaction], None]]:
        """The ID of such an event, and what stores it."""
        self._made += 1
        event_id = f"$beside{self._made}"
        fields = {
            "type": "m.room.message", "content": {"body": body}, "sender": user_id(sender), "room_id": room,
            "depth": depth, "origin_server_ts": self.clock.ms, "prev_events": prev_events, "auth_events": [],
            "hashes": {"sha256": "x"}, "signatures": {}, **pdu,
        }  # fmt: skip

        def store(tx: Transaction) -> None:
            found = rooms.by_id(tx, room)
            assert found is not None
            event = Event.from_stored(ROOM_VERSIONS[found.version], fields, event_id)
            key_nid = room_state.key_nids(tx, [event.key])[event.key] if event.is_state else None
            state_nid = None if state is None else event_state.store(tx, state)
            sender_nid = users.nid(tx, event.sender)
            new = NewEvent(
                tx.next_id("event_nids"), found.room_nid, pos, sender_nid, key_nid, 0, verdict, event,
                state_nid=state_nid,
            )
            events.insert(tx, [new])

        return event_id, store

    def state_at(self, event_id: str) -> EventState:
        """The state before an event."""

        def read(tx: Transaction) -> EventState:
            stored = events.by_id(tx, event_id)
            assert stored is not None
            state = event_state.before(tx, stored)
            assert state is not None
            return state

        return self.db.read(read)


def names(pdus: Sequence[Mapping[str, Any]]) -> list[str]:
    """The bodies of messages, the types of other events."""
    return [pdu["content"].get("body", pdu["type"]) for pdu in pdus]


@pytest.fixture
def world(db: OpenDatabase) -> ReadWorld:
    """A server, in whose rooms `name:other.example` can be too."""
    return ReadWorld(db)
