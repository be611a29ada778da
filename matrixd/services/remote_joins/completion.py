"""Learning the rest of the state of rooms that are in use: from one server after the other, with growing pauses.

When nobody has told it for days, the users of this server are taken out of the room: where nobody tells who the members
are, what is encrypted does not reach all of them, and nobody would know. They can join the room anew.
"""

import logging

from twisted.internet.defer import Deferred

from matrixd.core.versions import ROOM_VERSIONS
from matrixd.net.errors import RemoteError
from matrixd.services.handshakes.peers import JoinPeers
from matrixd.services.handshakes.servers import UselessAnswer
from matrixd.services.remote_joins.checking import SnapshotChecks
from matrixd.services.remote_joins.departures import Departures
from matrixd.services.remote_joins.filling import Filling
from matrixd.services.remote_joins.staging import Staging, TooManyEvents
from matrixd.services.remote_joins.states import State
from matrixd.storage import remote_joins, room_members, room_servers, rooms
from matrixd.storage.database import Database
from matrixd.storage.remote_joins import RemoteJoin
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background
from matrixd.util.clock import Clock

logger = logging.getLogger(__name__)

#: Servers that are asked in one try.
_SERVERS_PER_TRY = 5
#: The pause after the first try in vain, and the longest, in milliseconds; each is twice the one before.
_FIRST_PAUSE_MS = 60_000
_LONGEST_PAUSE_MS = 6 * 60 * 60 * 1000
#: Tries: about three days.
_MAX_TRIES = 20

#: What the room is told when this server's users leave it because nobody tells who is in it.
_REASON = "No server told who is in the room."


class Completion:
    """Completes rooms."""

    def __init__(
        self,
        database: Database,
        peers: JoinPeers,
        checks: SnapshotChecks,
        filling: Filling,
        departures: Departures,
        clock: Clock,
    ) -> None:
        self._database = database
        self._peers = peers
        self._checks = checks
        self._filling = filling
        self._departures = departures
        self._clock = clock
        # Rooms that are worked on, with those who wait for the end of that; bounded by the joins that are not complete.
        self._under_way: dict[str, list[Deferred[None]]] = {}

    async def resume(self) -> None:
        """Go on, in the background, with every room whose next try is due."""
        due = await self._database.read(remote_joins.in_states, [State.FILLING.value], self._clock.now_ms())
        for join in due:
            if join.room_id not in self._under_way:
                in_background(f"learning who is in {join.room_id}", self.run(join.room_id))

    async def stop(self, room_id: str) -> None:
        """Wait until nothing is done about a room any more: it is going to be joined anew."""
        while room_id in self._under_way:
            waiting: Deferred[None] = Deferred()
            self._under_way[room_id].append(waiting)
            await waiting

    async def run(self, room_id: str) -> None:
        """Try once to complete a room; what fails is tried again later."""
        if room_id in self._under_way:
            return
        self._under_way[room_id] = []
        try:
            join = await self._database.read(remote_joins.by_room, room_id)
            if join is not None and join.state == State.FILLING.value:
                await self._complete(join)
        finally:
            for waiting in self._under_way.pop(room_id):
                waiting.callback(None)

    async def _complete(self, join: RemoteJoin) -> None:
        if not await self._database.read(_local_users, join.room_id):
            await self._end(join, "All users of this server left before the room was complete.")
            return
        if join.members_omitted:
            error = await self._fetch(join)
            if error is not None:
                await self._try_again(join, error)
                return
        assert join.event_id is not None, "the room was imported"
        gone = await self._filling.run(join.room_id, join.event_id)
        if gone:
            await self._departures.from_room(join.room_id, gone)

    async def _fetch(self, join: RemoteJoin) -> str | None:
        """Get the state before the join from the first server that has it; what is wrong if none has."""
        errors = []
        for server in (await self._database.read(_helpers, join))[:_SERVERS_PER_TRY]:
            try:
                await self._ask(server, join)
            except (RemoteError, UselessAnswer) as error:
                logger.info("learning who is in %s: %s", join.room_id, error)
                errors.append(str(error))
            else:
                await self._database.write(remote_joins.learned, join.room_id, self._clock.now_ms())
                return None
        return errors[0] if errors else "No server is known that is in the room."

    async def _ask(self, server: str, join: RemoteJoin) -> None:
        assert join.event_id is not None, "the room was imported"
        staging = Staging(self._database, join.room_id)
        await staging.clear()
        try:
            await self._peers.state(server, join.room_id, join.event_id, staging.take)
        except TooManyEvents as error:
            raise UselessAnswer(server, "its answer has too many events") from error
        finally:
            await staging.finish()
        await self._checks.run(server, join.room_id, ROOM_VERSIONS[join.version or "1"])
        if not await self._checks.has_creation(join.room_id):
            raise UselessAnswer(server, "the state that it sent has no usable m.room.create")

    async def _try_again(self, join: RemoteJoin, error: str) -> None:
        if join.tries + 1 >= _MAX_TRIES:
            logger.warning("nobody tells who is in %s; this server's users leave it. %s", join.room_id, error)
            await self._end(join, error)
            local = await self._database.read(_local_users, join.room_id)
            await self._departures.from_room(join.room_id, local, _REASON)
            return
        now_ms = self._clock.now_ms()
        pause_ms = min(_FIRST_PAUSE_MS * 2**join.tries, _LONGEST_PAUSE_MS)
        await self._database.write(remote_joins.failed, join.room_id, error, now_ms + pause_ms, now_ms)

    async def _end(self, join: RemoteJoin, error: str) -> None:
        await self._database.write(
            remote_joins.move, join.room_id, State.ABANDONED.value, self._clock.now_ms(), error
        )


def _local_users(tx: Transaction, room_id: str) -> list[str]:
    room_nid = rooms.nid(tx, room_id)
    return [] if room_nid is None else [user_id for _, user_id in room_members.local_joined(tx, room_nid)]


def _helpers(tx: Transaction, join: RemoteJoin) -> list[str]:
    """Servers that may tell: the one that took the join, those in the room, and others at each try."""
    room_nid = rooms.nid(tx, join.room_id)
    members = {} if room_nid is None else room_servers.of_room(tx, room_nid)
    others = sorted({*members, *join.servers} - {join.resident}, key=lambda server: (-members.get(server, 0), server))
    turn = join.tries * (_SERVERS_PER_TRY - 1) % len(others) if others else 0
    first = [join.resident] if join.resident is not None else []
    return [*first, *others[turn:], *others[:turn]]
