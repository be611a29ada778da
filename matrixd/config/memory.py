"""How much memory the caches may take together."""

import os
from dataclasses import dataclass
from pathlib import Path

from matrixd.config.options import Options
from matrixd.config.values import duration_ms, size_bytes

MIB = 1024**2
_SHARE = 8
_LEAST, _MOST = 32 * MIB, 1024 * MIB


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """Memory."""

    budget_bytes: int
    """What all caches of the process may take together."""
    sync_response_cache_ms: int
    """How long an answer of `/sync` is kept for a client that asks again."""


def read(options: Options) -> MemoryConfig:
    """Reads `memory_budget` and what `caches` has; the budget is by default an eighth of the machine's memory."""
    caches = options.section("caches")
    budget = options.read("memory_budget", size_bytes(minimum=8 * MIB), None)
    return MemoryConfig(
        budget_bytes=budget or default_budget(),
        sync_response_cache_ms=caches.read("sync_response_cache_duration", duration_ms(), 120_000),
    )


def default_budget(cgroup: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """An eighth of what the container or the machine has, between 32 MiB and 1 GiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = cgroup.read_text(encoding="ascii").strip()
    except OSError:
        limit = "max"
    if limit.isdecimal():
        total = min(total, int(limit))
    return max(_LEAST, min(_MOST, total // _SHARE))
