"""Request bodies: from bytes that anybody may have sent to JSON values or typed structures.

What no later step could bear is refused here, before or right after decoding: bytes that are not UTF-8, deep nesting,
lone surrogates, and in typed structures NUL characters (no text column of PostgreSQL holds them) and integers beyond
±(2^53 - 1), which are not Matrix's (appendices, "Canonical JSON").
"""

import re
from typing import Any, TypeVar

import msgspec

from matrixd.core import canonical_json
from matrixd.core.canonical_json import MAX_INTEGER
from matrixd.core.errors import MatrixError

T = TypeVar("T")

#: Deeper bodies are refused, so that no recursion over them can run out of stack.
MAX_NESTING = 100

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_LONG_NUMBER = re.compile(rb"[0-9]{16}")


def decode(body: bytes) -> Any:
    """The body as plain JSON values; an empty one is an empty object. Integers stay integers, whatever their size."""
    if not body:
        return {}
    _check_nesting(body)
    try:
        return canonical_json.decode(body)
    except ValueError as error:
        raise _not_json(error) from None


def decode_as(body: bytes, body_type: type[T]) -> T:
    """The body as a typed structure; an empty one is an empty object."""
    if not body:
        body = b"{}"
    _check_nesting(body)
    try:
        if not body.isascii():
            # msgspec passes over the names and members that the type does not have without looking at their bytes.
            body.decode("utf-8")
        value = msgspec.json.decode(body, type=body_type)
    except msgspec.ValidationError as error:
        raise MatrixError(400, "M_BAD_JSON", _shape_error(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(error) from None
    if b"\\u0000" in body or _LONG_NUMBER.search(body):
        _check_leaves(value)
    return value


def _not_json(error: Exception) -> MatrixError:
    reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
    return MatrixError(400, "M_NOT_JSON", f"The body is not valid JSON: {reason}.")


def _shape_error(message: str) -> str:
    """msgspec says "Expected `str`, got `int` - at `$.room.name`"."""
    what, separator, where = message.rpartition(" - at `$")
    if not separator:
        return f"The body has the wrong shape: {message}."
    name = where.rstrip("`").lstrip(".")
    return f"Field '{name}' of the body: {what}." if name else f"The body: {what}."


def _check_nesting(body: bytes) -> None:
    """Raise M_BAD_JSON for deep nesting, looking at the bytes only.

    Most bodies have few brackets, and no more need be known of them. Of the others all that is between quotes goes, for
    brackets in strings do not nest.
    """
    if body.count(b"{") + body.count(b"[") <= MAX_NESTING:
        return
    outside = b"".join(body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    depth = 0
    for bracket in outside.translate(None, _NOT_BRACKETS):
        depth += _STEP[bracket]
        if depth > MAX_NESTING:
            raise MatrixError(400, "M_BAD_JSON", f"The body is nested more than {MAX_NESTING} levels deep.")


def _check_leaves(value: object) -> None:
    """Raise M_BAD_JSON for NUL characters and large integers in typed fields.

    What is below a `dict` or `Raw` is free JSON, such as the content of an event, and judged where it is used.
    """
    pending = [("", value)]
    while pending:
        name, member = pending.pop()
        if isinstance(member, str) and "\0" in member:
            raise MatrixError(400, "M_BAD_JSON", f"Field '{name}' of the body has a NUL character.")
        if isinstance(member, int) and abs(member) > MAX_INTEGER:
            raise MatrixError(400, "M_BAD_JSON", f"Field '{name}' of the body is an integer beyond ±(2^53 - 1).")
        if isinstance(member, list | tuple | set | frozenset):
            pending += [(f"{name}[{index}]", child) for index, child in enumerate(member)]
        elif isinstance(member, msgspec.Struct):
            prefix = f"{name}." if name else ""
            pending += [
                (prefix + field.encode_name, getattr(member, field.name))
                for field in msgspec.structs.fields(type(member))
            ]
