"""Fetching a room's history that is not here from other servers of the room.

https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events

It has places of its own, so that what other servers send meanwhile passes; and it fetches once for a room at a time,
however many ask.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.defer import TimeoutError as NotYet
from twisted.internet.task import deferLater

from matrixd.core.versions import ROOM_VERSIONS
from matrixd.net.errors import RemoteError
from matrixd.services.receiving.history_chunks import HistoryChunks, Told
from matrixd.services.receiving.remote_history import RemoteHistory
from matrixd.services.room_head import RoomHead, RoomHeads
from matrixd.storage import timeline_gaps
from matrixd.storage.database import Database
from matrixd.storage.timeline_gaps import ON_PAGING, Gap
from matrixd.storage.transaction import Transaction
from matrixd.util.clock import Clock
from matrixd.util.single_flight import SingleFlight

logger = logging.getLogger(__name__)

#: Events of one answer.
CHUNK = 100
#: Missing events that one request names, and servers that are asked for them.
_MAX_STARTS = 20
_MAX_SERVERS = 5
#: Rooms for which history is fetched at the same time.
_CONCURRENT = 4
#: Nobody waits again for a room of which nothing was to be had so short a time ago.
_PAUSE_S = 30.0
#: How often somebody who waits looks whether all members of a room are known.
_LOOK_AGAIN_S = 0.25
#: How long a hole that nobody fills is left alone: doubled with each try, up to a day.
_FIRST_RETRY_MS = 5_000
_LAST_RETRY_MS = 24 * 60 * 60 * 1000
_NOT_WHOLE = "Not all members of the room are known yet."
#: Rooms whose failures are remembered.
_MAX_PAUSED = 10_000


@dataclass(frozen=True, slots=True)
class Filled:
    """What came of it."""

    #: Events that have a place now.
    count: int
    #: Why nothing came of it; empty otherwise.
    problem: str = ""


class Backfill:
    """Fills holes before events that have their place in a room. `timer` is a reactor."""

    def __init__(
        self,
        database: Database,
        heads: RoomHeads,
        chunks: HistoryChunks,
        history: RemoteHistory,
        clock: Clock,
        timer: Any,
    ) -> None:
        self._database = database
        self._heads = heads
        self._chunks = chunks
        self._history = history
        self._clock = clock
        self._timer = timer
        self._places = DeferredSemaphore(_CONCURRENT)
        self._under_way: SingleFlight[str, Filled] = SingleFlight()
        #: Until when, in monotonic seconds, nobody waits for a room.
        self._paused: dict[str, float] = {}

    async def for_page(self, room_id: str, gaps: Sequence[Gap], within_s: float) -> bool:
        """Fetch what comes before some events that somebody pages back to; whether more is here now.

        False as well after `within_s` seconds: it goes on, and may be here when the next page is asked for.
        """
        now = self._clock.monotonic()
        if self._paused.get(room_id, now) > now or not await self._is_whole(room_id, now + within_s):
            return False
        left = now + within_s - self._clock.monotonic()
        try:
            filled: Filled = await self.fill(room_id, gaps, ON_PAGING).addTimeout(left, self._timer)
        except NotYet:
            logger.info("the history of %s was not to be had in %s s", room_id, within_s)
            return False
        return filled.count > 0

    async def _is_whole(self, room_id: str, until: float) -> bool:
        """Wait for all members of a room to be known, which takes a moment after joining it: history needs them."""
        while (head := await self._heads.find(room_id)) is not None and head.is_partial:
            if self._clock.monotonic() + _LOOK_AGAIN_S >= until:
                return False
            await deferLater(self._timer, _LOOK_AGAIN_S)
        return True

    def fill(self, room_id: str, gaps: Sequence[Gap], next_try_ts: int) -> "Deferred[Filled]":
        """Fetch up to CHUNK events before some holes.

        `next_try_ts`: when the holes are due that the fetched events leave behind. Who asks while the same room's
        history is fetched already gets what comes of that.
        """
        return self._under_way.run(room_id, lambda: self._in_place(room_id, gaps, next_try_ts))

    async def _in_place(self, room_id: str, gaps: Sequence[Gap], next_try_ts: int) -> Filled:
        await self._places.acquire()
        try:
            filled = await self._fill(room_id, gaps, next_try_ts)
        finally:
            self._places.release()
        if filled.count:
            self._paused.pop(room_id, None)
        elif filled.problem != _NOT_WHOLE:
            self._pause(room_id)
            await self._database.write(_note_failure, gaps, self._clock.now_ms(), filled.problem)
        return filled

    async def _fill(self, room_id: str, gaps: Sequence[Gap], next_try_ts: int) -> Filled:
        head = await self._heads.find(room_id)
        if head is None or not head.is_resident:
            return Filled(0, "This server is not in the room.")
        if head.is_partial:
            return Filled(0, _NOT_WHOLE)
        wanted = list(dict.fromkeys(gap.missing_id for gap in gaps))[:_MAX_STARTS]
        problem = "There is no other server in the room."
        for server in _servers(head, wanted):
            try:
                pdus = await self._history.backfill(server, room_id, wanted, CHUNK)
            except RemoteError as error:
                problem = str(error)
                logger.info("%s does not tell the history of %s: %s", server, room_id, error)
                continue
            told = Told(server, ROOM_VERSIONS[head.version.identifier], room_id, pdus[:CHUNK], next_try_ts)
            count = await self._chunks.take(told)
            if count:
                return Filled(count)
            problem = f"{server} tells nothing that can be placed."
        return Filled(0, problem)

    def _pause(self, room_id: str) -> None:
        now = self._clock.monotonic()
        if len(self._paused) >= _MAX_PAUSED:
            self._paused = {other: until for other, until in self._paused.items() if until > now}
        self._paused[room_id] = now + _PAUSE_S


def _servers(head: RoomHead, wanted: Collection[str]) -> list[str]:
    """Whom to ask: those with the most members in the room; in old rooms first the servers that event IDs name."""
    makers = [event_id.partition(":")[2] for event_id in wanted if ":" in event_id]
    most = sorted(head.servers, key=lambda server: (-head.servers[server], server))
    return [server for server in dict.fromkeys([*makers, *most]) if server in head.servers][:_MAX_SERVERS]


def retry_ts(gap: Gap, now_ms: int) -> int:
    """When a hole that was not filled is due again."""
    return now_ms + min(_FIRST_RETRY_MS << min(gap.tries, 20), _LAST_RETRY_MS)


def _note_failure(tx: Transaction, gaps: Sequence[Gap], now_ms: int, problem: str) -> None:
    for gap in gaps:
        next_try_ts = gap.next_try_ts if gap.next_try_ts >= ON_PAGING else retry_ts(gap, now_ms)
        timeline_gaps.failed(tx, gap, next_try_ts, problem)
