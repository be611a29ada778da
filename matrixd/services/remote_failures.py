"""What a client is told when another server was asked for it, and did not help."""

from matrixd.core.errors import MatrixError
from matrixd.net.errors import FailureKind, RemoteError

#: For servers that do not say when to come again.
_RETRY_AFTER_MS = 5_000
_NO_ANSWER = {
    FailureKind.TIMEOUT: 504,
    FailureKind.BUSY: 503,
}


def told(error: RemoteError, what: str) -> MatrixError:
    """The error for a client who wanted `what` ("the alias #a:b"): 403, 404, 429, 502, 503 or 504."""
    server = error.destination
    if error.kind is FailureKind.OVERLOADED:
        wait = _RETRY_AFTER_MS if error.retry_after_ms is None else error.retry_after_ms
        sentence = f"{server} is asked for too much at the moment."
        return MatrixError(429, "M_LIMIT_EXCEEDED", sentence, retry_after_ms=wait)
    if error.kind is FailureKind.DENIED:
        return MatrixError(403, "M_FORBIDDEN", f"This server does not talk to {server}.")
    # A server that does not know the request at all answers 404 too, but then says nothing of what was wanted.
    if error.status == 404 and error.errcode != "M_UNRECOGNIZED":
        return MatrixError(404, "M_NOT_FOUND", f"{server} does not know {what}.")
    if error.status == 403:
        return MatrixError(403, "M_FORBIDDEN", f"{server} does not tell of {what}: {error.error}")
    if error.kind is FailureKind.HTTP:
        return MatrixError(502, "M_UNKNOWN", f"{server} did not tell of {what}: {error.error}")
    status = _NO_ANSWER.get(error.kind, 502)
    return MatrixError(status, "M_UNKNOWN", f"{server} cannot be asked for {what} ({error.kind.value}).")
