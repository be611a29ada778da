"""Start of a server with an empty database: time to the first answer, and memory."""

import asyncio

from bench.figures import Figure, figure
from bench.subject import Subject


async def run(subject: Subject) -> list[Figure]:
    seconds, cpu, memory = [], [], []
    for _ in range(subject.scale.starts):
        seconds.append(await subject.restart())
        await asyncio.sleep(1)
        cpu.append(subject.server.processes().cpu_seconds())
        memory.append(subject.server.processes().resident_bytes() / 1e6)
    return [
        figure("first answer", "s", *seconds),
        figure("CPU in the first second", "s", *cpu),
        figure("memory", "MB", *memory),
    ]
