"""The cheapest request that needs authentication: what a request costs before it does anything."""

import itertools

from bench.client import drive_all
from bench.figures import Figure, latency_figures, merged
from bench.subject import Subject

WIDTH = 16


async def run(subject: Subject) -> list[Figure]:
    users = await subject.users(WIDTH)
    await _some(subject, [user.whoami() for user in users], subject.scale.requests // 10)
    runs = []
    for _ in range(subject.scale.repeats):
        async with subject.measured() as measured:
            latencies = await _some(subject, [user.whoami() for user in users], subject.scale.requests)
        runs.append(measured.cost.figures(len(latencies), "request") + latency_figures(latencies))
    return merged(runs)


async def _some(subject: Subject, requests: list[bytes], count: int) -> list[float]:
    cycled = itertools.islice(itertools.cycle(requests), count)
    return await drive_all(subject.port, cycled, WIDTH, subject.scale.seconds)
