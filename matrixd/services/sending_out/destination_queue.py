"""What waits for one other server.

Events come from three places, in this order: what it missed earlier (`catch_up`), the window of events that are kept in
memory, and, when the window was full or the server out of reach, the table of events beyond `overflow`.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from matrixd.services.sending_out.catch_up import CatchUp
from matrixd.services.sending_out.ephemeral_edus import EphemeralEdus
from matrixd.services.sending_out.outgoing_event import OutgoingEvent
from matrixd.services.sending_out.outgoing_transaction import MAX_BYTES, MAX_PDUS, OutgoingTransaction

#: Events of one server that are kept in memory; what comes then is read from the database later.
MAX_WINDOW = 250


class DestinationQueue:
    """The part of one server's queue that is in memory."""

    __slots__ = (
        "alone_left", "catch_up", "edus_from_ms", "ephemeral", "farewells", "has_stored_edus", "in_flight", "name",
        "not_before_ms", "overflow", "refusals", "row_acked_pos", "transaction", "window",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.catch_up: CatchUp | None = None
        self.window: deque[OutgoingEvent] = deque()
        #: Events after this position are to be read from the database; None if all others are in the window.
        self.overflow: int | None = None
        self.ephemeral = EphemeralEdus()
        #: Something may wait in `destination_edus`.
        self.has_stored_edus = False
        #: What was sent and not yet taken.
        self.transaction: OutgoingTransaction | None = None
        #: Somebody prepares or sends a transaction.
        self.in_flight = False
        #: Nothing is sent before this time, in milliseconds since the epoch.
        self.not_before_ms = 0
        #: Ephemeral EDUs alone are not sent before this time.
        self.edus_from_ms = 0
        #: Room -> position of the event that tells the server that it is in the room no more.
        self.farewells: dict[int, int] = {}
        #: What the database says of it; None: it lacks nothing.
        self.row_acked_pos: int | None = None
        #: How often the same transaction was refused for what is in it.
        self.refusals = 0
        #: So many transactions have one PDU or one EDU each, to find out which one is refused.
        self.alone_left = 0

    @property
    def has_events(self) -> bool:
        """Whether there are, or may be, events to send."""
        return bool(self.window) or self.catch_up is not None or self.overflow is not None

    @property
    def earliest_ms(self) -> int:
        """Before this time nothing is to be sent, in milliseconds since the epoch."""
        has_more = self.transaction is not None or self.has_events or self.has_stored_edus
        return self.not_before_ms if has_more else max(self.not_before_ms, self.edus_from_ms)

    @property
    def has_work(self) -> bool:
        """Whether there is something to send."""
        return self.transaction is not None or self.has_events or self.has_stored_edus or len(self.ephemeral) > 0

    @property
    def acked_pos(self) -> int | None:
        """Up to here it needs nothing more; None: it has everything."""
        if self.catch_up is not None:
            return self.catch_up.acked
        if self.window:
            return self.window[0].pos - 1
        return self.overflow

    def offer(self, event: OutgoingEvent, *, is_farewell: bool, memory_is_full: bool) -> None:
        """An event that it is to get: into the window, or left to the database."""
        if is_farewell:
            self.farewells[event.room_nid] = event.pos
        if self.overflow is not None:
            return
        if len(self.window) >= MAX_WINDOW or memory_is_full:
            self.overflow = event.pos - 1
            return
        event.hold()
        self.window.append(event)

    def next_events(self) -> list[OutgoingEvent]:
        """The events that the next transaction takes; they stay here until `taken`."""
        source = self.window if self.catch_up is None else self.catch_up.ready
        found: list[OutgoingEvent] = []
        size = 0
        for event in islice(source, 1 if self.alone_left else MAX_PDUS):
            size += len(event.encoded)
            if found and size > MAX_BYTES:
                break
            found.append(event)
        return found

    def taken(self, events: Sequence[OutgoingEvent]) -> None:
        """The other server has these, the first ones, or refuses them for good."""
        if self.catch_up is not None:
            self.catch_up.sent(len(events))
            return
        for _ in events:
            self.window.popleft().release()

    def defer(self) -> None:
        """Leave everything to the database; what is in memory only and ages is dropped."""
        self.overflow = self.acked_pos
        if self.catch_up is not None:
            self.catch_up.drop()
            self.catch_up = None
        while self.window:
            self.window.popleft().release()
        if self.transaction is not None and self.transaction.stored_edus:
            self.has_stored_edus = True
        self.transaction = None
        self.ephemeral.drop_what_ages()
