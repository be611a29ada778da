"""The pid file: one running server for one configuration, and the way to find it."""

import os
from pathlib import Path

from matrixd.util import processes
from matrixd.util.processes import Process


class AlreadyRunning(Exception):
    """Another process holds the pid file; `pid` is its id."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        super().__init__(f"it already runs, with pid {pid}")


def read(path: Path) -> int | None:
    """The pid in the file; None if there is no file or no pid in it. Raises OSError if it may not be read."""
    try:
        written = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return int(written) if written.isdecimal() and int(written) > 0 else None


def running(path: Path, program: str) -> Process | None:
    """The program's process that the file names; None if the file is stale or names another program's process."""
    pid = read(path)
    process = processes.find(pid) if pid is not None else None
    return process if process and process.runs(program) else None


def claim(path: Path, program: str) -> None:
    """Writes this process's pid. Raises AlreadyRunning, or OSError. A file that a dead process left is replaced."""
    holder = running(path, program)
    if holder and holder.pid != os.getpid():
        raise AlreadyRunning(holder.pid)
    path.unlink(missing_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise AlreadyRunning(read(path) or 0) from None  # another start was quicker
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")


def release(path: Path) -> None:
    """Removes the file if it is still this process's. Raises OSError."""
    if read(path) == os.getpid():
        path.unlink(missing_ok=True)
