"""What is wrong in a configuration, and where: gathered first, then told all at once."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a configuration file (lines count from 1)."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong value: where it stands, the option's dotted name, what is wrong, and what to do about it.

    `place` is None for what stands in no file (a required option that is missing everywhere).
    """

    place: Place | None
    option: str
    reason: str
    cure: str

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        name = f"{self.option}: " if self.option else ""
        return f"{where}{name}{self.reason}\n    {self.cure}"


class ConfigError(Exception):
    """The configuration cannot be used. `faults` has every reason, in the order of the files."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=_reading_order))
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.faults)
        head = (
            "1 value of the configuration is wrong" if count == 1 else f"{count} values of the configuration are wrong"
        )
        return "\n".join([f"{head}:", *map(str, self.faults)])


def _reading_order(fault: Fault) -> tuple[str, int]:
    return (str(fault.place.file), fault.place.line) if fault.place else ("", 0)


class WrongValue(Exception):
    """Raised by a parser of values; carries one or more (place, suffix of the option's name, reason, cure)."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.reason for fault in faults))


@dataclass(slots=True)
class Findings:
    """Collects what the reading of one configuration finds."""

    read_files: bool = True
    """Whether files that options point to (keys, certificates, log configuration) are to be read and checked."""
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)

    def fault(self, place: Place | None, option: str, reason: str, cure: str) -> None:
        self.faults.append(Fault(place, option, reason, cure))
