"""Putting together the next transaction for a server: what waits in memory, what it missed, and EDUs."""

from collections.abc import Awaitable, Callable

from matrixd.services.sending_out.catch_up import CatchUp
from matrixd.services.sending_out.destination_queue import DestinationQueue
from matrixd.services.sending_out.dispatch import Dispatch
from matrixd.services.sending_out.ephemeral_edus import Edu
from matrixd.services.sending_out.outgoing_event import HeldBytes, OutgoingEvent
from matrixd.services.sending_out.outgoing_transaction import MAX_BYTES, MAX_EDUS, OutgoingTransaction
from matrixd.storage import destination_edus
from matrixd.storage.database import Database
from matrixd.storage.destination_edus import StoredEdu
from matrixd.storage.engines.base import Unavailable
from matrixd.util.clock import Clock

#: Stored EDUs in one transaction: room is left for those of the moment.
_MAX_STORED_EDUS = 80


class Composer:
    """Makes transactions. `write_progress` writes down which rooms have newer events; a server's catch-up reads it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        dispatch: Dispatch,
        held: HeldBytes,
        write_progress: Callable[[], Awaitable[None]],
        new_txn_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._clock = clock
        self._dispatch = dispatch
        self._held = held
        self._write_progress = write_progress
        self._new_txn_id = new_txn_id

    async def compose(self, queue: DestinationQueue) -> OutgoingTransaction | None:
        """A server's next transaction, None if nothing waits for it. Raises Unavailable.

        The events stay in the queue until they are taken; ephemeral EDUs do not.
        """
        await self._catch_up(queue)
        events = queue.next_events()
        room = MAX_BYTES - sum(len(event.encoded) for event in events)
        if queue.alone_left and events:
            return self._made(events, [], [])
        stored = await self._stored_edus(queue, room)
        if queue.alone_left and stored:
            return self._made([], stored, [])
        room -= sum(len(edu.json) for edu in stored)
        ephemeral = queue.ephemeral.take(1 if queue.alone_left else MAX_EDUS - len(stored), room)
        if not events and not stored and not ephemeral:
            return None
        return self._made(events, stored, ephemeral)

    def _made(self, events: list[OutgoingEvent], stored: list[StoredEdu], ephemeral: list[Edu]) -> OutgoingTransaction:
        return OutgoingTransaction(self._new_txn_id(), self._clock.now_ms(), events, stored, ephemeral)

    async def _catch_up(self, queue: DestinationQueue) -> None:
        """Load what the queue's server missed, if it is time for that."""
        while True:
            if queue.catch_up is None:
                if queue.window or queue.overflow is None:
                    return
                await self._begin_catch_up(queue, queue.overflow)
            elif queue.catch_up.ready:
                return
            else:
                await queue.catch_up.advance(self._database)
                if queue.catch_up.ready:
                    return
                queue.catch_up = None

    async def _begin_catch_up(self, queue: DestinationQueue, after: int) -> None:
        await self._write_progress()
        # Between these lines nothing is awaited: what is dispatched from here on goes into the window.
        queue.catch_up = CatchUp(queue.name, after, self._dispatch.position, self._dispatch.is_local, self._held)
        queue.overflow = None

    async def _stored_edus(self, queue: DestinationQueue, room: int) -> list[StoredEdu]:
        if not queue.has_stored_edus or room <= 0:
            return []
        limit = 1 if queue.alone_left else _MAX_STORED_EDUS
        # Before it is read: what is stored meanwhile sets it again.
        queue.has_stored_edus = False
        try:
            found = await self._database.read(destination_edus.first, queue.name, limit)
        except Unavailable:
            queue.has_stored_edus = True
            raise
        fitting: list[StoredEdu] = []
        for edu in found:
            room -= len(edu.json)
            if fitting and room < 0:
                break
            fitting.append(edu)
        if len(fitting) == limit or len(fitting) < len(found):
            queue.has_stored_edus = True
        return fitting
