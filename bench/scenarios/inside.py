"""Parts of matrixd that have no counterpart outside, measured in a process of their own with its code."""

import asyncio
import json
import subprocess

from bench.figures import Figure, figure
from bench.site import ROOT
from bench.subject import Subject


async def run_fork(subject: Subject) -> list[Figure]:
    """Events of a fork, in rooms of several sizes, on the engine."""
    config = subject.site.database("fork").config() if _is_ours(subject) else {}
    sizes = ",".join(map(str, subject.scale.forked_rooms))
    return await _run(subject, "bench.fork_resolution", str(config.get("name")), json.dumps(config.get("args")), sizes)


async def run_signatures(subject: Subject) -> list[Figure]:
    """Checks of events of another server."""
    return await _run(subject, "bench.verification", str(subject.scale.signatures))


async def _run(subject: Subject, module: str, *arguments: str) -> list[Figure]:
    if not _is_ours(subject):
        return []
    command = subject.site.tool(module, *arguments)
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed:\n{done.stderr}")
    found: list[tuple[str, str, list[float], *tuple[bool, ...]]] = json.loads(done.stdout)
    return [figure(name, unit, *samples, more_is_better=any(more)) for name, unit, samples, *more in found]


def _is_ours(subject: Subject) -> bool:
    return subject.server.program.name == "matrixd"
