"""Rooms in the test's own process: the endpoints that change them on a fresh database, without sockets and reactor."""

from __future__ import annotations

import json
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, quote, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from matrixd.config import load
from matrixd.config.generate import NewServer, generate
from matrixd.core.event import Event
from matrixd.core.signing import SigningKey
from matrixd.core.streams import Stream
from matrixd.http.kit.dispatch import Dispatcher, Raw
from matrixd.http.kit.route import Router
from matrixd.master.frame import Frame
from matrixd.master.remote_rooms import Ours, Receiving, RemoteRooms, build_remote_rooms
from matrixd.master.rooms import build_rooms
from matrixd.queries.authentication import Authenticator, Requester, token_hash
from matrixd.queries.feed import Feed
from matrixd.queries.member_rulesets import MemberRulesets
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.services.event_effects import EventEffects
from matrixd.services.out_of_band import OutOfBand
from matrixd.services.persister import Persister
from matrixd.services.receiving.anchors import Anchors
from matrixd.services.receiving.auth_events import AuthEvents
from matrixd.services.receiving.outside_rooms import OutsideRooms
from matrixd.services.receiving.pdu_checks import PduChecks
from matrixd.services.receiving.placing import Placing
from matrixd.services.receiving.receiver import Receiver
from matrixd.services.remote_directories import RemoteDirectories
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import RoomLanes
from matrixd.storage import access_tokens, accounts, devices, room_state, rooms, users
from matrixd.storage.engines.base import Claimed
from matrixd.storage.rows import EventRow
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget
from tests.support.clock import TestClock
from tests.support.database import DatabasePlace, OpenDatabase
from tests.support.exchange import Answer
from tests.support.openapi import Specification
from tests.support.policies import no_policies
from tests.support.rooms_elsewhere import Keys, Network, NoDirectories, NoHistory, Threads

T = TypeVar("T")

SERVER_NAME = "test.example"
KEY = SigningKey.from_seed("1", b"x" * 32)
NO_LIMIT = "{per_second: 1000000, burst_count: 1000000}"
OPTIONS = f"""
rc_message: {NO_LIMIT}
rc_admin_redaction: {NO_LIMIT}
rc_joins: {{local: {NO_LIMIT}, remote: {NO_LIMIT}}}
rc_joins_per_room: {NO_LIMIT}
rc_invites: {{per_room: {NO_LIMIT}, per_user: {NO_LIMIT}, per_issuer: {NO_LIMIT}}}
rc_room_creation: {NO_LIMIT}
"""


class RoomServer:
    """The room endpoints. ``options`` are lines of YAML that are laid over `OPTIONS`."""

    def __init__(
        self,
        place: DatabasePlace,
        directory: Path,
        options: str = "",
        specification: Specification | None = None,
        budget_bytes: int = 50_000_000,
        network: Network | None = None,
    ) -> None:
        self.network = network or Network()
        base = directory / "homeserver.yaml"
        if not base.exists():
            generate(NewServer(SERVER_NAME, base, directory, directory))
        (directory / "layer.yaml").write_text(OPTIONS)
        (directory / "options.yaml").write_text(options or "{}")
        self.place = place
        self.directory = directory
        self.config = load([base, directory / "layer.yaml", directory / "options.yaml"], read_files=False)
        self.clock = TestClock()
        self.specification = specification
        self.db = OpenDatabase(place)
        self.announced: list[object] = []
        self._users = 0
        self._build(budget_bytes)

    def _build(self, budget_bytes: int) -> None:
        database = self.db.database
        committed = database.counters.committed
        feed = Feed({stream: committed.get(stream.label, 0) for stream in Stream})
        feed.after_batch(self.announced.extend)
        database.on_commit = feed.append
        budget = CacheBudget(budget_bytes)
        authenticator = Authenticator(database, self.clock, budget)
        self.frame = Frame(
            self.config, Clock(), cast(Any, self.clock), budget, database, feed, authenticator,
            UserRoomsIndex(database, feed, budget),
        )
        self.heads = RoomHeads(database, budget, self.frame.is_local)
        self._event_ids = iter(range(committed.get("events", 0), 1_000_000))
        effects = EventEffects(SERVER_NAME, self.heads, MemberRulesets(database, feed, budget))
        persister = Persister(database, self.clock)
        self.lanes = RoomLanes(
            SERVER_NAME, KEY, self.heads, persister, database, effects, no_policies(SERVER_NAME), self.clock,
            self._new_event_id,
        )
        directories = RemoteDirectories(SERVER_NAME, NoDirectories())
        self.rooms = build_rooms(
            self.frame, self.heads, self.lanes, self._remote_rooms(effects, persister), directories
        )
        self.dispatcher = Dispatcher(
            Router(self.frame.routes["client"]), authenticator, self.frame.limiters, self.clock,
            lambda requester, ip, agent: None,
        )

    def _new_event_id(self) -> str:
        return f"$event{next(self._event_ids)}:{SERVER_NAME}"

    def _remote_rooms(self, effects: EventEffects, persister: Persister) -> RemoteRooms:
        database, frame = self.db.database, self.frame
        key_ring = Keys({SERVER_NAME: KEY})
        self.checks = PduChecks(key_ring, Threads())
        history = NoHistory()
        auth_events = AuthEvents(database, self.checks, history)
        self.out_of_band = OutOfBand(database, self.heads)
        self.receiver = Receiver(
            database, self.heads, self.checks, auth_events,
            Anchors(database, self.checks, auth_events, history, self.clock),
            Placing(database, self.heads, persister, effects, no_policies(SERVER_NAME), frame.budget), history,
            OutsideRooms(database, self.out_of_band, frame.is_local), self.clock,
        )
        return build_remote_rooms(
            frame, self.heads, self.lanes, self.network,
            Receiving(self.checks, key_ring, self.receiver, self.out_of_band),
            Ours(SERVER_NAME, KEY, self._new_event_id),
        )

    def restarted(self) -> RoomServer:
        """A new server on the same database."""
        self.close()
        for _ in range(100):
            try:
                return RoomServer(
                    self.place, self.directory, specification=self.specification, network=self.network
                )
            except Claimed:
                # PostgreSQL has not noticed yet that the connection, and its claim, are gone.
                time.sleep(0.05)
        raise AssertionError("the database stays claimed")

    def close(self) -> None:
        """Stops the database."""
        self.db.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that uses the database."""
        return self.db.wait(Deferred.fromCoroutine(work))

    def start(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """A coroutine that goes on while the test waits for others."""
        return Deferred.fromCoroutine(work)

    def user(self, name: str | None = None, kind: str = accounts.USER, *, admin: bool = False) -> User:
        """A new account with a device; with the name of one that there is, a further device."""
        self._users += 1
        user_id = f"@{name or f'user{self._users}'}:{SERVER_NAME}"
        token = f"token of {user_id} {self._users}"

        def create(tx: Transaction) -> Requester:
            user_nid = users.nid(tx, user_id)
            if accounts.by_nid(tx, user_nid) is None:
                accounts.create(tx, user_nid, user_id, kind, None, admin, 0)
            device_id = f"DEVICE{self._users}"
            device_nid = devices.create(tx, user_nid, device_id, None, 0)
            access_tokens.create(tx, token_hash(token), user_nid, device_nid, 0)
            return Requester(user_id, user_nid, device_id, device_nid, token_hash(token))

        return User(self, self.db.write(create), token)

    def rows(self) -> list[EventRow]:
        """What the persister announced, in order."""
        return [row for row in self.announced if isinstance(row, EventRow)]

    def events(self, room_id: str) -> list[Event]:
        """A room's events, in order."""
        return [row.event for row in self.rows() if row.event.room_id == room_id]

    def state(self, room_id: str) -> dict[tuple[str, str], Event]:
        """The room's current state in the database."""

        def read(tx: Transaction) -> dict[tuple[str, str], Event]:
            room_nid = rooms.nid(tx, room_id)
            assert room_nid is not None
            return {key: found.event for key, found in room_state.everything(tx, room_nid).items()}

        return self.db.read(read)

    def membership(self, room_id: str, user: User) -> str | None:
        """A user's membership in the database."""
        event = self.state(room_id).get(("m.room.member", user.id))
        return None if event is None else event.membership

    def count(self, table: str) -> int:
        """The rows of a table."""
        row = self.db.read(lambda tx: tx.one(f"SELECT COUNT(*) FROM {table}"))
        assert row is not None
        return int(row[0])

    def request(self, method: str, target: str, body: object = None, token: str | None = None) -> Deferred[Answer]:
        """Sends a request; its answer is checked against the specification where that is at hand."""
        if not target.startswith("/_"):
            target = "/_matrix/client/v3" + target
        parts = urlsplit(target)
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        arguments = {name.encode(): [v.encode() for v in values] for name, values in parse_qs(parts.query).items()}
        authorization = None if token is None else f"Bearer {token}".encode()
        raw = Raw(
            method.encode(), parts.path.encode(), arguments, authorization, content, "192.0.2.7", "tests",
            lambda callback: None,
        )

        async def respond() -> Answer:
            response = await self.dispatcher.respond(raw)
            headers = {name.decode().lower(): value.decode() for name, value in response.headers}
            if self.specification is not None:
                self.specification.check_answer(
                    method, target, response.status, headers, response.body, with_token=token is not None
                )
            return Answer(method, target, response.status, headers, response.body)

        return Deferred.fromCoroutine(respond())


class User:
    """A user with a device, and what a client of the user sends. Each method expects success unless told otherwise."""

    def __init__(self, server: RoomServer, requester: Requester, token: str) -> None:
        self.server = server
        self.requester = requester
        self.token = token
        self.id = requester.user_id
        self._transactions = 0

    def start(self, method: str, target: str, body: object = None) -> Deferred[Answer]:
        """Sends a request without waiting for its answer."""
        return self.server.request(method, target, body, self.token)

    def request(self, method: str, target: str, body: object = None, expect: int = 200) -> Answer:
        """Sends a request."""
        answer = self.server.db.wait(self.start(method, target, body))
        assert answer.status == expect, f"{method} {target}: {answer.status} {answer.body!r}"
        return answer

    def post(self, target: str, body: object = None, expect: int = 200) -> Answer:
        """A POST request."""
        return self.request("POST", target, {} if body is None else body, expect)

    def put(self, target: str, body: object = None, expect: int = 200) -> Answer:
        """A PUT request."""
        return self.request("PUT", target, {} if body is None else body, expect)

    def get(self, target: str, expect: int = 200) -> Answer:
        """A GET request."""
        return self.request("GET", target, None, expect)

    def delete(self, target: str, expect: int = 200) -> Answer:
        """A DELETE request."""
        return self.request("DELETE", target, None, expect)

    def create_room(self, **body: Any) -> str:
        """Makes a room."""
        return str(self.post("/createRoom", body)["room_id"])

    def room_post(self, room_id: str, what: str, expect: int = 200, **body: Any) -> Answer:
        """A POST request to something in a room."""
        return self.post(f"/rooms/{quote(room_id, safe='')}/{what}", body, expect)

    def join(self, room_id: str, expect: int = 200, **body: Any) -> Answer:
        """Joins a room."""
        return self.room_post(room_id, "join", expect, **body)

    def invite(self, room_id: str, user: User, expect: int = 200, **body: Any) -> Answer:
        """Invites a user."""
        return self.room_post(room_id, "invite", expect, user_id=user.id, **body)

    def set_state(
        self, room_id: str, event_type: str, content: object, state_key: str = "", expect: int = 200
    ) -> Answer:
        """Sets a state event."""
        path = f"/rooms/{quote(room_id, safe='')}/state/{quote(event_type, safe='')}/{quote(state_key, safe='')}"
        return self.put(path, content, expect)

    def send(
        self,
        room_id: str,
        content: object,
        event_type: str = "m.room.message",
        txn_id: str | None = None,
        expect: int = 200,
    ) -> Answer:
        """Sends a message event."""
        return self.put(self.send_path(room_id, event_type, txn_id), content, expect)

    def send_path(self, room_id: str, event_type: str = "m.room.message", txn_id: str | None = None) -> str:
        """The path of a /send request, with a transaction ID of its own unless one is given."""
        self._transactions += 1
        txn_id = f"t{self._transactions}" if txn_id is None else txn_id
        return f"/rooms/{quote(room_id, safe='')}/send/{quote(event_type, safe='')}/{quote(txn_id, safe='')}"

    def say(self, room_id: str, text: str) -> str:
        """Sends a text message; its event ID."""
        return str(self.send(room_id, {"msgtype": "m.text", "body": text})["event_id"])

    def redact(self, room_id: str, event_id: str, expect: int = 200, txn_id: str | None = None, **body: Any) -> Answer:
        """Redacts an event."""
        self._transactions += 1
        txn = f"r{self._transactions}" if txn_id is None else txn_id
        return self.put(f"/rooms/{quote(room_id, safe='')}/redact/{quote(event_id, safe='')}/{txn}", body, expect)
