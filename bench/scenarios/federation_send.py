"""Messages that cross servers: many senders on one, one reader on the other, in one room."""

import asyncio
import time

from bench.client import User, ask, ask_json, connections, drive
from bench.figures import Figure, figure, merged
from bench.http_client import Connection
from bench.pair import ROOM_VERSION, Pair, figures, messages_at, pair, wait_for_event
from bench.rooms import TEXT
from bench.subject import Subject, measured

SENDERS = 16
LATECOMERS_LIMIT = 20.0


async def run_together(subject: Subject) -> list[Figure]:
    """Each sender waits for the answer to each message; the end is when the other server has all."""
    both = await pair(subject)
    senders = await both.here.users(SENDERS)
    (reader,) = await both.there.users(1)
    room_id = await both.here.room(senders[0], senders[1:], ROOM_VERSION)
    scale = subject.scale
    async with connections(both.there.port, 1) as (connection,):
        await ask(connection, reader.join_via(room_id, both.here.server.server_name))
        await _cross(both, senders, room_id, reader, connection, SENDERS, scale.seconds)
        runs, sent = [], SENDERS + 1
        for _ in range(scale.repeats):
            async with measured(both.here, both.there) as measurements:
                count = await _cross(
                    both, senders, room_id, reader, connection, scale.messages_crossing, scale.seconds
                )
            sent += count
            runs.append(figures([each.cost for each in measurements], count, "event"))
        missing = await _missing(connection, reader, room_id, sent)
    if missing > sent / 100:
        raise AssertionError(f"of {sent} messages {missing} did not arrive")
    return [*merged(runs), figure("messages that did not arrive", "", missing)]


async def run_alone(subject: Subject) -> list[Figure]:
    """The next message is sent when the other server has the one before, so that no two share a request."""
    both = await pair(subject)
    (sender,), (reader,) = await both.here.users(1), await both.there.users(1)
    room_id = await both.here.room(sender, [], ROOM_VERSION)
    runs = []
    async with connections(both.here.port, 1) as (here,), connections(both.there.port, 1) as (there,):
        await ask(there, reader.join_via(room_id, both.here.server.server_name))
        await _one_by_one(sender, here, reader, there, room_id, 3)
        for _ in range(subject.scale.repeats):
            async with measured(both.here, both.there) as measurements:
                count = subject.scale.messages_crossing_alone
                await _one_by_one(sender, here, reader, there, room_id, count)
            runs.append(figures([each.cost for each in measurements], count, "event"))
    return merged(runs)


async def _cross(
    both: Pair, senders: list[User], room_id: str, reader: User, connection: Connection, count: int, limit: float
) -> int:
    """Sends messages until the other server has them; returns their number."""
    each = count // len(senders)
    lanes = [(sender.message(room_id, TEXT.format(n)) for n in range(each)) for sender in senders]
    async with connections(both.here.port, len(senders)) as opened:
        latencies = await drive(list(zip(opened, lanes, strict=True)), limit)
        # a server sends what it has in order, so that this one comes last
        last = await ask_json(opened[0], senders[0].message(room_id, "That was all."))
    await wait_for_event(connection, reader, room_id, last["event_id"])
    return len(latencies) + 1


async def _missing(connection: Connection, reader: User, room_id: str, sent: int) -> int:
    """How many messages the other server does not have, after some time for those that another one overtook."""
    end = time.perf_counter() + LATECOMERS_LIMIT
    while (missing := sent - await messages_at(connection, reader, room_id)) and time.perf_counter() < end:
        await asyncio.sleep(1)
    return missing


async def _one_by_one(
    sender: User, here: Connection, reader: User, there: Connection, room_id: str, count: int
) -> None:
    for number in range(count):
        sent = await ask_json(here, sender.message(room_id, TEXT.format(number)))
        await wait_for_event(there, reader, room_id, sent["event_id"])
