"""The newest end of every stream, as this process has seen it.

In the master the feed is fed by the database's commits and by the services of what is not stored (typing, presence);
in a worker by replication. Whoever keeps something in memory subscribes to the rows that change it, and is told before
any reader can see the position.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from matrixd.core.streams import Stream, StreamToken
from matrixd.storage import rows

R = TypeVar("R")

_STREAM_OF: Mapping[type, Stream] = {
    rows.EventRow: Stream.EVENTS,
    rows.RoomFilled: Stream.EVENTS,
    rows.ReceiptRow: Stream.RECEIPTS,
    rows.AccountDataRow: Stream.ACCOUNT_DATA,
    rows.PushRulesRow: Stream.PUSH_RULES,
    rows.TypingRow: Stream.TYPING,
    rows.PresenceRow: Stream.PRESENCE,
    rows.ToDeviceRow: Stream.TO_DEVICE,
    rows.DeviceListRow: Stream.DEVICE_LISTS,
}


class Feed:
    """Hands rows to their subscribers and knows the position of each stream.

    `positions` are the committed positions at start.
    """

    def __init__(self, positions: Mapping[Stream, int]) -> None:
        self.token = StreamToken.of(dict(positions))
        self._subscribers: defaultdict[type, list[Callable[[Any], None]]] = defaultdict(list)
        self._after: list[Callable[[Sequence[object]], None]] = []

    def subscribe(self, row_type: type[R], callback: Callable[[R], None]) -> None:
        """Call `callback` with each row of a type, in order."""
        self._subscribers[row_type].append(callback)

    def after_batch(self, callback: Callable[[Sequence[object]], None]) -> None:
        """Call `callback` with the rows of one commit when all subscribers have had them and `token` includes them."""
        self._after.append(callback)

    def append(self, batch: Sequence[object]) -> None:
        """Take the rows of one commit."""
        newest: dict[Stream, int] = {}
        for row in batch:
            row_type = type(row)
            stream = _STREAM_OF.get(row_type)
            if stream is not None:
                newest[stream] = row.pos  # type: ignore[attr-defined]
            for callback in self._subscribers[row_type]:
                callback(row)
        token = self.token
        for stream, position in newest.items():
            token = token.advance(stream, position)
        self.token = token
        for after in self._after:
            after(batch)

    def next_position(self, stream: Stream) -> int:
        """The position of the next row of a stream that is not stored."""
        return self.token[stream] + 1
