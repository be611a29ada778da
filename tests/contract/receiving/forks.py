"""A room of the test's making on the real stages: from checked events to the room's state in the database."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from matrixd.core.event import Event
from matrixd.core.push.evaluation import CompiledRuleset
from matrixd.core.stateres import StateKey
from matrixd.services.event_effects import EventEffects
from matrixd.services.persister import Membership, NotForeseen, PendingEvent, Persister, RoomMoved
from matrixd.services.receiving.placing import Placed, Placing, Received
from matrixd.services.room_head import RoomHeads
from matrixd.storage import event_state, events, room_state, rooms
from matrixd.storage.rooms import RoomEnd
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.kept import FakeClock
from tests.support.policies import no_policies

T = TypeVar("T")
OURS = "domain"


class _NoRulesets:
    async def for_room(self, room_id: str, members: Collection[str]) -> Mapping[str, CompiledRuleset]:
        return {}

    async def ignoring(self, sender: str, members: Collection[str]) -> Collection[str]:
        return ()


class ForkedRoom:
    """A room that begins with some events in a line, and gets others in the way that events of other servers come."""

    def __init__(self, db: OpenDatabase, beginning: Iterable[Event], cache_bytes: int = 2**24) -> None:
        self.db = db
        budget = CacheBudget(cache_bytes)
        self.heads = RoomHeads(db.database, budget, lambda user_id: user_id.endswith(":" + OURS))
        self.persister = Persister(db.database, FakeClock())
        self.effects = EventEffects(OURS, self.heads, _NoRulesets())
        self.placing = Placing(db.database, self.heads, self.persister, self.effects, no_policies(OURS), budget)
        self.room_id = self._begin(list(beginning))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that uses the database."""
        return self.db.wait(Deferred.fromCoroutine(coroutine))

    def _begin(self, found: list[Event]) -> str:
        head = self.heads.make(found[0].room_id, found[0].version)
        members = [("m.room.member", event.state_key or "") for event in found]
        head.learn({*(event.key for event in found if event.is_state), *members}, {})
        head.learn([("m.room.power_levels", ""), ("m.room.join_rules", "")], {})
        pending = []
        for event in found:
            before = head.state(event.key) if event.is_state else None
            membership = None
            if event.type == "m.room.member":
                assert event.state_key is not None
                membership = Membership(
                    event.state_key, event.membership or "leave", head.membership(event.state_key),
                    event.state_key.endswith(":" + OURS),
                )
            head.advance(event, 0, (event,))
            end = RoomEnd((event.event_id,), event.depth, 0, None, 0, head.joined_count, head.invited_count)
            pending.append(PendingEvent(event, end, False, False, replaces=before, membership=membership))
        self.db.wait(self.persister.submit([head], pending))
        return head.room_id

    def place(self, event: Event) -> Placed:
        """Give an event its place: at the end if it follows that, else after a look."""
        return self.run(self._place(Received(event, frozenset({event.sender_domain}), event.sender_domain)))

    async def _place(self, received: Received) -> Placed:
        stored = await self.placing.follow(received)
        try:
            if stored is not None:
                return Placed(row=(await stored)[0])
        except (NotForeseen, RoomMoved):
            pass  # It has to be looked at.
        return await self.placing.place(received)

    def extremities(self) -> list[str]:
        """The room's forward extremities in the database."""
        room = self.db.read(rooms.by_id, self.room_id)
        assert room is not None
        return list(room.extremities)

    def current(self) -> dict[StateKey, str]:
        """The current state in the database: event IDs by key."""

        def read(tx: Transaction) -> dict[StateKey, str]:
            room_nid = rooms.nid(tx, self.room_id)
            assert room_nid is not None
            return {key: item.event.event_id for key, item in room_state.everything(tx, room_nid).items()}

        return self.db.read(read)

    def after(self, event_id: str) -> dict[StateKey, str] | None:
        """The state after an event, as it is stored."""

        def read(tx: Transaction) -> dict[StateKey, str] | None:
            stored = events.by_id(tx, event_id)
            state = None if stored is None else event_state.after(tx, stored)
            return None if state is None else {k: item.event.event_id for k, item in state.everything(tx).items()}

        return self.db.read(read)

    def verdict(self, event_id: str) -> str | None:
        """What became of an event; LookupError if it is not stored."""
        stored = self.db.read(events.by_id, event_id)
        if stored is None:
            raise LookupError(event_id)
        return stored.verdict
