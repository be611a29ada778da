"""Dot-separated property paths: `content.m\\.relates_to.rel_type`.

https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

Path = tuple[str, ...]

#: What `look_up` returns for a property that is not there: JSON's null is a value of its own.
ABSENT: Final = object()

_TOKEN = re.compile(r"\\([.\\])|(\.)|([^.\\]+|\\)")


def parse_path(text: str) -> Path:
    r"""The property names of a path. `\.` and `\\` stand for a dot and a backslash, other escapes for themselves."""
    names = [""]
    for match in _TOKEN.finditer(text):
        if match[2]:
            names.append("")
        else:
            names[-1] += match[1] or match[3]
    return tuple(names)


def look_up(value: object, path: Path) -> object:
    """What the path leads to inside `value`; ABSENT where a property is missing or its owner is not an object."""
    for name in path:
        if not isinstance(value, Mapping):
            return ABSENT
        value = value.get(name, ABSENT)
    return value


def project(source: Mapping[str, Any], paths: tuple[Path, ...]) -> dict[str, Any]:
    """A copy of `source` with only what the paths lead to; what is missing is left out. `source` is not changed."""
    result: dict[str, Any] = {}
    # Shorter paths first, so that a whole object is not overwritten by a part of itself.
    for path in sorted(set(paths), key=len):
        value = look_up(source, path)
        if value is not ABSENT:
            _place(result, source, path, value)
    return result


def _place(result: dict[str, Any], source: Mapping[str, Any], path: Path, value: object) -> None:
    original: Any = source
    for name in path[:-1]:
        original = original[name]
        inner = result.setdefault(name, {})
        if inner is original:
            return  # The whole object is there already.
        result = inner
    result[path[-1]] = value
