"""The order in which the targets of SRV records are tried. RFC 2782."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """`target` is a host name without the last dot; the empty one says that there is no such service."""

    priority: int
    weight: int
    port: int
    target: str


def ordered(records: Sequence[SrvRecord], chance: Callable[[], float]) -> list[SrvRecord]:
    """The lowest priority first; within one, drawn by weight. `chance` gives numbers from 0 up to, but not, 1."""
    found: list[SrvRecord] = []
    for priority in sorted({record.priority for record in records}):
        # Those without weight stand first, "to have a very small chance of being selected".
        left = sorted((r for r in records if r.priority == priority), key=lambda record: record.weight)
        while left:
            drawn = round(chance() * sum(record.weight for record in left))
            chosen = _at(left, drawn)
            left.remove(chosen)
            found.append(chosen)
    return found


def _at(records: Sequence[SrvRecord], drawn: int) -> SrvRecord:
    running = 0
    for record in records:
        running += record.weight
        if running >= drawn:
            return record
    return records[-1]
