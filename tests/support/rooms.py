"""A server's rooms without its processes: real lanes and a real persister on a test's database, and the queries."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, TypeVar

import orjson
from twisted.internet.defer import Deferred

from matrixd.core.push.evaluation import CompiledRuleset
from matrixd.core.signing import SigningKey
from matrixd.core.streams import Stream
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.queries.client_events import ClientEvents
from matrixd.queries.erased_users import ErasedUsers
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.feed import Feed
from matrixd.queries.members import Members
from matrixd.queries.old_sync.room_snapshot import RoomSnapshot
from matrixd.queries.presence import Presence
from matrixd.queries.receipts import Receipts
from matrixd.queries.room_history import RoomHistory
from matrixd.queries.room_state_reads import RoomStateReads
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.services.event_effects import EventEffects
from matrixd.services.jump_to_date import JumpToDate
from matrixd.services.persister import Persister
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import Draft, RoomLanes, Sent
from matrixd.storage import accounts, transactions, users
from matrixd.storage.rows import EventRow
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.kept import FakeClock
from tests.support.policies import no_policies
from tests.support.rooms_elsewhere import NoAnchors, NoHistory

T = TypeVar("T")
SERVER = "example.org"


class _NoRulesets:
    async def for_room(self, room_id: str, members: Collection[str]) -> Mapping[str, CompiledRuleset]:
        return {}

    async def ignoring(self, sender: str, members: Collection[str]) -> Collection[str]:
        return ()


class RoomWorld:
    """Rooms of one server. Users are short names; every event is sent a second after the one before."""

    def __init__(self, db: OpenDatabase) -> None:
        self.db = db
        self.clock = FakeClock()
        self.feed = Feed({})
        budget = CacheBudget(2**24)
        database = db.database
        heads = self.heads = RoomHeads(database, budget, lambda user_id: user_id.endswith(":" + SERVER))
        numbers = itertools.count()
        self.lanes = RoomLanes(
            SERVER,
            SigningKey.from_seed("1", bytes(32)),
            heads,
            Persister(database, self.clock),
            database,
            EventEffects(SERVER, heads, _NoRulesets()),
            no_policies(SERVER),
            self.clock,
            lambda: f"$event{next(numbers)}:{SERVER}",
        )
        self.client_events = ClientEvents(database, self.feed, self.clock, budget)
        presence = Presence(database, self.feed, UserRoomsIndex(database, self.feed, budget), self.clock)
        self.snapshot = RoomSnapshot(
            database, self.feed, self.client_events, Receipts(database, self.feed), presence
        )
        self.history = RoomHistory(database, self.client_events, self.clock)
        self.jumps = JumpToDate(database, NoHistory(), NoAnchors())
        self.state = RoomStateReads(database, self.client_events, self.clock)
        self.members = Members(database, self.clock)
        self.erased_users = ErasedUsers(database, self.feed)
        self._given = 0

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that awaits the database; the feed gets what was announced."""
        result = self.db.wait(Deferred.fromCoroutine(coroutine))
        rows, self._given = self.db.announced[self._given :], len(self.db.announced)
        if rows:
            self.feed.append(rows)
        return result

    def json(self, coroutine: Coroutine[Any, Any, bytes]) -> Any:
        """What a query answers, parsed."""
        return orjson.loads(self.run(coroutine))

    def viewer(self, name: str, ignored: Collection[str] = (), device_nid: int | None = None) -> Viewer:
        """A user who reads."""
        nid = self.db.write(users.nid, user_id(name))
        return Viewer(user_id(name), nid, device_nid, frozenset(map(user_id, ignored)), self.erased_users.positions)

    def room(self, creator: str, *joined: str, visibility: str = "shared", version: str = "12") -> str:
        """A public room with a creator and some who have joined it."""
        sender, now = user_id(creator), self._tick()
        content = {} if ROOM_VERSIONS[version].auth.creator_is_sender else {"creator": sender}
        drafts = [
            Draft(sender, "m.room.create", {"room_version": version, **content}, ""),
            Draft(sender, "m.room.member", {"membership": "join"}, sender),
            Draft(sender, "m.room.join_rules", {"join_rule": "public"}, ""),
            Draft(sender, "m.room.history_visibility", {"history_visibility": visibility}, ""),
        ]
        given = None if ROOM_VERSIONS[version].room_id_is_create_hash else f"!r{now}:{SERVER}"
        room_id, _ = self.run(self.lanes.create(ROOM_VERSIONS[version], given, drafts))
        for name in joined:
            self.member(room_id, name, "join")
        return room_id

    def send(
        self, room_id: str, name: str, content: Mapping[str, Any] | str, event_type: str = "m.room.message", **more: Any
    ) -> str:
        """Send an event and return its ID; a string becomes a text message."""
        return self.sent(room_id, name, content, event_type, **more).event.event_id

    def sent(
        self, room_id: str, name: str, content: Mapping[str, Any] | str, event_type: str = "m.room.message", **more: Any
    ) -> EventRow:
        """Send an event and return its row."""
        self._tick()
        if isinstance(content, str):
            content = {"msgtype": "m.text", "body": content}
        answer: list[Sent] = self.run(self.lanes.send(room_id, [Draft(user_id(name), event_type, content, **more)]))
        row = answer[0].row
        assert row is not None
        return row

    def relate(self, room_id: str, name: str, rel_type: str, parent: str, **content: Any) -> str:
        """Send a message that relates to another event."""
        relates_to = {"rel_type": rel_type, "event_id": parent}
        return self.send(room_id, name, {"msgtype": "m.text", "body": "…", "m.relates_to": relates_to, **content})

    def member(self, room_id: str, name: str, membership: str, by: str | None = None, **content: Any) -> str:
        """Change a membership."""
        target = user_id(name)
        content = {"membership": membership, **content}
        return self.send(room_id, by or name, content, "m.room.member", state_key=target)

    def set_state(self, room_id: str, name: str, event_type: str, content: Mapping[str, Any], key: str = "") -> str:
        """Set a piece of state."""
        return self.send(room_id, name, content, event_type, state_key=key)

    def redact(self, room_id: str, name: str, event_id: str) -> str:
        """Redact an event."""
        return self.send(room_id, name, {"redacts": event_id}, "m.room.redaction", redacts=event_id)

    def newest(self) -> int:
        """The newest position of the events stream."""
        return self.feed.token[Stream.EVENTS]

    def erase(self, name: str) -> None:
        """End the account of a user, and erase the user."""
        target = user_id(name)

        def erase(tx: Transaction) -> None:
            nid = users.nid(tx, target)
            accounts.create(tx, nid, target, accounts.USER, None, False, 0)
            account = accounts.by_nid(tx, nid)
            assert account is not None
            accounts.deactivate(tx, account, True, self._tick())

        self.run(self._write(erase))

    async def _write(self, function: Callable[[Transaction], None]) -> None:
        await self.db.database.write(function)

    def _tick(self) -> int:
        self.clock.ms += 1000
        return self.clock.ms


def user_id(name: str) -> str:
    """The ID of a user; of another server if the name has one: `name:server`."""
    return f"@{name}" if ":" in name else f"@{name}:{SERVER}"


def txn_key(txn_id: str) -> str:
    """How the transaction ID of a message is stored."""
    return transactions.key("send", txn_id)
