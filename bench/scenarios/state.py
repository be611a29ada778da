"""State events in the large room, one after the other; bytes on disk for each state change."""

from bench.client import drive_all
from bench.figures import Figure, figure, latency_figures, merged
from bench.rooms import full_crowd
from bench.subject import Subject


async def run(subject: Subject) -> list[Figure]:
    scale = subject.scale
    crowd = await full_crowd(subject)
    await subject.quiet()
    before = subject.server.database.stored_bytes()
    sent, runs = 0, []
    for repeat in range(scale.repeats):
        async with subject.measured() as measured:
            changes = (crowd.creator.state(crowd.room_id, f"{repeat}-{n}") for n in range(scale.state_events))
            latencies = await drive_all(subject.port, changes, 1, scale.seconds)
        sent += len(latencies)
        runs.append(measured.cost.figures(len(latencies), "state event") + latency_figures(latencies))
    grown = subject.server.database.stored_bytes() - before
    return [*merged(runs), figure("bytes on disk per state event", "B", grown / sent)]
