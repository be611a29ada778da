"""What the database's threads share: a function that waits to be run, and a connection that is opened again."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred

from matrixd.storage.engines.base import Claimed, Connection, Engine, Mode, Unavailable
from matrixd.storage.transaction import Transaction

logger = logging.getLogger(__name__)

#: How long work may wait, from its submission, while the database is away, before its caller is told; in seconds.
PATIENCE = 8.0
_RETRY_DELAYS = (0.05, 0.1, 0.2, 0.5, 1.0)


def retry_delay(attempt: int) -> float:
    """How many seconds to wait after the failed attempt number `attempt`, which counts from 0."""
    return _RETRY_DELAYS[min(attempt, len(_RETRY_DELAYS) - 1)]


@dataclass(slots=True, eq=False)
class Work:
    """A function that waits to be run in a transaction, and its caller."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    waiting: "Deferred[Any]" = field(default_factory=Deferred)
    result: Any = None
    error: BaseException | None = None
    #: On the clock of `time.monotonic`.
    deadline: float = field(default_factory=lambda: time.monotonic() + PATIENCE)
    #: The caller has had its answer, or will have it whatever happens.
    is_over: bool = False

    def run(self, transaction: Transaction) -> None:
        """Run the function; raises what it raises."""
        self.result = self.function(transaction, *self.args, **self.kwargs)
        self.error = None

    def finish(self) -> None:
        """Tell the caller; in the reactor's thread."""
        if self.error is None:
            self.waiting.callback(self.result)
        else:
            self.waiting.errback(self.error)


def finish(works: Sequence[Work]) -> None:
    """Tell the callers; in the reactor's thread."""
    for work in works:
        work.finish()


def sentence(error: BaseException) -> str:
    """An error in one line: libpq's have several."""
    return " ".join(str(error).split()) or type(error).__name__


def unavailable(reason: BaseException) -> Unavailable:
    """What callers are told when the database stays away."""
    return Unavailable(f"the database is not available: {sentence(reason)}")


class ConnectionHolder:
    """A connection that is opened again when it broke."""

    def __init__(self, engine: Engine, mode: Mode) -> None:
        self._engine = engine
        self._mode = mode
        self._connection: Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, which may be broken nevertheless."""
        return self._connection is not None

    def get(self) -> Connection:
        """The connection. Raises what the engine raises when it cannot be opened."""
        if self._connection is None:
            self._connection = self._engine.connect(self._mode)
        return self._connection

    def drop(self) -> None:
        """Close the connection; what it had not committed is rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:  # a broken connection may fail to close; it is gone either way
                logger.debug("closing a broken connection: %s", error)

    def recover(self, error: BaseException) -> bool:
        """Clean up after `error`; whether it was the database's and not the function's."""
        connection = self._connection
        if connection is None or isinstance(error, (Claimed, Unavailable)) or connection.is_transient(error):
            self.drop()
            return True
        try:
            connection.rollback()
        except Exception as broken:
            logger.debug("rolling back: %s", broken)
            self.drop()
            return connection.is_transient(broken)
        return False
