"""The token from which a client wants news."""

from matrixd.core.errors import MatrixError
from matrixd.core.streams import Stream, StreamToken
from matrixd.http.kit.call import Call

#: The streams whose positions outlive the process.
_STORED = (Stream.EVENTS, Stream.RECEIPTS, Stream.ACCOUNT_DATA, Stream.PUSH_RULES)


def sync_token(call: Call, name: str, now: StreamToken) -> StreamToken | None:
    """The query parameter `name`, None if absent; raises M_INVALID_PARAM for none of ours, or one later than `now`."""
    text = call.query(name)
    if not text:
        return None
    token = StreamToken.parse(text, name)
    if any(token[stream] > now[stream] for stream in _STORED):
        raise MatrixError(400, "M_INVALID_PARAM", f"Query parameter '{name}' is a token from the future.")
    return token
