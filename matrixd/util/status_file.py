"""The status file: what a running process tells `synctl status` about itself, beside its pid file."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Status:
    """A process at work."""

    name: str
    """`master`, or the worker's name."""
    pid: int
    started_ts: int
    """When it was ready, in milliseconds since the epoch."""
    listeners: tuple[str, ...]
    """Where it listens, for people to read."""
    positions: Mapping[str, int]
    """How far each stream has come, by the stream's name."""


def beside(pid_file: Path) -> Path:
    """The status file that belongs to a pid file: `homeserver.pid` has `homeserver.status`."""
    return pid_file.with_suffix(".status")


def write(path: Path, status: Status) -> None:
    """Replaces the file at once, so that a reader never sees half of it. Raises OSError."""
    unfinished = path.with_suffix(".status.new")
    unfinished.write_text(json.dumps(asdict(status)), encoding="utf-8")
    os.replace(unfinished, path)


def read(path: Path) -> Status | None:
    """What the file says; None if there is none or it is not a status file. Raises OSError if it may not be read."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Status(
            name=str(fields["name"]),
            pid=int(fields["pid"]),
            started_ts=int(fields["started_ts"]),
            listeners=tuple(map(str, fields["listeners"])),
            positions={str(name): int(position) for name, position in fields["positions"].items()},
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
