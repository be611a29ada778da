"""Other processes, seen through their pid and /proc: alive, ours, how old, how big."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that was alive when it was looked at."""

    pid: int
    command: tuple[str, ...]
    """Its arguments; empty where /proc does not tell."""
    rss_bytes: int | None
    uptime_s: float | None

    def runs(self, program: str) -> bool:
        """Whether it runs the program: as a script of that name or as `python -m`. True where nothing is known."""
        if not self.command:
            return True
        is_script = any(Path(argument).name == program for argument in self.command[:2])
        return is_script or ("-m", program) in zip(self.command, self.command[1:])


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal, as far as /proc tells; without one a signal may end it."""
    for line in _read(PROC / str(pid) / "status").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def find(pid: int) -> Process | None:
    """The process with that pid; None if there is none, or only a zombie."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # it lives, as another user
    directory = PROC / str(pid)
    fields = _stat(directory)
    if fields and fields[0] == "Z":
        return None
    return Process(pid, _command(directory), _rss(directory), _uptime(fields))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _stat(directory: Path) -> list[str]:
    """The fields of /proc/PID/stat that follow the program's name, from the state on."""
    return _read(directory / "stat").rpartition(")")[2].split()


def _command(directory: Path) -> tuple[str, ...]:
    return tuple(_read(directory / "cmdline").rstrip("\0").split("\0")) if directory.is_dir() else ()


def _rss(directory: Path) -> int | None:
    for line in _read(directory / "status").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


def _uptime(fields: list[str]) -> float | None:
    if len(fields) < 20:
        return None
    started_after_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_after_boot)
