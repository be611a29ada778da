"""What goes back to a client, ready to be written; errors in the standard form."""

from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from matrixd.core.errors import EventTooLarge, InvalidEvent, MatrixError, NotCanonical, RuleViolation
from matrixd.http.kit.call import Answer

Headers = tuple[tuple[bytes, bytes], ...]

#: For every answer (client-server API, "Web Browser Clients").
CORS: Headers = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Allow-Methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (b"Access-Control-Allow-Headers", b"X-Requested-With, Content-Type, Authorization"),
)
#: The headers of nearly every answer: whoever writes them may recognise this very tuple.
JSON: Headers = (*CORS, (b"Content-Type", b"application/json"))


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it is written. `headers` do not include those that belong to the connection."""

    status: int
    headers: Headers
    body: bytes


#: The answer to every OPTIONS; a browser need not ask again for a day.
PREFLIGHT = Response(204, (*CORS, (b"Access-Control-Max-Age", b"86400")), b"")


def limit_exceeded(wait_seconds: float) -> MatrixError:
    """M_LIMIT_EXCEEDED; the `Retry-After` header is made from its `retry_after_ms`."""
    return MatrixError(429, "M_LIMIT_EXCEEDED", "Too many requests.", retry_after_ms=int(wait_seconds * 1000) + 1)


def too_large(limit: int) -> MatrixError:
    """The refusal of a body over `limit` bytes."""
    return MatrixError(413, "M_TOO_LARGE", f"The body must not be larger than {limit} bytes.")


def of_rule(violation: RuleViolation) -> MatrixError:
    """What a client is told whose event, or other signed object, breaks a rule."""
    match violation:
        case EventTooLarge():
            return MatrixError(413, "M_TOO_LARGE", str(violation))
        case InvalidEvent() | NotCanonical():
            return MatrixError(400, "M_BAD_JSON", str(violation))
    return MatrixError(403, "M_FORBIDDEN", str(violation))


def success(answer: object) -> Response:
    """What an endpoint returned: an `Answer`, or the body of a 200 with JSON."""
    if not isinstance(answer, Answer):
        return Response(200, JSON, _encode(answer))
    if answer.content_type == b"application/json" and not answer.headers:
        return Response(answer.status, JSON, _encode(answer.body))
    headers = (*CORS, (b"Content-Type", answer.content_type), *answer.headers.items())
    if any(b"\r" in value or b"\n" in value for _, value in headers):
        raise ValueError("a header of the answer has a line break")
    return Response(answer.status, headers, _encode(answer.body))


def failure(error: MatrixError, headers: Headers = ()) -> Response:
    """An error in the standard form (client-server API, "Standard error response")."""
    body = error.body()
    retry_after_ms = body.get("retry_after_ms")
    if isinstance(retry_after_ms, int):
        headers = (*headers, (b"Retry-After", b"%d" % -(-retry_after_ms // 1000)))
    return Response(error.status, (*JSON, *headers) if headers else JSON, orjson.dumps(body))


def _encode(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, dict | list):
        return orjson.dumps(body, default=_to_builtins)
    return msgspec.json.encode(body)


def _to_builtins(value: object) -> Any:
    return msgspec.to_builtins(value)
