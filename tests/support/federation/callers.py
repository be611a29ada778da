"""Which process opened a loopback connection: Linux tells it in /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_LOOPBACK = "0100007F"


def caller(port: int, door: int, pids: Mapping[str, int]) -> str | None:
    """The name of that process among ``pids`` which connected from local port ``port`` to port ``door``."""
    inode = _inode(f"{_LOOPBACK}:{port:04X}", f"{_LOOPBACK}:{door:04X}")
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    return next((name for name, pid in pids.items() if wanted in _descriptors(pid)), None)


def _inode(local: str, remote: str) -> str | None:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == local and fields[2] == remote and fields[9] != "0":
            return fields[9]
    return None


def _descriptors(pid: int) -> Iterable[str]:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for number in numbers:
        try:
            yield os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
