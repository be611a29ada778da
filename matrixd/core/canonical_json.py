"""Canonical JSON: the one text of a JSON value that is hashed and signed.

https://spec.matrix.org/v1.19/appendices/#canonical-json

Numbers are the delicate part. Strictly (room versions 6 and later) there are only integers within ±(2^53 - 1). Older
rooms hold events with floats and larger integers, whose text is the one that Python's `json` writes, because that is
what the servers of the time hashed. `encode` serves both; `encode_strict` and `check` refuse the latter.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from matrixd.core.errors import NotCanonical

#: Integers beyond ± this number cannot be written (exactly) by every JSON library.
MAX_INTEGER = 2**53 - 1

# orjson refuses by itself: integers beyond 53 bits, lone surrogates, keys that are not strings, deep nesting. Floats
# and the types that only orjson knows (UUID, Enum, numpy) are kept from it by _is_plain.
_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)

# Beyond the 309 digits of the largest double orjson takes a number for infinity. Four digits may belong to an escape.
_ENDLESS_NUMBER = re.compile(rb"([0-9]{4})[0-9]{296,}")

_encode_any = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True, check_circular=False
).encode


def encode(value: Any) -> bytes:
    """The canonical JSON of a value, in UTF-8. Floats and large integers are written as older rooms need them.

    `value` is built of dict, list, tuple, str, int, float, bool and None. Raises NotCanonical for anything else: other
    types, keys that are not strings, lone surrogates, NaN and the infinities, nesting beyond what can be written.
    """
    if _is_plain(value):
        try:
            return orjson.dumps(value, option=_OPTIONS)
        except orjson.JSONEncodeError:
            pass  # The slow way below either writes it or says what is wrong.
    problem = _problem(value, strict=False)
    if problem is not None:
        raise NotCanonical(problem)
    return _encode_slowly(value)


def encode_strict(value: Any) -> bytes:
    """The canonical JSON of a value that keeps all restrictions: no floats, no integer beyond ±(2^53 - 1).

    Raises NotCanonical, with a sentence that says where in the value the problem is.
    """
    if _is_plain(value):
        try:
            return orjson.dumps(value, option=_OPTIONS)
        except orjson.JSONEncodeError:
            pass  # The slow way below either writes it or says what is wrong.
    problem = _problem(value, strict=True)
    if problem is not None:
        raise NotCanonical(problem)
    return _encode_slowly(value)


def check(value: Any) -> None:
    """Raises NotCanonical unless the value keeps all restrictions of canonical JSON (room versions 6 and later)."""
    encode_strict(value)


def decode(data: bytes | str) -> Any:
    """Reads JSON so that `encode` gives back what other servers hashed: integers of any size stay integers.

    Of several members with one name the last one counts, as in the other servers. Raises ValueError for what is not
    JSON: lone surrogates, NaN, and nesting beyond what can be read included.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        text = data.encode() if isinstance(data, str) else data
        shortened = _ENDLESS_NUMBER.sub(rb"\1", text)
        if shortened == text:
            raise
        # orjson has no room for so large a number; it shall say whether there is anything else.
        orjson.loads(shortened)
    else:
        if _is_plain(value):
            return value
    # A float may be an integer beyond 64 bits, which orjson cannot hold.
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _is_plain(value: Any) -> bool:
    """Whether the value consists of types that orjson writes canonically, or refuses."""
    pending = [(value,)]
    while pending:
        container: Any = pending.pop()
        for member in container.values() if type(container) is dict else container:
            kind = type(member)
            if kind is str or kind is int or kind is bool or member is None:
                continue
            if kind is not dict and kind is not list and kind is not tuple:
                return False
            pending.append(member)
    return True


def _encode_slowly(value: Any) -> bytes:
    try:
        return _encode_any(value).encode("utf-8")
    except RecursionError:
        raise NotCanonical("The JSON is nested too deeply") from None


def _problem(value: Any, *, strict: bool) -> str | None:
    """A sentence about the first thing in the value that has no canonical JSON, None if there is none."""
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, member = pending.pop()
        if isinstance(member, dict):
            for key, child in member.items():
                if not isinstance(key, str):
                    return f"{_place(path)} has a key that is not a string"
                if not _is_unicode(key):
                    return f"{_place(path)} has a key with a lone surrogate"
                pending.append((f"{path}.{key}" if path else key, child))
        elif isinstance(member, list | tuple):
            pending.extend((f"{path}[{index}]", child) for index, child in enumerate(member))
        else:
            problem = _leaf_problem(member, strict=strict)
            if problem is not None:
                return f"{_place(path)} {problem}"
    return None


def _leaf_problem(value: Any, *, strict: bool) -> str | None:
    match value:
        case None | bool():
            return None
        case str():
            return None if _is_unicode(value) else "has a lone surrogate"
        case int():
            return "is an integer beyond ±(2^53 - 1)" if strict and abs(value) > MAX_INTEGER else None
        case float() if strict:
            return "is a float; only integers are allowed"
        case float():
            return None if math.isfinite(value) else "is not a finite number"
    return f"is a {type(value).__name__}, which JSON does not have"


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _place(path: str) -> str:
    # The sentence goes back to whoever sent the value: a path as long as an event helps nobody.
    if not path:
        return "The value"
    if len(path) > 100:
        path = path[:100] + "…"
    return path.encode("utf-8", "replace").decode("utf-8")
