"""An event on its way to other servers: encoded once, whoever is to get it."""

from matrixd.core import canonical_json
from matrixd.core.event import Event


class HeldBytes:
    """How much all waiting events hold in memory together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def is_full(self) -> bool:
        """Whether no more should be kept in memory."""
        return self.used >= self.limit


class OutgoingEvent:
    """An event with its federation form in canonical JSON, shared by all queues that hold it."""

    __slots__ = ("_held", "_holders", "encoded", "event_id", "pos", "room_nid")

    def __init__(self, pos: int, room_nid: int, event: Event, held: HeldBytes) -> None:
        self.pos = pos
        self.room_nid = room_nid
        self.event_id = event.event_id
        self.encoded = canonical_json.encode(event.pdu)
        self._held = held
        self._holders = 0

    def hold(self) -> None:
        """One more queue has it."""
        if not self._holders:
            self._held.used += len(self.encoded)
        self._holders += 1

    def release(self) -> None:
        """The counterpart of `hold`."""
        self._holders -= 1
        if not self._holders:
            self._held.used -= len(self.encoded)
