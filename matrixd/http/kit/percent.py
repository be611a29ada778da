"""Percent-encoding: the paths and query strings of requests (RFC 3986; forms' `+` in the latter)."""

import re
from urllib.parse import unquote_to_bytes

from matrixd.core.errors import MatrixError

#: Further query parameters are refused.
MAX_ARGUMENTS = 256

_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SHOWN = 40


def decode(text: bytes) -> bytes:
    """The bytes behind percent-encoding. Raises ValueError for a `%` without its two digits."""
    if b"%" not in text:
        return text
    if _BROKEN.search(text):
        raise ValueError("'%' must be followed by two hexadecimal digits")
    return unquote_to_bytes(text)


def parse_query(query: bytes) -> dict[bytes, list[bytes]]:
    """The parameters of a query string or form, each with all its values in order. Raises M_INVALID_PARAM."""
    if not query:
        return {}
    if query.count(b"&") >= MAX_ARGUMENTS:
        raise MatrixError(400, "M_INVALID_PARAM", f"There are more than {MAX_ARGUMENTS} query parameters.")
    arguments: dict[bytes, list[bytes]] = {}
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            try:
                arguments.setdefault(decode(name.replace(b"+", b" ")), []).append(decode(value.replace(b"+", b" ")))
            except ValueError as error:
                shown = name[:_SHOWN].decode("ascii", "replace")
                raise MatrixError(400, "M_INVALID_PARAM", f"Query parameter '{shown}': {error}.") from None
    return arguments
