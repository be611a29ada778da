"""What sends to other servers, with a fake network and time that stands still until the test moves it.

The database is a real one on either engine, asked in the test's own thread: so nothing happens by itself.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock as ReactorClock

from matrixd.core.event import Event
from matrixd.core.streams import Stream
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.reachability import Pauses, Reachability
from matrixd.queries.feed import Feed
from matrixd.queries.room_servers import RoomServers
from matrixd.services.outbox import Outbox
from matrixd.services.sending_out.sender import FederationSender
from matrixd.storage import destinations, events, outgoing_events, room_members, room_servers, rooms, users
from matrixd.storage.database import Database
from matrixd.storage.engines.base import Mode, Unavailable
from matrixd.storage.rows import EventRow, MembershipChange
from matrixd.storage.transaction import Counters, Transaction
from matrixd.util.lru import CacheBudget
from tests.support.database import DatabasePlace

HERE = "here.example"
MINUTE_MS = 60_000
PAUSES = Pauses(10 * MINUTE_MS, 2, 7 * 24 * 60 * MINUTE_MS)


class Time(ReactorClock):
    """A reactor's timer and the time of day, moved together by `advance`."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return 1_700_000_000_000 + round(self.seconds() * 1000)

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds()


class ImmediateDatabase:
    """Stands for `Database`: a function has run, and its rows have reached `on_commit`, when the call returns."""

    def __init__(self, place: DatabasePlace) -> None:
        self._engine = place.engine()
        self._connection = self._engine.connect(Mode.MASTER)
        self.counters = Counters()
        self.on_commit: Callable[[Sequence[object]], None] = lambda rows: None
        #: How many transactions wrote something.
        self.writes = 0
        self.is_away = False
        self._connection.begin(write=False)
        self.counters.committed.update(self._connection.fetch("SELECT name, value FROM counters", ()))
        self._connection.rollback()

    def read(self, function: Any, *args: Any) -> Deferred[Any]:
        return self._run(function, args, write=False)

    def write(self, function: Any, *args: Any) -> Deferred[Any]:
        return self._run(function, args, write=True)

    def do(self, function: Any, *args: Any) -> Any:
        """The result of a store function in a commit of its own."""
        return result_of(self.write(function, *args))

    def close(self) -> None:
        self._connection.close()
        self._engine.release()

    def _run(self, function: Any, args: tuple[Any, ...], *, write: bool) -> Deferred[Any]:
        if self.is_away:
            return fail(Unavailable("away"))
        transaction = Transaction(self._connection, self.counters, {})
        self._connection.begin(write=write)
        try:
            result = function(transaction, *args)
            for name, value in transaction.advanced.items():
                self._connection.execute(
                    "INSERT INTO counters (name, value) VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (name, value),
                )
            self._connection.commit()
        except Exception:
            self._connection.rollback()
            return fail()
        self.writes += write and transaction.has_written
        self.counters.committed.update(transaction.advanced)
        if transaction.announced:
            self.on_commit(transaction.announced)
        return succeed(result)


def result_of(deferred: Deferred[Any]) -> Any:
    """The result of a Deferred that has fired."""
    results: list[Any] = []
    failures: list[Any] = []
    deferred.addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    assert results, "it has not fired"
    return results[0]


@dataclass
class Put:
    """A transaction that was put."""

    destination: str
    path: str
    body: dict[str, Any]
    #: Fires with the answer; cancelled when the sender gives up.
    answer: Deferred[Any] = field(default_factory=Deferred)

    @property
    def texts(self) -> list[str]:
        """The bodies of the messages in it."""
        return [pdu["content"].get("body", pdu["content"].get("membership")) for pdu in self.body["pdus"]]

    @property
    def edus(self) -> list[tuple[str, Any]]:
        """Types and contents of the EDUs in it."""
        return [(edu["edu_type"], edu["content"]) for edu in self.body.get("edus", ())]


class FakeClient:
    """Other servers: those in `down` refuse connections, those in `silent` never answer, others take everything."""

    def __init__(self, reachability: Reachability) -> None:
        self._reachability = reachability
        self.puts: list[Put] = []
        self.down: set[str] = set()
        self.silent: set[str] = set()
        #: What a server answers: a body, or an error to raise.
        self.answers: dict[str, Callable[[Put], Any]] = {}

    async def put(self, destination: str, path: str, content: bytes) -> Any:
        self._reachability.check(destination)
        made = Put(destination, path, json.loads(content))
        self.puts.append(made)
        try:
            answer = await self._answer(made)
        except RemoteError as error:
            self._reachability.failed(destination, error)
            raise
        self._reachability.succeeded(destination)
        return answer

    async def _answer(self, put: Put) -> Any:
        if put.destination in self.down:
            raise RemoteError(put.destination, FailureKind.CONNECT, "connection refused")
        if put.destination in self.silent:
            return await put.answer
        if put.destination in self.answers:
            return self.answers[put.destination](put)
        return {"pdus": {}}

    def texts(self, destination: str) -> list[str]:
        """The bodies of all messages that were put to a server, in order."""
        return [text for put in self.puts if put.destination == destination for text in put.texts]


class SendingServer:
    """A server with rooms, one local user, and users of other servers; `restarted` is the next process."""

    def __init__(self, place: DatabasePlace, time: Time | None = None, down: set[str] | None = None) -> None:
        self.place = place
        self.time = time or Time()
        self.database = ImmediateDatabase(place)
        committed = self.database.counters.committed
        self.feed = Feed({stream: committed.get(stream.label, 0) for stream in Stream})
        self.database.on_commit = self.feed.append
        database = cast(Database, self.database)
        self.reachability = Reachability(
            self.time, PAUSES, self.database.do(destinations.failing), chance=lambda: 0.5
        )
        self.client = FakeClient(self.reachability)
        self.client.down = down or set()
        self.room_servers = RoomServers(database, self.feed, CacheBudget(10_000_000))
        numbers = itertools.count()
        self.sender = FederationSender(
            HERE, database, self.feed, self.room_servers, self.client, self.reachability, self.time, self.time,
            lambda: f"txn{self.time.now_ms()}-{next(numbers)}",
        )
        self.outbox = Outbox(HERE, self.sender)
        result_of(Deferred.fromCoroutine(self.sender.start()))
        self.advance(0)

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps that are short for everything that waits."""
        steps = max(1, round(seconds * 20))
        for _ in range(steps):
            self.time.advance(seconds / steps)
        for _ in range(50):
            self.time.advance(0)

    def settle(self) -> None:
        """Let everything be sent and written, and forget what was put."""
        self.advance(2)
        result_of(Deferred.fromCoroutine(self.sender.write()))
        self.client.puts.clear()

    def stop(self) -> None:
        """End well."""
        stopping = Deferred.fromCoroutine(self.sender.stop())
        self.advance(3)
        result_of(stopping)
        self.database.close()

    def killed(self) -> SendingServer:
        """The next process after this one was killed: what was not written is lost."""
        for call in self.time.getDelayedCalls():
            cast(Any, call).cancel()
        self.database.close()
        return SendingServer(self.place, self.time, self.client.down)

    def restarted(self) -> SendingServer:
        """The next process after this one ended well."""
        self.stop()
        return SendingServer(self.place, self.time, self.client.down)

    def room(self, name: str, *servers: str) -> int:
        """A new room with the local user and a user of each server."""
        room_nid: int = self.database.do(rooms.create, f"!{name}:{HERE}", "10")
        self.membership(room_nid, f"@us:{HERE}", "join")
        for server in servers:
            self.membership(room_nid, f"@them:{server}", "join", sender=f"@them:{server}")
        return room_nid

    def message(self, room_nid: int, text: str, sender: str = f"@us:{HERE}", *, sends_on: bool = False) -> EventRow:
        """A message, stored and announced as the persister does."""
        content = {"body": text}
        row: EventRow = self.database.do(_event, room_nid, sender, "m.room.message", content, None, None, sends_on)
        self.advance(0)
        return row

    def membership(
        self, room_nid: int, user_id: str, membership: str, *, sender: str = f"@us:{HERE}", sends_on: bool = False
    ) -> EventRow:
        """A change of membership."""
        content = {"membership": membership}
        row: EventRow = self.database.do(
            _event, room_nid, sender, "m.room.member", content, user_id, membership, sends_on
        )
        self.advance(0)
        return row


def _event(
    tx: Transaction,
    room_nid: int,
    sender: str,
    event_type: str,
    content: dict[str, Any],
    state_key: str | None,
    membership: str | None,
    sends_on: bool,
) -> EventRow:
    room = rooms.by_nids(tx, [room_nid])[room_nid]
    pos, event_nid = tx.next_id("events"), tx.next_id("event_nids")
    nids = users.nids(tx, [sender, *([state_key] if state_key else [])])
    pdu = {
        "type": event_type, "sender": sender, "room_id": room.room_id, "content": content, "depth": pos,
        "origin_server_ts": 1_700_000_000_000 + pos, "prev_events": list(room.extremities), "auth_events": [],
        "hashes": {}, "signatures": {},
    } | ({} if state_key is None else {"state_key": state_key})  # fmt: skip
    event = Event.from_stored(ROOM_VERSIONS["10"], pdu, f"$event{pos}")
    events.insert(tx, [events.NewEvent(event_nid, room_nid, pos, nids[sender], None, 0, None, event)])
    member = None
    if membership is not None and state_key is not None:
        member = _member(tx, room_nid, event_nid, pos, nids, sender, state_key, membership)
    end = rooms.RoomEnd((event.event_id,), pos, pos, pos, 0, 1, 0)
    assert rooms.move_end(tx, room_nid, room.last_pos, end)
    if sends_on:
        outgoing_events.note_sent_on(tx, [pos])
    row = EventRow(
        pos=pos, event_nid=event_nid, room_nid=room_nid, event=event, sender_nid=nids[sender], unread=0,
        notifies=False, replaces=None, member=member, device_nid=None, txn_id=None, thread_id=None, push_deltas=(),
        redacted=None, joined_count=1, invited_count=0, sends_on=sends_on,
    )  # fmt: skip
    tx.announce(row)
    return row


def _member(
    tx: Transaction, room_nid: int, event_nid: int, pos: int, nids: dict[str, int], sender: str, user_id: str,
    membership: str,
) -> MembershipChange:  # fmt: skip
    known = room_members.one(tx, room_nid, nids[user_id])
    before = "leave" if known is None else known.membership
    server = user_id.partition(":")[2]
    is_local = server == HERE
    room_members.set_many(
        tx, [room_members.Member(nids[user_id], room_nid, membership, event_nid, pos, nids[sender], is_local)]
    )
    if not is_local:
        room_servers.change(tx, {(room_nid, server): (membership == "join") - (before == "join")})
    return MembershipChange(user_id, nids[user_id], membership, before, is_local)
