"""The directory of one test run, shared by all its workers: clusters, templates and servers live below it.

It is not pytest's own temporary directory, because PostgreSQL, which does not run as root, must be able to enter it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "MATRIXD_TEST_RUN"
_PREFIX = "matrixd-test-"
_OWNER = "owner.pid"
_END_WITHIN_S = 10.0


def begin() -> Path:
    """Makes the directory of this run and names it to child processes; clears away runs that were killed."""
    for old in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _is_abandoned(old):
            end(old)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    directory.chmod(0o755)
    (directory / _OWNER).write_text(str(os.getpid()))
    os.environ[VARIABLE] = str(directory)
    return directory


def directory() -> Path:
    """The directory of this run."""
    return Path(os.environ[VARIABLE])


def end(run: Path) -> None:
    """Ends every process that was started below the directory, and removes it."""
    _signal_all(run, signal.SIGTERM)
    deadline = time.monotonic() + _END_WITHIN_S
    while _processes(run) and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal_all(run, signal.SIGKILL)
    shutil.rmtree(run, ignore_errors=True)


@contextlib.contextmanager
def locked(name: str) -> Iterator[Path]:
    """Holds a lock that all workers of this run share; yields a path of that name for what it protects."""
    path = directory() / name
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path


def new_directory(kind: str) -> Path:
    """A fresh directory below the run's."""
    return Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=directory()))


def _is_abandoned(run: Path) -> bool:
    try:
        owner = int((run / _OWNER).read_text())
        mine = run.stat().st_uid == os.getuid()
    except (OSError, ValueError):
        return False
    return mine and not Path(f"/proc/{owner}").exists()


def _processes(run: Path) -> list[int]:
    # A process belongs to the run when its command line names a file below the run's own directory.
    marker = f"{run}/".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def _signal_all(run: Path, number: signal.Signals) -> None:
    for pid in _processes(run):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
