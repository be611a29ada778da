"""The newest rows of a stream in memory, so that an incremental sync that is nearly up to date reads no database."""

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Positioned(Protocol):
    """A row of a stream."""

    @property
    def pos(self) -> int: ...


R = TypeVar("R", bound=Positioned)


class Recent(Generic[R]):
    """The newest rows of a stream by a key (a room's or a user's number).

    At most `max_rows` rows, and at most `max_bytes` by the sizes that `size` gives them; the oldest goes first.
    """

    def __init__(
        self, begin: int, key: Callable[[R], int], size: Callable[[R], int], max_rows: int, max_bytes: int
    ) -> None:
        #: Every row after this position is here.
        self.begin = begin
        self._key = key
        self._size = size
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._rows: deque[tuple[R, int]] = deque()
        self._by_key: dict[int, deque[R]] = {}
        self._bytes = 0

    def add(self, row: R) -> None:
        """Take the stream's next row."""
        size = self._size(row)
        self._rows.append((row, size))
        self._by_key.setdefault(self._key(row), deque()).append(row)
        self._bytes += size
        while self._rows and (len(self._rows) > self._max_rows or self._bytes > self._max_bytes):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        row, size = self._rows.popleft()
        self._bytes -= size
        self.begin = row.pos
        rows = self._by_key[self._key(row)]
        rows.popleft()
        if not rows:
            del self._by_key[self._key(row)]

    def after(self, key: int, position: int) -> list[R] | None:
        """The rows of a key after a position, oldest first; None if memory does not reach back to it."""
        if position < self.begin:
            return None
        rows = self._by_key.get(key)
        if rows is None or rows[-1].pos <= position:
            return []
        return [row for row in rows if row.pos > position]
