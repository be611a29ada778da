"""Faults of the disk and the database, as context managers that mend what they broke."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(directory: Path, size_mb: int) -> Iterator[None]:
    """Mounts a small file system over ``directory``; skips the test where that is not allowed."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs to mount a file system: {mounted.stderr.decode(errors='replace').strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextlib.contextmanager
def full(directory: Path) -> Iterator[None]:
    """Fills the file system of ``directory`` to the last byte."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"\0" * min(4096, max(1, shutil.disk_usage(directory).free)))
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def no_more_bytes(pid: int, file: Path) -> Iterator[None]:
    """No file of the process may become larger than ``file`` is now: writes fail as on a full disk, without root."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (file.stat().st_size, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(*files: Path) -> Iterator[None]:
    """Nothing may be written to the files, not even through descriptors that are open; skips where not possible."""
    names = [str(file) for file in files if file.exists()]
    made = subprocess.run(["chattr", "+i", *names], capture_output=True, check=False)
    try:
        if made.returncode != 0:
            pytest.skip(f"needs chattr +i: {made.stderr.decode(errors='replace').strip()}")
        yield
    finally:
        subprocess.run(["chattr", "-i", *names], capture_output=True, check=False)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process writes to the SQLite database and does not come to an end."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def may_ignore_permissions() -> bool:
    """Whether file modes mean nothing to this user."""
    return os.geteuid() == 0
