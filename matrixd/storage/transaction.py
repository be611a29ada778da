"""What a store function gets: one open transaction."""

from collections.abc import Hashable, Sequence
from typing import Any

from matrixd.storage.engines.base import Connection, Params, Row


class Counters:
    """The values of `counters`, as committed; only the writer thread changes them."""

    def __init__(self) -> None:
        self.committed: dict[str, int] = {}


class Transaction:
    """One transaction on one connection.

    Statements take `?` placeholders on both engines. What a function does outside this object must be safe to do twice:
    the writer runs a function again when another in the same commit failed.
    """

    def __init__(
        self, connection: Connection, counters: Counters | None = None, memo: dict[Hashable, Any] | None = None
    ) -> None:
        self._connection = connection
        self._counters = counters
        self._memo = memo
        self.advanced: dict[str, int] = {}
        self.announced: list[object] = []
        self.learned: dict[Hashable, Any] = {}
        #: Whether a statement may have changed something.
        self.has_written = False

    def execute(self, sql: str, params: Params = ()) -> int:
        """Run one statement; the number of rows that it touched."""
        touched = self._connection.execute(sql, params)
        self.has_written = self.has_written or touched != 0
        return touched

    def one(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, if any."""
        rows = self._connection.fetch(sql, params)
        return rows[0] if rows else None

    def all(self, sql: str, params: Params = ()) -> list[Row]:
        """All rows."""
        return self._connection.fetch(sql, params)

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Row], suffix: str = "") -> None:
        """Insert all `rows` with as few round trips as the engine allows; `suffix` is an ON CONFLICT clause."""
        if rows:
            self.has_written = True
            self._connection.insert_many(table, columns, rows, suffix)

    def among(self, column: str, values: Sequence[Any]) -> tuple[str, Any]:
        """A condition that `column` is one of `values`, and the single parameter that it takes."""
        return self._connection.among(column, values)

    def next_id(self, counter: str, count: int = 1) -> int:
        """Take `count` numbers from a counter; the first of them. They are given back if the transaction fails."""
        assert self._counters is not None, "a reader cannot take numbers"
        last = self.advanced.get(counter)
        if last is None:
            last = self._counters.committed.get(counter, 0)
        self.advanced[counter] = last + count
        return last + 1

    def announce(self, row: object) -> None:
        """Hand `row` to the feed after the commit, in the order of announcing."""
        self.announced.append(row)

    def recall(self, key: Hashable) -> Any:
        """What `learn` has kept under `key` in this or a committed transaction of the writer, else None."""
        value = self.learned.get(key)
        if value is None and self._memo is not None:
            value = self._memo.get(key)
        return value

    def learn(self, key: Hashable, value: Any) -> None:
        """Keep a fact that never changes once committed (an id's number) for later transactions of the writer."""
        self.learned[key] = value
