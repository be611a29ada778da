"""An answer as bytes: the status line, the headers, the body (RFC 9112)."""

from twisted.web.http import RESPONSES

from matrixd.http.kit import response
from matrixd.http.kit.head import Head
from matrixd.http.kit.response import Headers, Response


def encode(answer: Response, date: bytes, head: Head | None, keep_alive: bool) -> bytes:
    """The bytes of an answer. `date` is its header line. `head` is the request's, None if it could not be read."""
    status, body = answer.status, answer.body
    parts = [
        _STATUS_LINES[status],
        _JSON_BLOCK if answer.headers is response.JSON else _block(answer.headers),
        date,
        b"Content-Length: %d\r\n" % len(body) if status not in _WITHOUT_BODY else b"",
        _end(head, keep_alive),
    ]
    if status not in _WITHOUT_BODY and (head is None or head.method != b"HEAD"):
        parts.append(body)
    return b"".join(parts)


def _block(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _end(head: Head | None, keep_alive: bool) -> bytes:
    """The last header, if one is needed, and the end of the head."""
    if not keep_alive:
        return b"Connection: close\r\n\r\n"
    return b"\r\n" if head is None or head.is_http_1_1 else b"Connection: keep-alive\r\n\r\n"


_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, RESPONSES.get(status, b"")) for status in range(200, 600)}
_WITHOUT_BODY = frozenset({204, 304})
_JSON_BLOCK = _block(response.JSON)
