"""CPU time and memory of other processes, as Linux counts them."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """A process and all that it has started."""

    pid: int

    def cpu_seconds(self) -> float:
        """User and system time, with that of children that have ended."""
        return sum(_cpu_seconds(pid) + _ended_children_seconds(pid) for pid in self.pids())

    def resident_bytes(self) -> int:
        return sum(_memory_bytes(pid, "VmRSS") for pid in self.pids())

    def peak_bytes(self) -> int:
        """The most that was ever in memory, of each process."""
        return sum(_memory_bytes(pid, "VmHWM") for pid in self.pids())

    def pids(self) -> list[int]:
        found = [self.pid]
        for pid in found:
            found += _children(pid)
        return found


def _cpu_seconds(pid: int) -> float:
    # The process's own CPU clock, in nanoseconds; /proc/PID/stat counts in hundredths of a second. The number
    # is what clock_getcpuclockid(3) returns on Linux.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _ended_children_seconds(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) * _TICK


def _memory_bytes(pid: int, name: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _children(pid: int) -> list[int]:
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return children
