"""What the answer to a request to another server says: its JSON, or why there is none."""

import email.utils
import re
from collections.abc import Mapping
from typing import Any

from matrixd.core import canonical_json
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.http_connection import Answer

_MAX_ERRCODE, _MAX_ERROR = 100, 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DAY_MS = 24 * 60 * 60 * 1000


def content_of(destination: str, answer: Answer) -> Any:
    """The JSON of a 2xx answer; integers of any size stay integers. Raises RemoteError(BAD_ANSWER)."""
    kind = answer.header(b"content-type")
    # "Servers must include a Content-Type header of application/json for all JSON responses": what calls itself
    # something else may be a user's file; to leave it away is a sin that hides nothing.
    if kind is not None and kind.partition(";")[0].strip().lower() != "application/json":
        raise RemoteError(
            destination,
            FailureKind.BAD_ANSWER,
            f"the answer is {_printable(kind, _MAX_ERRCODE)}, not application/json",
            status=answer.status,
        )
    try:
        return canonical_json.decode(answer.body)
    except ValueError:
        raise RemoteError(
            destination, FailureKind.BAD_ANSWER, "the answer is not JSON", status=answer.status
        ) from None


def refusal_of(destination: str, answer: Answer, now_s: float) -> RemoteError:
    """The error that an answer without success is."""
    body = _error_body(answer.body)
    errcode, error = body.get("errcode"), body.get("error")
    is_overload = answer.status == 429
    return RemoteError(
        destination,
        FailureKind.OVERLOADED if is_overload else FailureKind.HTTP,
        _printable(error, _MAX_ERROR) if isinstance(error, str) and error else f"status {answer.status}",
        status=answer.status,
        errcode=_printable(errcode, _MAX_ERRCODE) if isinstance(errcode, str) else None,
        body=body,
        retry_after_ms=_retry_after_ms(answer, body, now_s) if is_overload or answer.status == 503 else None,
    )


def _error_body(body: bytes) -> Mapping[str, Any]:
    try:
        content = canonical_json.decode(body)
    except ValueError:
        # An error page of a reverse proxy.
        return {}
    return content if isinstance(content, dict) else {}


def _retry_after_ms(answer: Answer, body: Mapping[str, Any], now_s: float) -> int | None:
    """From the header `Retry-After` (RFC 9110, section 10.2.3), else from the body's `retry_after_ms`."""
    header = answer.header(b"retry-after")
    if header is not None and header.isascii() and header.isdigit():
        return min(int(header[:9]) * 1000, _DAY_MS)
    if header is not None:
        try:
            until_s = email.utils.parsedate_to_datetime(header).timestamp()
        except (ValueError, OverflowError):
            return None
        return min(max(0, int((until_s - now_s) * 1000)), _DAY_MS)
    given = body.get("retry_after_ms")
    return min(max(0, given), _DAY_MS) if isinstance(given, int) else None


def _printable(text: str, length: int) -> str:
    """What may stand in a line of the log."""
    return _CONTROL.sub(" ", text[:length])
