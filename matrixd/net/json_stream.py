"""Reading a large JSON object as it comes: the members of its long lists are handed out one by one.

Only the places where values begin and end are found here; each value is decoded by `canonical_json.decode`, so that it
means the same as in an answer that is read whole. (A general incremental parser, which builds each value from tokens,
takes ten times as long, and its numbers and broken strings are not those of the decoder that events are hashed by.)
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from matrixd.core import canonical_json

#: The largest member of a list: an event has 64 KiB, and what other servers put into its `unsigned`.
MAX_ITEM_BYTES: Final = 1024 * 1024
#: All that is not in the lists.
MAX_REST_BYTES: Final = 8 * 1024 * 1024

# Possessive quantifiers: what was read is never read again in another way, so a match takes time proportional to its
# length. Containers are matched up to a depth that no sane event reaches; the brackets of others are counted.
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN: Final = rb'[^\[\]{}"]*+'
_DEPTH: Final = 10


def _container(depth: int) -> bytes:
    pattern = rb"[\[{]" + _PLAIN + rb"(?:" + _STRING + _PLAIN + rb")*+[\]}]"
    for _ in range(depth):
        pattern = rb"[\[{]" + _PLAIN + rb"(?:(?:" + _STRING + rb"|" + pattern + rb")" + _PLAIN + rb")*+[\]}]"
    return pattern


_CONTAINER: Final = re.compile(_container(_DEPTH), re.DOTALL)
_TOKEN: Final = re.compile(_STRING + rb'|["\[{\]}]', re.DOTALL)
_WHOLE_STRING: Final = re.compile(_STRING, re.DOTALL)
# A number or a word ends only where something else begins.
_SCALAR: Final = re.compile(rb'[^\s,\]}\[{":]++(?=[\s,\]}])')
_BLANK: Final = re.compile(rb"[ \t\r\n]*+")
# What comes after an item, most often.
_NEXT_ITEM: Final = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+(" + _container(_DEPTH) + rb")", re.DOTALL)
#: What comes is looked at when there is so much of it.
_READ_BYTES: Final = 16 * 1024


class ObjectReader:
    """Reads one object. `lists` names the members whose items, all of them objects, are handed out."""

    def __init__(
        self, lists: Collection[str], max_item_bytes: int = MAX_ITEM_BYTES, max_rest_bytes: int = MAX_REST_BYTES
    ) -> None:
        self._lists = lists
        self._max_item_bytes = max_item_bytes
        self._left_bytes = max_rest_bytes
        self._rest: dict[str, Any] = {}
        self._seen: set[str] = set()
        self._list: str | None = None
        self._expected: frozenset[bytes] = frozenset((b"{",))
        self._key: str | None = None
        self._buffer = b""
        self._at = 0
        self._pieces: list[bytes] = []
        self._pending_bytes = 0
        self._needed_bytes = 0

    def feed(self, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
        """The items that are complete with this piece, with the names of their lists; to be read to the end.

        Raises ValueError with a sentence about what is wrong.
        """
        self._pieces.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= self._needed_bytes:
            yield from self._read()

    def close(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The items that are left at the end. Raises ValueError, also if the object is not complete."""
        yield from self._read()
        if self._expected or self._buffer[self._at :].strip(b" \t\r\n"):
            raise ValueError("the answer is not complete")

    @property
    def rest(self) -> dict[str, Any]:
        """The other members. A list that was there is an empty one here."""
        return self._rest

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        self._buffer = self._buffer[self._at :] + b"".join(self._pieces)
        self._at = 0
        self._pieces = []
        while True:
            before = self._at
            if self._list is not None and b"," in self._expected:
                yield from self._items(self._list)
            item = self._step()
            if item is not None:
                yield item
            elif self._at == before:
                break
        # An item that is not complete is not looked at for each byte that comes.
        left = len(self._buffer) - self._at
        if left > self._max_item_bytes and left > self._left_bytes:
            raise ValueError("a value is too large")
        self._pending_bytes = 0
        self._needed_bytes = max(_READ_BYTES, left // 4)

    def _items(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The items after the first that are there: what `_step` would give, at once."""
        while (match := _NEXT_ITEM.match(self._buffer, self._at)) is not None:
            raw = match[1]
            self._at = match.end()
            yield name, self._item(name, raw)

    def _item(self, name: str, raw: bytes) -> dict[str, Any]:
        if raw[:1] != b"{":
            raise ValueError(f"'{name}' must hold objects")
        if len(raw) > self._max_item_bytes:
            raise ValueError(f"an entry of '{name}' has {len(raw)} bytes")
        found: dict[str, Any] = canonical_json.decode(raw)
        return found

    def _step(self) -> tuple[str, dict[str, Any]] | None:
        """Read one token, or one value; an item if it was one. The position stays where it is if more must come."""
        match = _BLANK.match(self._buffer, self._at)
        at = match.end() if match else self._at
        char = self._buffer[at : at + 1]
        if not char:
            return None
        if not self._expected:
            raise ValueError("something follows the answer")
        if b"v" in self._expected and char not in b",:]}":
            return self._value(at, char)
        if char not in self._expected:
            raise ValueError(f"the answer is not JSON: {chr(char[0])!r} stands in the wrong place")
        if char == b'"':
            self._read_key(at)
        else:
            self._at = at + 1
            self._punctuation(char)
        return None

    def _punctuation(self, char: bytes) -> None:
        if char == b"{":
            self._expected = frozenset((b'"', b"}"))
        elif char == b":":
            self._expected = frozenset((b"v",))
        elif char == b",":
            self._expected = frozenset((b'"',) if self._list is None else (b"v",))
        elif char == b"]":
            self._list = None
            self._expected = frozenset((b",", b"}"))
        else:
            self._expected = frozenset()

    def _read_key(self, at: int) -> None:
        match = _WHOLE_STRING.match(self._buffer, at)
        if match is None:
            return
        self._count(match.end() - at)
        key = canonical_json.decode(match[0])
        if key in self._seen and key in self._lists:
            raise ValueError(f"'{key}' is there twice")
        self._seen.add(key)
        self._key = key
        self._at = match.end()
        self._expected = frozenset((b":",))

    def _value(self, at: int, char: bytes) -> tuple[str, dict[str, Any]] | None:
        if self._list is None and self._key in self._lists:
            self._begin_list(at, char)
            return None
        if self._list is not None and char != b"{":
            raise ValueError(f"'{self._list}' must hold objects")
        end = self._end_of_value(at, char)
        if end is None:
            return None
        raw = self._buffer[at:end]
        self._at = end
        if self._list is not None:
            self._expected = frozenset((b",", b"]"))
            return self._list, self._item(self._list, raw)
        self._count(end - at)
        assert self._key is not None, "a value follows a key"
        self._rest[self._key] = canonical_json.decode(raw)
        self._expected = frozenset((b",", b"}"))
        return None

    def _begin_list(self, at: int, char: bytes) -> None:
        if char != b"[":
            raise ValueError(f"'{self._key}' must be a list")
        assert self._key is not None, "a list follows a key"
        self._list = self._key
        self._rest[self._key] = []
        self._at = at + 1
        self._expected = frozenset((b"v", b"]"))

    def _end_of_value(self, at: int, char: bytes) -> int | None:
        """Where the value ends; None if more must come."""
        if char in b"[{":
            match = _CONTAINER.match(self._buffer, at)
            return match.end() if match else self._end_of_deep_value(at)
        match = (_WHOLE_STRING if char == b'"' else _SCALAR).match(self._buffer, at)
        return match.end() if match else None

    def _end_of_deep_value(self, at: int) -> int | None:
        depth = 0
        for match in _TOKEN.finditer(self._buffer, at):
            token = match[0]
            if token == b'"':
                # The string goes on in the next piece.
                return None
            if token in (b"[", b"{"):
                depth += 1
            elif token in (b"]", b"}"):
                depth -= 1
                if depth == 0:
                    return match.end()
        return None

    def _count(self, size: int) -> None:
        self._left_bytes -= size
        if self._left_bytes < 0:
            raise ValueError("the answer is too large beside its lists")
