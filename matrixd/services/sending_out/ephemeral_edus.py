"""EDUs for one server that are in memory only: a newer one takes the place of an older one, and too many are dropped.

https://spec.matrix.org/v1.19/server-server-api/#edus
"""

import itertools
from typing import NamedTuple

#: EDUs that wait for one server.
MAX_WAITING = 300
#: What is sent first and dropped last; other types count as the most important.
_PRIORITY = {"m.receipt": 1, "m.typing": 2, "m.presence": 3}
#: Types that are of no use when they come late: not kept for a server that does not answer.
_OF_THE_MOMENT = ("m.typing", "m.presence")
#: Presences of several users go out in one EDU.
_MAX_MERGED = 100
_PUSH_BEGIN, _PUSH_END = b'{"push":[', b"]}"


class Edu(NamedTuple):
    """One EDU: its type and the canonical JSON of its content."""

    type: str
    content: bytes

    def encode(self) -> bytes:
        """The EDU as it stands in a transaction, in canonical JSON; types need no escapes."""
        return b'{"content":%b,"edu_type":"%b"}' % (self.content, self.type.encode())


class EphemeralEdus:
    """What waits for one server."""

    __slots__ = ("_by_type", "_unique")

    def __init__(self) -> None:
        #: Type -> key -> content, the oldest first.
        self._by_type: dict[str, dict[str | int, bytes]] = {}
        self._unique = itertools.count()

    def __len__(self) -> int:
        return sum(map(len, self._by_type.values()))

    def add(self, edu_type: str, content: bytes, key: str | None) -> int:
        """Keep an EDU in the place of the one with the same type and key; how many were dropped for it."""
        of_type = self._by_type.setdefault(edu_type, {})
        place: str | int = next(self._unique) if key is None else key
        of_type.pop(place, None)
        of_type[place] = content
        if len(self) <= MAX_WAITING:
            return 0
        self._drop_one()
        return 1

    def take(self, limit: int, max_bytes: int) -> list[Edu]:
        """Remove at most `limit` EDUs, the most important first."""
        taken: list[Edu] = []
        for edu_type in sorted(self._by_type, key=_priority):
            of_type = self._by_type[edu_type]
            while of_type and len(taken) < limit and max_bytes > 0:
                content = self._next_presences(of_type) if edu_type == "m.presence" else _pop(of_type)
                max_bytes -= len(content)
                taken.append(Edu(edu_type, content))
            if not of_type:
                del self._by_type[edu_type]
        return taken

    def drop_what_ages(self) -> int:
        """Forget what would be of no use later; how many there were."""
        return sum(len(self._by_type.pop(edu_type, ())) for edu_type in _OF_THE_MOMENT)

    def _drop_one(self) -> None:
        edu_type = max(self._by_type, key=_priority)
        _pop(self._by_type[edu_type])
        if not self._by_type[edu_type]:
            del self._by_type[edu_type]

    def _next_presences(self, waiting: dict[str | int, bytes]) -> bytes:
        parts: list[bytes] = []
        while waiting and len(parts) < _MAX_MERGED:
            content = waiting[next(iter(waiting))]
            if not (content.startswith(_PUSH_BEGIN) and content.endswith(_PUSH_END)):
                return _pop(waiting) if not parts else _PUSH_BEGIN + b",".join(parts) + _PUSH_END
            parts.append(_pop(waiting)[len(_PUSH_BEGIN) : -len(_PUSH_END)])
        return _PUSH_BEGIN + b",".join(parts) + _PUSH_END


def is_of_the_moment(edu_type: str) -> bool:
    """Whether it is of no use when it comes late."""
    return edu_type in _OF_THE_MOMENT


def _priority(edu_type: str) -> int:
    return _PRIORITY.get(edu_type, 0)


def _pop(waiting: dict[str | int, bytes]) -> bytes:
    return waiting.pop(next(iter(waiting)))
