"""Users of this server and of another in one room, and what goes out to other servers, without a network."""

from __future__ import annotations

import json
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from matrixd.queries.room_servers import RoomServers
from matrixd.queries.server_acls import ServerAcls
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.services.outbox import Outbox
from matrixd.storage import destination_edus, users
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.kept import SERVER, Kept

FAR = "far.example"
ROB = f"@rob:{FAR}"


@dataclass(frozen=True)
class Sent:
    """An EDU that was given to the outbox to be kept in memory."""

    destinations: tuple[str, ...]
    type: str
    content: Any
    key: str | None


class Sink:
    """Takes EDUs that may be lost."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def send_edu(self, destinations: Collection[str], edu_type: str, encoded: bytes, key: str | None) -> None:
        self.sent.append(Sent(tuple(destinations), edu_type, json.loads(encoded), key))


class Acls(ServerAcls):
    """The ACLs of rooms, as a test sets them."""

    def __init__(self) -> None:
        self.denied: set[tuple[str, str]] = set()

    async def allows(self, room_id: str, server_name: str) -> bool:
        return (room_id, server_name) not in self.denied


class World:
    """Alice of this server in `!room`; Rob of another one, who comes in with `join_remote`."""

    def __init__(self, db: OpenDatabase) -> None:
        self.kept = Kept(db)
        self.timer = Clock()
        self.timer.rightNow = 1_000_000.0
        budget = CacheBudget(1_000_000)
        self.index = UserRoomsIndex(db.database, self.kept.feed, budget)
        self.room_servers = RoomServers(db.database, self.kept.feed, budget)
        self.sink = Sink()
        self.outbox = Outbox(SERVER, self.sink)
        self.acls = Acls()
        self.refusals: list[str] = []
        self.alice, self.alice_id = self.kept.user("alice")
        self.room = self.kept.room("room")
        self.kept.join(self.room, self.alice, self.alice_id)

    def now_ms(self) -> int:
        return round(self.timer.seconds() * 1000)

    def monotonic(self) -> float:
        return self.timer.seconds()

    def in_background(self, what: str, work: Coroutine[Any, Any, object]) -> None:
        """Stands for `in_background`: does the work at once."""
        self.kept.db.wait(Deferred.fromCoroutine(work))

    def advance(self, seconds: float) -> None:
        """Let time go by, and hand out what was announced in it."""
        steps = max(1, min(1000, round(seconds * 2)))
        for _ in range(steps):
            self.timer.advance(seconds / steps)
            self.kept.flush()

    def is_local(self, user_id: str) -> bool:
        return user_id.endswith(f":{SERVER}")

    def remote(self, user_id: str = ROB) -> int:
        """The number of a user of another server."""
        return int(self.kept.write(users.nid, user_id))

    def join_remote(self, room_nid: int, user_id: str = ROB, membership: str = "join") -> None:
        """Change the membership of a user of another server."""
        self.kept.join(room_nid, self.remote(user_id), user_id, membership)

    def receive(self, edu_type: Any, *contents: Any, origin: str = FAR) -> list[str]:
        """Give contents of EDUs to who takes them; what was refused."""
        self.refusals = []
        self.kept.run(edu_type.receive(origin, contents, self.refusals.append))
        return self.refusals

    def stored(self, destination: str = FAR) -> Sequence[tuple[str, Any]]:
        """The EDUs that wait in the database for a server."""
        return [
            (edu.type, json.loads(edu.json)) for edu in self.kept.db.read(destination_edus.first, destination, 1000)
        ]

