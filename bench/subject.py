"""A running server under test, with the users and rooms that scenarios share."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from bench.client import User, ask_json, connections, drive_all, register
from bench.figures import Cost
from bench.http_client import Connection
from bench.scale import Scale
from bench.servers import Server
from bench.site import Site

SETUP_LIMIT = 900.0
SETUP_WIDTH = 16
QUIET_LIMIT = 10.0


@dataclass(slots=True)
class Measurement:
    """Filled in when its `with` block has ended."""

    cost: Cost = field(default_factory=lambda: Cost(0, 0, 0, 0))


class Subject:
    """A server, what measures it, and what has been made on it; scenarios make what is missing."""

    def __init__(self, server: Server, scale: Scale, site: Site) -> None:
        self.server = server
        self.scale = scale
        self.site = site
        self.made: dict[type, object] = {}  # what scenarios share, by its type
        self._users: list[User] = []

    @property
    def port(self) -> int:
        return self.server.port

    @contextlib.asynccontextmanager
    async def measured(self) -> AsyncIterator[Measurement]:
        """Measures the block; afterwards waits until the server is quiet, so that work put off is counted too."""
        async with measured(self) as (measurement,):
            yield measurement

    async def quiet(self) -> None:
        """Returns when server and database have used under 3 % of a core for half a second."""
        end = time.perf_counter() + QUIET_LIMIT
        last = self._cpu()
        while time.perf_counter() < end:
            await asyncio.sleep(0.5)
            now = self._cpu()
            if now - last < 0.015:
                return
            last = now

    async def restart(self) -> float:
        """Stops and starts the server; returns the seconds from start to first answer."""
        self.server.stop()
        return await self.server.start()

    async def users(self, count: int) -> list[User]:
        """The first `count` users."""
        numbers = iter(range(len(self._users), count))
        secret = self.server.registration_secret

        async def make(connection: Connection) -> None:
            for number in numbers:
                self._users.append(await register(connection, secret, f"user{number}"))

        async with connections(self.port, SETUP_WIDTH) as opened, asyncio.TaskGroup() as group:
            for connection in opened:
                group.create_task(make(connection))
        return self._users[:count]

    async def room(self, creator: User, members: list[User], version: str | None = None) -> str:
        """A public room that the creator and the members have joined; by default of the server's own version."""
        async with connections(self.port, 1) as (connection,):
            room_id: str = (await ask_json(connection, creator.create_room(version)))["room_id"]
        await drive_all(self.port, (member.join(room_id) for member in members), 4, SETUP_LIMIT)
        return room_id

    def _cpu(self) -> float:
        return sum(_cpu_seconds(self))


@contextlib.asynccontextmanager
async def measured(*subjects: Subject) -> AsyncIterator[list[Measurement]]:
    """Measures a block that gives work to several servers: what each of them took until all were quiet again."""
    await _all_quiet(subjects)
    measurements = [Measurement() for _ in subjects]
    began, client = time.perf_counter(), time.process_time()
    before = [_cpu_seconds(subject) for subject in subjects]
    yield measurements
    seconds, client_cpu = time.perf_counter() - began, time.process_time() - client
    await _all_quiet(subjects)
    for subject, measurement, (server, database) in zip(subjects, measurements, before, strict=True):
        now = _cpu_seconds(subject)
        measurement.cost = Cost(seconds, now[0] - server, now[1] - database, client_cpu)


async def _all_quiet(subjects: Sequence[Subject]) -> None:
    for subject in subjects:
        await subject.quiet()


def _cpu_seconds(subject: Subject) -> tuple[float, float]:
    return subject.server.processes().cpu_seconds(), subject.server.database.cpu_seconds()
