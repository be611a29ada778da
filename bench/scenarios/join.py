"""Joins to one room that grows, from eight clients at a time."""

from bench.figures import Figure, latency_figures
from bench.rooms import empty_crowd, fill
from bench.subject import Subject


async def run(subject: Subject) -> list[Figure]:
    await subject.users(subject.scale.crowd)
    crowd = await empty_crowd(subject)
    async with subject.measured() as measured:
        latencies = await fill(subject, crowd)
    return measured.cost.figures(len(latencies), "join") + latency_figures(latencies)
