"""Sending messages: one sender alone, and 32 senders in 8 rooms; bytes on disk for each message."""

from bench.client import drive_all
from bench.figures import Figure, figure, latency_figures, merged
from bench.rooms import TALKERS, TEXT, send_together, talk
from bench.subject import Subject


async def run_alone(subject: Subject) -> list[Figure]:
    """One sender, who waits for each answer."""
    room_id, (sender, *_) = (await talk(subject)).rooms[0]
    count = subject.scale.messages_alone
    runs = []
    for _ in range(subject.scale.repeats):
        async with subject.measured() as measured:
            messages = (sender.message(room_id, TEXT.format(n)) for n in range(count))
            latencies = await drive_all(subject.port, messages, 1, subject.scale.seconds)
        runs.append(measured.cost.figures(len(latencies), "event") + latency_figures(latencies))
    return merged(runs)


async def run_together(subject: Subject) -> list[Figure]:
    """32 senders at once, each of whom waits for each answer."""
    scale = subject.scale
    await send_together(subject, TALKERS, scale.seconds)  # every room and sender has been seen once
    await subject.quiet()
    before = subject.server.database.stored_bytes()
    sent, runs = 0, []
    for _ in range(scale.repeats):
        async with subject.measured() as measured:
            latencies = await send_together(subject, scale.messages_together, scale.seconds)
        sent += len(latencies)
        runs.append(measured.cost.figures(len(latencies), "event") + latency_figures(latencies))
    grown = subject.server.database.stored_bytes() - before
    return [*merged(runs), figure("bytes on disk per event", "B", grown / sent)]
