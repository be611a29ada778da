"""The log of servers that do not answer: a line when that begins, and one when it ends."""

import logging

from matrixd.net.errors import FailureKind, RemoteError

logger = logging.getLogger(__name__)

#: Servers of which it is known that they were logged; beyond it the one that failed first may be logged again.
_MAX_SERVERS = 20_000
_NO_OUTAGE = frozenset(
    {FailureKind.DENIED, FailureKind.BACKING_OFF, FailureKind.BUSY, FailureKind.OVERLOADED, FailureKind.TOO_LARGE}
)


class Outages:
    """Tells the log of each outage once, however many requests fail in it."""

    def __init__(self) -> None:
        self._servers: dict[str, None] = {}

    def failed(self, error: RemoteError) -> None:
        """A request failed. What the other server refuses, with a status below 500, is no outage."""
        is_refusal = error.kind is FailureKind.HTTP and (error.status or 0) < 500
        if error.kind in _NO_OUTAGE or is_refusal or error.destination in self._servers:
            return
        if len(self._servers) >= _MAX_SERVERS:
            del self._servers[next(iter(self._servers))]
        self._servers[error.destination] = None
        logger.info("%s does not answer: %s", error.destination, error.error)

    def answered(self, destination: str) -> None:
        """A request succeeded."""
        if destination in self._servers:
            del self._servers[destination]
            logger.info("%s answers again", destination)
