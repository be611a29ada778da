"""Delivery of each event to many long-polling members of its room.

The same messages are first sent while nobody listens; what is measured above that is the cost of delivery.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator

from bench.client import User, ask, connections
from bench.figures import Cost, Figure, figure, latency_figures, merged
from bench.http_client import Connection
from bench.rooms import TEXT
from bench.subject import Subject

# between two messages, so that all members wait again
PAUSE = 0.1
LONG_POLL = 30_000
ROUND_LIMIT = 30.0

_NEXT_BATCH = re.compile(rb'"next_batch"\s*:\s*"([^"]+)"')


class Audience:
    """Members who long-poll; they note when a message arrives."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.polls = 0
        self._marker = b"\0"
        self._began = 0.0
        self._awaited = 0
        self._all_have_it = asyncio.Event()

    async def listen(self, member: User, connection: Connection, since: str) -> None:
        while True:
            body = (await ask(connection, member.sync(since, LONG_POLL))).body
            since = next_batch(body)
            self.polls += 1
            if self._marker in body:
                self._arrived()

    async def hear(self, sender: User, connection: Connection, room_id: str, text: str, members: int) -> None:
        """Sends a message and returns when all members have it; raises TimeoutError."""
        self._marker = text.encode()
        self._awaited = members
        self._all_have_it.clear()
        self._began = time.perf_counter()
        await ask(connection, sender.message(room_id, text))
        if members:
            await asyncio.wait_for(self._all_have_it.wait(), ROUND_LIMIT)
        await asyncio.sleep(PAUSE)

    def _arrived(self) -> None:
        self.latencies.append(time.perf_counter() - self._began)
        self._awaited -= 1
        if self._awaited == 0:
            self._all_have_it.set()


async def run(subject: Subject) -> list[Figure]:
    scale = subject.scale
    sender, *members = await subject.users(scale.members + 1)
    room_id = await subject.room(sender, members)
    alone = await _rounds(subject, Audience(), sender, room_id, 0)
    audience = Audience()
    runs = []
    async with _listening(subject, audience, members):
        for _ in range(scale.repeats):
            audience.latencies.clear()
            audience.polls = 0
            cost = await _rounds(subject, audience, sender, room_id, len(members))
            runs.append(_figures(cost, alone, scale.deliveries, audience))
    return merged(runs)


async def _rounds(subject: Subject, audience: Audience, sender: User, room_id: str, members: int) -> Cost:
    async with connections(subject.port, 1) as (connection,), subject.measured() as measured:
        for number in range(subject.scale.deliveries):
            text = TEXT.format(f"<{members} {number} {time.monotonic_ns()}>")
            await audience.hear(sender, connection, room_id, text, members)
    return measured.cost


@contextlib.asynccontextmanager
async def _listening(subject: Subject, audience: Audience, members: list[User]) -> AsyncIterator[None]:
    async with connections(subject.port, len(members)) as opened, asyncio.TaskGroup() as group:
        pairs = list(zip(members, opened, strict=True))
        positions = [next_batch((await ask(connection, member.sync())).body) for member, connection in pairs]
        tasks = [
            group.create_task(audience.listen(member, connection, since))
            for (member, connection), since in zip(pairs, positions, strict=True)
        ]
        yield
        for task in tasks:
            task.cancel()


def _figures(cost: Cost, alone: Cost, events: int, audience: Audience) -> list[Figure]:
    delivered = len(audience.latencies)
    per = 1e3 / delivered
    return [
        figure("server CPU per delivered event", "ms", per * (cost.server_cpu - alone.server_cpu)),
        figure("database CPU per delivered event", "ms", per * (cost.database_cpu - alone.database_cpu)),
        figure("client CPU per delivered event", "ms", per * (cost.client_cpu - alone.client_cpu)),
        figure("server CPU per event with nobody listening", "ms", 1e3 * alone.server_cpu / events),
        figure("polls answered per delivered event", "", audience.polls / delivered),
        *latency_figures(audience.latencies),
    ]


def next_batch(body: bytes) -> str:
    found = _NEXT_BATCH.search(body)
    if found is None:
        raise ValueError("a sync answer has no next_batch")
    return found[1].decode()
