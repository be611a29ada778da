"""Two servers of one program that speak to each other, under TLS on loopback."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.client import User, ask_json
from bench.figures import Cost, Figure, figure
from bench.http_client import Connection
from bench.subject import Subject

#: A version that both programs make, and that is not each one's own default.
ROOM_VERSION = "11"
ARRIVAL_LIMIT = 120.0
_PAUSE = 0.03


@dataclass(frozen=True, slots=True)
class Pair:
    """`here` is where rooms are made and most users are; `there` learns of all through the federation."""

    here: Subject
    there: Subject


async def pair(subject: Subject) -> Pair:
    """The two servers of a program, both running; made when they are first asked for."""
    made = subject.made.get(Pair)
    if isinstance(made, Pair):
        return made
    subject.made[Pair] = made = Pair(await _started(subject, "here"), await _started(subject, "there"))
    return made


async def _started(subject: Subject, name: str) -> Subject:
    program = subject.server.program
    server = subject.site.server(program, f"{program.name}-{name}", federates=True)
    await server.start()
    return Subject(server, subject.scale, subject.site)


async def wait_for_event(connection: Connection, reader: User, room_id: str, event_id: str) -> None:
    """Returns when the reader's server has an event. Raises TimeoutError."""
    end = time.perf_counter() + ARRIVAL_LIMIT
    while (await connection.send(reader.event(room_id, event_id))).status != 200:
        if time.perf_counter() > end:
            raise TimeoutError(f"{event_id} did not arrive in {ARRIVAL_LIMIT:.0f} s")
        await asyncio.sleep(_PAUSE)


async def messages_at(connection: Connection, reader: User, room_id: str) -> int:
    """How many messages the reader's server has of a room."""
    found: int = 0
    start: str | None = None
    while True:
        page = await ask_json(connection, reader.page(room_id, start))
        found += sum(each["type"] == "m.room.message" for each in page["chunk"])
        start = page.get("end")
        if start is None or not page["chunk"]:
            return found


def figures(costs: Sequence[Cost], count: float, noun: str) -> list[Figure]:
    """The cost of each of `count` pieces of work to both servers together, and to each."""
    here, there = costs
    per = 1e3 / count
    return [
        figure(f"{noun}s per second", "/s", count / here.seconds, more_is_better=True),
        figure(f"CPU of both servers per {noun}", "ms", per * (here.server_cpu + there.server_cpu)),
        figure("  of it the sending server's", "ms", per * here.server_cpu),
        figure("  of it the receiving server's", "ms", per * there.server_cpu),
        figure(f"CPU of both databases per {noun}", "ms", per * (here.database_cpu + there.database_cpu)),
        figure(f"client CPU per {noun}", "ms", per * here.client_cpu),
    ]
