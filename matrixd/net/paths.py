"""Paths and query strings of requests to other servers."""

from collections.abc import Sequence
from urllib.parse import quote, urlencode


def path_of(template: str, *segments: str) -> str:
    """The path with each `{}` replaced by a segment, percent-encoded as a whole.

    `path_of("/_matrix/federation/v1/event/{}", event_id)`. A segment `.` or `..` can't be encoded (RFC 3986, section
    5.2.4, removes it on the way), so it raises ValueError, as does a wrong number of segments.
    """
    if template.count("{}") != len(segments):
        raise ValueError(f"{template} takes {template.count('{}')} segments, not {len(segments)}")
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError(f"a segment of {template} would vanish from the path")
    return template.format(*(quote(segment, safe="") for segment in segments))


def target_of(path: str, query: Sequence[tuple[str, str]]) -> str:
    """The request target: the path and, if there is one, the query; what an X-Matrix signature covers as `uri`."""
    return f"{path}?{urlencode(query, quote_via=quote, safe='')}" if query else path
