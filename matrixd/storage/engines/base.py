"""What `Database` asks of an engine: connections, transactions, and a word on what an error means."""

import enum
from collections.abc import Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]
Params = Sequence[Any]


class Unavailable(Exception):
    """The database cannot be used at the moment (restart, lock, full disk): the same work may be tried again."""


class Mode(enum.Enum):
    """What a connection is for."""

    READ = "read"
    #: A tool beside the running master: writes tables that have no counter.
    WRITE = "write"
    #: The one writer of events, state and positions; there is one such connection to a database.
    MASTER = "master"


class Connection(Protocol):
    """One connection, used by one thread at a time."""

    def begin(self, write: bool) -> None: ...
    def commit(self) -> None:
        """Raises a transient error (`is_transient`) when it is not known whether the commit was made."""

    def rollback(self) -> None: ...
    def close(self) -> None: ...
    def execute(self, sql: str, params: Params) -> int:
        """Run one statement with `?` placeholders; the number of rows that it touched."""

    def fetch(self, sql: str, params: Params) -> list[Row]: ...
    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Row], suffix: str) -> None: ...
    def among(self, column: str, values: Sequence[Any]) -> tuple[str, Any]:
        """A condition that `column` is one of `values`, and the one parameter that it takes."""

    def script(self, sql: str) -> None:
        """Run the statements of one migration inside the open transaction."""

    def is_transient(self, error: BaseException) -> bool:
        """Whether the same work may succeed when it is tried again on a new connection."""


class Engine(Protocol):
    """Opens connections to one database."""

    name: str
    #: What its driver's exceptions have in common.
    error: type[Exception]

    def connect(self, mode: "Mode") -> Connection:
        """Open a connection; raises `Claimed` for `Mode.MASTER` while another process has that one."""

    def release(self) -> None:
        """Let others have `Mode.MASTER`, when its connection is closed for good."""


class Claimed(Exception):
    """Another master already writes to this database."""
