"""Sends what waits for other servers.

A scheduler after Postfix's example: what waits is on disk, a small active part of it in memory; one transaction at a
time goes to a server; how many go out at once follows what the network gives (`slots`), apart from which servers are
dead (`net.reachability`); servers that have something to get take turns.
https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

import logging
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred

from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.reachability import Reachability
from matrixd.queries.feed import Feed
from matrixd.queries.room_servers import RoomServers
from matrixd.services.sending_out.composing import Composer
from matrixd.services.sending_out.destination_queue import DestinationQueue
from matrixd.services.sending_out.dispatch import Dispatch
from matrixd.services.sending_out.due import Due
from matrixd.services.sending_out.ephemeral_edus import is_of_the_moment
from matrixd.services.sending_out.outgoing_event import HeldBytes, OutgoingEvent
from matrixd.services.sending_out.outgoing_transaction import OutgoingTransaction
from matrixd.services.sending_out.progress import Progress
from matrixd.services.sending_out.slots import Slots, Standing
from matrixd.storage import destination_edus, destinations
from matrixd.storage.database import Database
from matrixd.storage.destinations import Behind
from matrixd.storage.engines.base import Unavailable
from matrixd.storage.rows import EdusStored
from matrixd.storage.transaction import Transaction
from matrixd.util.background import in_background
from matrixd.util.clock import Clock
from matrixd.util.timer import Alarm, Timer

logger = logging.getLogger(__name__)

#: Memory for events that wait, of all servers together; what is more is left to the database.
_HELD_BYTES = 64 * 1024 * 1024
#: Ephemeral EDUs wait so long for others of their kind, if nothing else is to be sent.
_EDU_DELAY_MS = 50
_WRITE_DELAY_S = 1.0
_RETRY_DELAY_MS = 1000
#: After a fault of our own a server is left alone for so long.
_FAULT_DELAY_MS = 60_000
#: How long the end waits for what is under way, in seconds.
_STOP_S = 2.0
#: A transaction whose content was refused so often is taken apart, and then its single parts are dropped.
_MAX_REFUSALS = 3
#: Servers of which it was said that they refused an event.
_MAX_COMPLAINTS = 1000


class PutsTransactions(Protocol):
    """The part of `FederationClient` that this needs."""

    async def put(self, destination: str, path: str, content: bytes) -> Any:
        """Send canonical JSON, signed; the parsed answer. Raises RemoteError; tells `Reachability` of the outcome."""


@dataclass(slots=True)
class SentCounts:
    """What was sent since the start."""

    transactions: int = 0
    failures: int = 0
    pdus: int = 0
    edus: int = 0
    dropped_edus: int = 0


class FederationSender:
    """Follows the feed, and sends."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        feed: Feed,
        room_servers: RoomServers,
        client: PutsTransactions,
        reachability: Reachability,
        clock: Clock,
        timer: Timer,
        new_txn_id: Callable[[], str],
        partners: Container[str] | None = None,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._client = client
        self._reachability = reachability
        self._clock = clock
        self._timer = timer
        self._held = HeldBytes(_HELD_BYTES)
        self._dispatch = Dispatch(server_name, database, feed, room_servers, self._offer, self._held, partners)
        self._progress = Progress(database, reachability, lambda: self._dispatch.position)
        self._composer = Composer(database, clock, self._dispatch, self._held, self.write, new_txn_id)
        self._queues: dict[str, DestinationQueue] = {}
        self._due = Due(self._standing)
        self._slots = Slots()
        self._under_way: set[Deferred[object]] = set()
        self._complained: dict[str, None] = {}
        self._pump_alarm = Alarm(timer, self._pump)
        self._write_alarm = Alarm(timer, self._begin_write)
        self._is_running = False
        self.counts = SentCounts()
        reachability.on_wake(self._woken)
        feed.subscribe(EdusStored, lambda row: self._edus_stored(row.destinations))
        feed.after_batch(lambda _rows: self._follow())

    # What others ask

    @property
    def waiting(self) -> int:
        """Servers for which something waits."""
        return sum(1 for queue in self._queues.values() if queue.has_work)

    @property
    def dead(self) -> int:
        """Those of them that do not answer."""
        return sum(1 for queue in self._queues.values() if queue.has_work and self._reachability.is_dead(queue.name))

    @property
    def under_way(self) -> tuple[int, int]:
        """Transactions that are being sent, and how many may be."""
        return self._slots.taken, self._slots.limit

    @property
    def held_bytes(self) -> int:
        """What waiting events take in memory."""
        return self._held.used

    def send_edu(self, destinations: Collection[str], edu_type: str, encoded: bytes, key: str | None) -> None:
        """Send an EDU that may be lost; `encoded` is the canonical JSON of its content. See `Outbox`."""
        if not self._is_running:
            return
        for name in destinations:
            if is_of_the_moment(edu_type) and self._reachability.failures(name):
                self.counts.dropped_edus += 1
                continue
            queue = self._queue(name)
            was_idle = not queue.has_work
            self.counts.dropped_edus += queue.ephemeral.add(edu_type, encoded, key)
            if was_idle:
                queue.edus_from_ms = self._clock.now_ms() + _EDU_DELAY_MS
            self._schedule(queue)

    # Beginning and end

    async def start(self) -> None:
        """Go on with what the last process left."""
        floor, behind, have_edus = await self._database.read(_stored)
        if floor is None:
            floor = self._dispatch.position
            await self._database.write(destinations.set_floor, floor)
        self._progress.floor = floor
        for item in behind:
            queue = self._queue(item.destination)
            queue.overflow = queue.row_acked_pos = item.acked_pos
        for name in have_edus:
            self._queue(name).has_stored_edus = True
        self._dispatch.begin_at(self._progress.floor)
        self._is_running = True
        for queue in list(self._queues.values()):
            self._schedule(queue)
        self._follow()

    async def stop(self) -> None:
        """Give what is under way a short time, then write how far every server has come."""
        self._is_running = False
        self._pump_alarm.stop()
        self._write_alarm.stop()
        await self._end_what_is_under_way()
        for queue in self._queues.values():
            queue.defer()
        await self._progress.write(self._queues.values(), everything=True)

    async def _end_what_is_under_way(self) -> None:
        under_way = list(self._under_way)
        too_late = Alarm(self._timer, lambda: _cancel(under_way))
        too_late.set(self._timer.seconds() + _STOP_S)
        for work in under_way:
            await work
        too_late.stop()

    # Events and EDUs that come

    def _follow(self) -> None:
        if self._is_running and self._dispatch.is_behind:
            in_background("handing out events to other servers", self._hand_out())

    async def _hand_out(self) -> None:
        try:
            await self._dispatch.run()
        except Unavailable as error:
            logger.warning("events for other servers wait for the database: %s", error)
            self._timer.callLater(_RETRY_DELAY_MS / 1000, self._follow)

    def _offer(self, event: OutgoingEvent, names: Collection[str], is_farewell: bool) -> None:
        for name in names:
            queue = self._queue(name)
            queue.offer(event, is_farewell=is_farewell, memory_is_full=self._held.is_full)
            self._schedule(queue)
        self._progress.note(event.room_nid, event.pos)
        self._write_soon()

    def _edus_stored(self, names: Collection[str]) -> None:
        for name in names:
            queue = self._queue(name)
            queue.has_stored_edus = True
            self._schedule(queue)

    # The schedule

    def _queue(self, name: str) -> DestinationQueue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = DestinationQueue(name)
        return queue

    def _standing(self, name: str) -> Standing:
        if not self._reachability.failures(name) or self._reachability.was_contacted(name):
            return Standing.ANSWERS
        return Standing.DEAD if self._reachability.is_dead(name) else Standing.FAILS

    def _woken(self, name: str) -> None:
        queue = self._queues.get(name)
        if queue is not None:
            self._schedule(queue)
        self._write_soon()

    def _schedule(self, queue: DestinationQueue) -> None:
        """See to it that a server gets its turn when it may."""
        if queue.in_flight or not self._is_running:
            return
        if not queue.has_work:
            if queue.row_acked_pos is None and not queue.farewells and not queue.refusals:
                self._queues.pop(queue.name, None)
            return
        at = max(self._reachability.next_try_ts(queue.name), queue.earliest_ms)
        self._due.put(queue.name, at, self._clock.now_ms())
        self._wake_at(self._due.next_ts(self._clock.now_ms()))

    def _wake_at(self, ts: int | None) -> None:
        if ts is not None:
            self._pump_alarm.set(self._timer.seconds() + max(0, ts - self._clock.now_ms()) / 1000)

    def _pump(self) -> None:
        """Begin as many transactions as there are slots."""
        now = self._clock.now_ms()
        for standing, name in self._due.take(now, self._slots.take):
            queue = self._queues.get(name)
            if queue is None or queue.in_flight or not queue.has_work:
                self._slots.give_back(standing)
                continue
            queue.in_flight = True
            work = in_background(f"sending to {name}", self._send(queue, standing))
            self._under_way.add(work)
            work.addCallback(self._ended, work)
        self._wake_at(self._due.next_waiting_ts(now))

    def _ended(self, result: object, work: Deferred[object]) -> object:
        self._under_way.discard(work)
        return result

    # One transaction

    async def _send(self, queue: DestinationQueue, standing: Standing) -> None:
        # If something here raises what is not expected, the server is not asked again at once.
        queue.not_before_ms = self._clock.now_ms() + _FAULT_DELAY_MS
        try:
            transaction = queue.transaction or await self._composer.compose(queue)
            if transaction is not None:
                queue.transaction = transaction
                answer = await self._client.put(queue.name, transaction.path, transaction.encode(self._server_name))
                await self._taken(queue, transaction, answer)
            queue.not_before_ms = 0
        except RemoteError as error:
            queue.not_before_ms = 0
            self._not_taken(queue, error, standing)
        except Unavailable as error:
            # That the database is away, others say; here it would be a line for each server and second.
            logger.debug("sending to %s waits for the database: %s", queue.name, error)
            queue.not_before_ms = self._clock.now_ms() + _RETRY_DELAY_MS
        except CancelledError:
            # The end of the process: the transaction goes out again after the next start.
            queue.not_before_ms = 0
        finally:
            self._slots.give_back(standing)
            queue.in_flight = False
            self._write_soon()
            self._schedule(queue)
            self._wake_at(self._clock.now_ms() if self._due.is_waiting else None)

    async def _taken(self, queue: DestinationQueue, transaction: OutgoingTransaction, answer: Any) -> None:
        self._slots.succeeded()
        self._reachability.delivered(queue.name)
        self.counts.transactions += 1
        self.counts.pdus += len(transaction.events)
        self.counts.edus += len(transaction.stored_edus) + len(transaction.ephemeral_edus)
        self._complain(queue.name, answer)
        await self._done_with(queue, transaction)
        queue.refusals = 0
        queue.alone_left = max(0, queue.alone_left - 1)

    async def _done_with(self, queue: DestinationQueue, transaction: OutgoingTransaction) -> None:
        queue.taken(transaction.events)
        queue.transaction = None
        if transaction.stored_edus:
            try:
                await self._database.write(destination_edus.delete, queue.name, transaction.stored_edus[-1].nid)
            except Unavailable:
                # They go out once more; who gets them knows them by their IDs.
                queue.has_stored_edus = True
                raise

    def _complain(self, name: str, answer: Any) -> None:
        """Say once of a server that it did not take an event."""
        pdus = answer.get("pdus") if isinstance(answer, Mapping) else None
        errors = [
            (event_id, result["error"])
            for event_id, result in (pdus.items() if isinstance(pdus, Mapping) else ())
            if isinstance(result, Mapping) and result.get("error")
        ]
        if errors and name not in self._complained:
            self._complained[name] = None
            if len(self._complained) > _MAX_COMPLAINTS:
                del self._complained[next(iter(self._complained))]
            event_id, error = errors[0]
            logger.warning(
                "%s did not take %d events (this is said once): %.100r: %.300r", name, len(errors), event_id, error
            )

    def _not_taken(self, queue: DestinationQueue, error: RemoteError, standing: Standing) -> None:
        if error.kind in (FailureKind.BACKING_OFF, FailureKind.BUSY):
            queue.not_before_ms = self._clock.now_ms() + _RETRY_DELAY_MS
            return
        self.counts.failures += 1
        if standing is Standing.ANSWERS and error.kind in (FailureKind.TIMEOUT, FailureKind.CONNECT, FailureKind.DNS):
            self._slots.stopped_answering()
        was_dead = self._reachability.is_dead(queue.name)
        self._reachability.refused(queue.name, error)
        if error.kind is FailureKind.HTTP and error.status in (400, 413, 422):
            self._content_refused(queue, error)
        if self._reachability.is_dead(queue.name):
            if not was_dead:
                logger.info("what goes to %s waits on disk: %s", queue.name, error)
            queue.defer()

    def _content_refused(self, queue: DestinationQueue, error: RemoteError) -> None:
        """One thing in a transaction must not hold back the rest for ever: it goes apart, and is dropped in the end."""
        queue.refusals += 1
        transaction = queue.transaction
        if queue.refusals < _MAX_REFUSALS or transaction is None:
            return
        queue.refusals = 0
        if transaction.size > 1:
            queue.alone_left = transaction.size
            queue.has_stored_edus = queue.has_stored_edus or bool(transaction.stored_edus)
            queue.transaction = None
            return
        logger.warning("%s refuses %s for good: %s", queue.name, _named(transaction), error)
        queue.alone_left = max(0, queue.alone_left - 1)
        in_background("dropping what a server refuses", self._done_with(queue, transaction))

    # Writing down how far everybody is

    def _write_soon(self) -> None:
        if self._is_running:
            self._write_alarm.set(self._timer.seconds() + _WRITE_DELAY_S)

    def _begin_write(self) -> None:
        in_background("writing down what was sent", self._write_or_wait())

    async def _write_or_wait(self) -> None:
        try:
            await self.write()
        except Unavailable as error:
            logger.warning("how far other servers are is not written down yet: %s", error)
            self._write_soon()

    async def write(self) -> None:
        """Write what has changed; it happens by itself a second after something was sent. Raises Unavailable."""
        await self._progress.write(list(self._queues.values()))
        for queue in list(self._queues.values()):
            if not queue.has_work:
                self._schedule(queue)


def _cancel(works: Iterable[Deferred[object]]) -> None:
    for work in works:
        work.cancel()


def _named(transaction: OutgoingTransaction) -> str:
    if transaction.events:
        return f"the event {transaction.events[0].event_id}"
    edus = transaction.stored_edus or transaction.ephemeral_edus
    return f"an EDU of type {edus[0].type}"


def _stored(tx: Transaction) -> tuple[int | None, list[Behind], list[str]]:
    """What the last process left: the floor, who is behind, and for whom EDUs wait."""
    return destinations.floor(tx), destinations.behind(tx), destination_edus.destinations(tx)
