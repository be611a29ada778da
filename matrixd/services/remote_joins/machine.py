"""Running joins: server after server, state after state, over restarts.

One room has one machine, whoever wants to join it: others wait until it is over, and then join as in any room.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from matrixd.core import canonical_json
from matrixd.core.errors import MatrixError
from matrixd.core.event import Event
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.handshakes.servers import UselessAnswer, in_turn
from matrixd.services.handshakes.template import Wanted
from matrixd.services.remote_joins.checking import SnapshotChecks
from matrixd.services.remote_joins.completion import Completion
from matrixd.services.remote_joins.departures import Departures
from matrixd.services.remote_joins.handshake import Joined, JoinHandshake
from matrixd.services.remote_joins.room_import import AlreadyInRoom, RoomImport, Snapshot
from matrixd.services.remote_joins.staging import Staging, TooManyEvents
from matrixd.services.remote_joins.states import JOINING, State
from matrixd.storage import remote_join_state, remote_joins, rooms
from matrixd.storage.database import Database
from matrixd.storage.engines.base import Unavailable
from matrixd.storage.remote_joins import RemoteJoin
from matrixd.storage.stored_event import json_text
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background
from matrixd.util.clock import Clock

logger = logging.getLogger(__name__)

#: How long a client's request waits, in seconds; the join goes on without it.
PATIENCE_S = 120.0
#: A join that has not come further for so long is given up at a restart, in milliseconds: its user has forgotten it.
_STALE_MS = 60 * 60 * 1000

#: After these nobody knows whether the other server has taken the join.
_MAYBE_TAKEN = frozenset(
    (FailureKind.TIMEOUT, FailureKind.CONNECT, FailureKind.BAD_ANSWER, FailureKind.TOO_LARGE)
)


@dataclass(slots=True)
class _Running:
    """A join that is not over."""

    user_id: str
    waiting: "list[Deferred[None]]" = field(default_factory=list)


class RemoteJoins:
    """Joins rooms through other servers."""

    def __init__(
        self,
        database: Database,
        handshake: JoinHandshake,
        checks: SnapshotChecks,
        room_import: RoomImport,
        completion: Completion,
        departures: Departures,
        clock: Clock,
        timer: IReactorTime,
    ) -> None:
        self._database = database
        self._handshake = handshake
        self._checks = checks
        self._import = room_import
        self._completion = completion
        self._departures = departures
        self._clock = clock
        self._timer = timer
        # Bounded by the limit on how often users join.
        self._running: dict[str, _Running] = {}

    async def join(self, user_id: str, room_id: str, content: Mapping[str, Any], servers: Sequence[str]) -> bool:
        """Join a room through one of some servers, the best first; done when the room can be used.

        `content` goes into the join event, beside the membership. False: somebody else's join of the room was under
        way, and is over now; look again whether this server is in the room.

        Raises MatrixError: what the servers said, 404 M_NOT_FOUND without any server, 504 M_UNKNOWN when it takes long;
        then the join goes on, and shows in /sync when it is done.
        """
        running = self._running.get(room_id)
        if running is not None:
            await self._wait(running, fails=running.user_id == user_id)
            return running.user_id == user_id
        running = self._running[room_id] = _Running(user_id)
        waiting = self._waiter(running)
        in_background(f"joining {room_id}", self._begin(running, room_id, content, servers))
        await waiting
        return True

    async def resume(self) -> None:
        """Go on, in the background, with what was under way when the server stopped or the database went away."""
        for join in await self._database.read(remote_joins.in_states, [state.value for state in JOINING]):
            if join.room_id in self._running:
                continue
            self._running[join.room_id] = running = _Running(join.user_id)
            if join.changed_ts < self._clock.now_ms() - _STALE_MS:
                in_background(f"giving up to join {join.room_id}", self._give_up(running, join))
            else:
                in_background(f"joining {join.room_id}", self._run(running, join))
        await self._completion.resume()

    def _waiter(self, running: _Running) -> "Deferred[None]":
        waiting: Deferred[None] = Deferred()
        running.waiting.append(waiting)

        def late(_: object, __: object) -> None:
            sentence = "The join takes long. It goes on: the room will be there when it is done."
            raise MatrixError(504, "M_UNKNOWN", sentence)

        return waiting.addTimeout(PATIENCE_S, self._timer, late)

    async def _wait(self, running: _Running, *, fails: bool) -> None:
        try:
            await self._waiter(running)
        except MatrixError as error:
            if fails or error.status == 504:
                raise

    async def _begin(
        self, running: _Running, room_id: str, content: Mapping[str, Any], servers: Sequence[str]
    ) -> None:
        try:
            await self._completion.stop(room_id)
            join = await self._database.write(_begin, room_id, running.user_id, content, servers, self._clock.now_ms())
        except Exception as error:
            self._end(running, room_id, error)
            raise
        await self._run(running, join)

    async def _run(self, running: _Running, join: RemoteJoin) -> None:
        """Bring a join to its end, be it good or bad."""
        room_id = join.room_id
        attempt = _Attempts(self._database, self._handshake, self._checks, self._clock, join)
        try:
            snapshot = await attempt.snapshot()
            imported = await self._import.run(snapshot)
        except MatrixError as error:
            await self._database.write(_abandon, room_id, f"{error.errcode}: {error.error}", self._clock.now_ms())
            self._end(running, room_id, error)
            if attempt.taken_by:
                # They have the user in the room; this server, and the user, do not.
                await self._departures.from_servers(room_id, join.user_id, attempt.taken_by)
        except Unavailable as error:
            # What is stored stays as it is; it is gone on with when the database is back.
            self._end(running, room_id, error)
        except AlreadyInRoom:
            await self._database.write(remote_joins.move, room_id, State.COMPLETE.value, self._clock.now_ms())
            self._end(running, room_id, None)
        except Exception as error:
            # A fault of ours: to try it again at the next start would only repeat it.
            await self._database.write(_abandon, room_id, "internal error", self._clock.now_ms())
            self._end(running, room_id, error)
            raise
        else:
            self._end(running, room_id, None)
            if imported.gone:
                in_background(
                    f"telling {room_id} who has left", self._departures.from_room(room_id, imported.gone)
                )
            if imported.is_partial:
                await self._completion.run(room_id)

    async def _give_up(self, running: _Running, join: RemoteJoin) -> None:
        sentence = "The server stopped before the join was done."
        await self._database.write(_abandon, join.room_id, sentence, self._clock.now_ms())
        self._end(running, join.room_id, MatrixError(504, "M_UNKNOWN", sentence))
        if join.resident is not None:
            await self._departures.from_servers(join.room_id, join.user_id, [join.resident])

    def _end(self, running: _Running, room_id: str, error: Exception | None) -> None:
        if self._running.get(room_id) is running:
            del self._running[room_id]
        waiting, running.waiting = running.waiting, []
        for waiter in waiting:
            if waiter.called:
                continue
            if error is None:
                waiter.callback(None)
            else:
                waiter.errback(error)


class _Attempts:
    """Asks the servers of one join until one's answer can be used."""

    def __init__(
        self,
        database: Database,
        handshake: JoinHandshake,
        checks: SnapshotChecks,
        clock: Clock,
        join: RemoteJoin,
    ) -> None:
        self._database = database
        self._handshake = handshake
        self._checks = checks
        self._clock = clock
        self._join = join
        #: Servers that have, or may have, taken a join event.
        self.taken_by: list[str] = []

    async def snapshot(self) -> Snapshot:
        """What can be imported; it is checked and stored. Raises MatrixError when no server is of help."""
        join = self._join
        if join.state != State.MADE.value:
            try:
                return await self._stored(join)
            except UselessAnswer as error:
                logger.info("joining %s: %s", join.room_id, error)
        return await in_turn(join.servers, f"{join.user_id} joins {join.room_id}", self._ask)

    async def _stored(self, join: RemoteJoin) -> Snapshot:
        """Go on with an answer that was stored before a restart."""
        assert join.resident is not None, "a server has answered"
        assert join.event is not None, "a server has answered"
        self.taken_by.append(join.resident)
        version = ROOM_VERSIONS[join.version or "1"]
        event = Event.from_stored(version, canonical_json.decode(join.event), join.event_id or "")
        if join.state == State.SENT.value:
            await self._check(join.resident, event, members_omitted=join.members_omitted)
        return Snapshot(event, join.members_omitted, join.servers)

    async def _ask(self, server: str) -> Snapshot:
        join = self._join
        wanted = Wanted(join.room_id, join.user_id, "join", join.content)
        staging = Staging(self._database, join.room_id)
        await staging.clear()
        await self._database.write(_clear, join.room_id)
        event = await self._handshake.make(server, wanted)
        try:
            joined = await self._send(server, event, staging)
        except UselessAnswer:
            self.taken_by.append(server)
            raise
        except RemoteError as error:
            if error.kind in _MAYBE_TAKEN:
                self.taken_by.append(server)
            raise
        self.taken_by.append(server)
        servers = list(dict.fromkeys([server, *joined.servers]))
        await self._database.write(_answered, joined, servers, self._clock.now_ms())
        await self._check(server, joined.join, members_omitted=joined.members_omitted)
        return Snapshot(joined.join, joined.members_omitted, servers)

    async def _send(self, server: str, event: Event, staging: Staging) -> Joined:
        try:
            return await self._handshake.send(server, event, staging.take)
        except TooManyEvents as error:
            raise UselessAnswer(server, "its answer has too many events") from error
        finally:
            await staging.finish()

    async def _check(self, server: str, event: Event, *, members_omitted: bool) -> None:
        await self._checks.run(server, event.room_id, event.version)
        await self._checks.authorise(server, event, members_omitted=members_omitted)
        await self._database.write(remote_joins.move, event.room_id, State.STORED.value, self._clock.now_ms())


def _begin(
    tx: Transaction, room_id: str, user_id: str, content: Mapping[str, Any], servers: Sequence[str], now_ms: int
) -> RemoteJoin:
    remote_joins.begin(tx, room_id, user_id, State.MADE.value, content, servers, now_ms)
    begun = remote_joins.by_room(tx, room_id)
    assert begun is not None, "it was just stored"
    return begun


def _answered(tx: Transaction, joined: Joined, servers: Sequence[str], now_ms: int) -> None:
    join = joined.join
    remote_joins.answered(
        tx, join.room_id, State.SENT.value, joined.resident, join.version.identifier, json_text(join), join.event_id,
        joined.members_omitted, servers, now_ms,
    )


def _clear(tx: Transaction, room_id: str) -> None:
    room_nid = rooms.nid(tx, room_id)
    if room_nid is not None:
        remote_join_state.clear(tx, room_nid)


def _abandon(tx: Transaction, room_id: str, error: str, now_ms: int) -> None:
    _clear(tx, room_id)
    remote_joins.move(tx, room_id, State.ABANDONED.value, now_ms, error)
