"""EDUs of other servers: what is in a transaction beside events. Each type goes to who knows it.

https://spec.matrix.org/v1.19/server-server-api/#edus
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from matrixd.storage.engines.base import Unavailable
from matrixd.util.clock import Clock
from matrixd.util.ratelimit import RateLimiter

logger = logging.getLogger(__name__)

#: "Must not include more than 100 EDUs": what a transaction has beyond them is not looked at.
MAX_EDUS = 100

#: Says of an EDU, or of a part of it, why it is not taken.
Refuse = Callable[[str], None]


class EduType(Protocol):
    """Takes the EDUs of one type."""

    async def receive(self, origin: str, contents: Sequence[Mapping[str, Any]], refuse: Refuse) -> None:
        """Take the contents of the EDUs that one transaction of `origin` has, in their order.

        One that is wrong is refused and changes nothing of the others. What must not get lost is stored on return.
        Raises `Unavailable` when that was not possible, so that the origin sends the transaction again.
        """


@dataclass(frozen=True, slots=True)
class _OncePerHour:
    per_second: float = 1 / 3600
    burst_count: float = 1


class Edus:
    """Takes the EDUs of transactions. `types`: by `edu_type`; EDUs of other types are not looked at."""

    def __init__(self, types: Mapping[str, EduType], clock: Clock) -> None:
        self._types = types
        self._clock = clock
        self._complaints = RateLimiter(_OncePerHour())

    async def receive(self, origin: str, edus: Sequence[object]) -> None:
        """Take the `edus` of a transaction of the server `origin`, which was authenticated; they may be anything.

        What is wrong with them is logged, for each server once an hour. Raises `Unavailable` when an EDU that must not
        get lost could not be stored: the others were taken, and all may come again.
        """
        refusals = _Refusals()
        if len(edus) > MAX_EDUS:
            refusals.note(f"there are {len(edus)} of them, of which {MAX_EDUS} are looked at")
        unavailable: Unavailable | None = None
        for edu_type, contents in _by_type(edus[:MAX_EDUS], refusals).items():
            known = self._types.get(edu_type)
            if known is None:
                continue
            try:
                await known.receive(origin, contents, refusals.of(edu_type))
            except Unavailable as error:
                unavailable = error
            except Exception:
                # An edge: what another server sent must cost nothing but itself.
                if self._complaints.wait((origin, edu_type), self._clock.monotonic()) == 0:
                    logger.exception("EDUs of %s of the type %s failed (said once an hour)", origin, edu_type)
        if refusals.count:
            self._log(origin, refusals)
        if unavailable is not None:
            raise unavailable

    def _log(self, origin: str, refusals: "_Refusals") -> None:
        if self._complaints.wait(origin, self._clock.monotonic()) == 0:
            logger.warning(
                "EDUs of %s were not taken (%d in a transaction; said once an hour): %s",
                origin, refusals.count, refusals.first[:500],
            )  # fmt: skip


class _Refusals:
    """How many there were, and the first of them: however many there are, they take no memory."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""

    def note(self, reason: str) -> None:
        self.first = self.first or reason
        self.count += 1

    def of(self, edu_type: str) -> Refuse:
        return lambda reason: self.note(f"{edu_type}: {reason}")


def _by_type(edus: Sequence[object], refusals: _Refusals) -> dict[str, list[Mapping[str, Any]]]:
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for edu in edus:
        edu_type = edu.get("edu_type") if isinstance(edu, Mapping) else None
        content = edu.get("content") if isinstance(edu, Mapping) else None
        if isinstance(edu_type, str) and isinstance(content, Mapping):
            found[edu_type].append(content)
        else:
            refusals.note("an EDU must be an object with the string 'edu_type' and the object 'content'")
    return found
