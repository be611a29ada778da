"""The head of an HTTP/1.1 request: its first line and its headers, read strictly.

What a reverse proxy might read in another way is refused and not guessed (RFC 9112): line breaks other than CR LF,
folded lines, blanks before a colon, two lengths. So nobody can smuggle a second request past a proxy.
"""

import re
from dataclasses import dataclass

#: Request line and headers together, in bytes.
MAX_HEAD = 32 * 1024
#: The request target, in bytes.
MAX_TARGET = 16 * 1024
MAX_HEADERS = 100

_HEAD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
)
_OTHER_VERSION = re.compile(rb"[A-Z]+ \S+ HTTP/(?!1\.[01]\r)[0-9.]+\r\n")
_LENGTH = re.compile(rb"[0-9]{1,15}")
#: Headers of which there must be one only: two of them would mean different things to different readers.
_SINGLE = frozenset({b"content-length", b"transfer-encoding", b"authorization", b"host", b"content-type"})


class BadHead(Exception):
    """The head is refused with `status`; `str(e)` is a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Head:
    """A parsed head. Names of headers are in lower case; those that came several times are joined by commas."""

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    is_http_1_1: bool
    #: The body's length in bytes; None if it comes in chunks.
    length: int | None
    keep_alive: bool

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits to be told to send the body (RFC 9110, section 10.1.1)."""
        return self.is_http_1_1 and self.headers.get(b"expect", b"").lower() == b"100-continue"


def parse(data: bytes) -> Head:
    """The head at the start of `data`, which includes its empty line. Raises `BadHead`."""
    match = _HEAD.match(data)
    if match is None:
        if _OTHER_VERSION.match(data):
            raise BadHead(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        raise BadHead(400, "The request is not valid HTTP.")
    method, target, minor, lines = match.groups()
    if len(target) > MAX_TARGET:
        raise BadHead(414, f"The URL is over {MAX_TARGET} bytes long.")
    headers = _headers(lines)
    is_http_1_1 = minor == b"1"
    path, _, query = _origin_form(method, target).partition(b"?")
    return Head(method, path, query, headers, is_http_1_1, _length(headers, is_http_1_1), _keeps(headers, is_http_1_1))


def _headers(lines: bytes) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    split = lines.split(b"\r\n")
    if len(split) > MAX_HEADERS + 1:
        raise BadHead(431, f"There are more than {MAX_HEADERS} headers.")
    for line in split[:-1]:
        name, _, value = line.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        if name not in headers:
            headers[name] = value
        elif name not in _SINGLE:
            headers[name] += b", " + value
        else:
            raise BadHead(400, f"The header {name.decode()} is there more than once.")
    return headers


def _origin_form(method: bytes, target: bytes) -> bytes:
    """The path and query: a proxy may send the whole URL (RFC 9112, section 3.2)."""
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise BadHead(400, "The request target must be a path.")
    return b"/" + rest.partition(b"/")[2]


def _length(headers: dict[bytes, bytes], is_http_1_1: bool) -> int | None:
    length = headers.get(b"content-length")
    encoding = headers.get(b"transfer-encoding")
    if encoding is not None:
        if length is not None or not is_http_1_1:
            raise BadHead(400, "Transfer-Encoding must not be used here.")
        if encoding.lower() != b"chunked":
            raise BadHead(501, "The only transfer encoding is 'chunked'.")
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise BadHead(400, "Content-Length must be a number.")
    return int(length)


def _keeps(headers: dict[bytes, bytes], is_http_1_1: bool) -> bool:
    """Whether the connection goes on after the answer."""
    connection = headers.get(b"connection")
    if connection is None:
        return is_http_1_1
    options = {option.strip() for option in connection.lower().split(b",")}
    return b"close" not in options if is_http_1_1 else b"keep-alive" in options
