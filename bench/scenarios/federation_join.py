"""Joining large rooms of another server, which answers from memory: only the server that joins is measured.

It is started anew before each join, so that its memory is that of the join.
"""

import asyncio
import json
import subprocess
import time
from dataclasses import dataclass

from bench.client import User, ask, ask_json, connections
from bench.figures import Cost, Figure, figure
from bench.http_client import Connection
from bench.pair import ROOM_VERSION, pair
from bench.site import ROOT
from bench.subject import Subject, measured

#: Members whose arrival is waited for, evenly spread among all.
_SAMPLE = 20
_PAUSE = 0.1
_COMPLETE_LIMIT = 1200.0


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The other server's name, and its rooms: ID and members."""

    server: str
    rooms: list[tuple[str, list[str]]]


@dataclass(frozen=True, slots=True)
class Joined:
    """One join, in seconds and bytes."""

    answered: float
    first_message: float
    complete: float
    cost: Cost
    before_bytes: float
    peak_bytes: float


async def run(subject: Subject) -> list[Figure]:
    """Joins each of the rooms; those of one size give the samples of a figure."""
    elsewhere = await _elsewhere(subject)
    joiner = (await pair(subject)).there
    by_size: dict[int, list[Joined]] = {}
    for room_id, members in elsewhere.rooms:
        await joiner.restart()
        by_size.setdefault(len(members), []).append(await _join(joiner, elsewhere.server, room_id, members))
    return [each for size, joins in by_size.items() for each in _figures(f"{size} members", joins)]


async def run_real(subject: Subject) -> list[Figure]:
    """Both servers of the program: one has the room, a user of the other joins it."""
    both = await pair(subject)
    users = await both.here.users(subject.scale.crowd)
    room_id = await both.here.room(users[0], users[1:], ROOM_VERSION)
    await both.there.restart()
    (joining,) = await both.there.users(1)
    async with connections(both.there.port, 1) as (connection,), measured(both.here, both.there) as measurements:
        times = await _timed_join(
            connection, joining, both.here.server.server_name, room_id, [user.user_id for user in users]
        )
    await _check_members(both.there, joining, room_id, len(users) + 1)
    here, there = (each.cost for each in measurements)
    return [
        *_times(f"{len(users)} members", [times]),
        figure("server CPU of the joining server", "s", there.server_cpu),
        figure("server CPU of the other server", "s", here.server_cpu),
        figure("database CPU of both", "s", here.database_cpu + there.database_cpu),
    ]


async def _elsewhere(subject: Subject) -> Elsewhere:
    site = subject.site
    known = site.shared.get(Elsewhere)
    if isinstance(known, Elsewhere):
        return known
    files = site.federation("resident")
    sizes = ",".join(map(str, subject.scale.remote_rooms))
    command = site.tool("bench.resident", str(files.certificate), str(files.key), sizes)
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    site.stack.callback(process.wait)
    site.stack.callback(process.stdin.close)  # that ends it
    told = json.loads(await asyncio.to_thread(process.stdout.readline))
    rooms = [(room["room_id"], room["members"]) for room in told["rooms"]]
    site.shared[Elsewhere] = made = Elsewhere(told["server"], rooms)
    return made


async def _join(joiner: Subject, server: str, room_id: str, members: list[str]) -> Joined:
    (user,) = await joiner.users(1)
    before = joiner.server.processes().peak_bytes()
    async with connections(joiner.port, 1) as (connection,), joiner.measured() as measured:
        times = await _timed_join(connection, user, server, room_id, members)
    peak = joiner.server.processes().peak_bytes()
    await _check_members(joiner, user, room_id, len(members) + 1)
    return Joined(*times, measured.cost, before, peak)


async def _timed_join(
    connection: Connection, user: User, server: str, room_id: str, members: list[str]
) -> tuple[float, float, float]:
    """Seconds until the join was answered, until a message was sent, and until the members are known."""
    began = time.perf_counter()
    await ask(connection, user.join_via(room_id, server))
    answered = time.perf_counter() - began
    await ask_json(connection, user.message(room_id, "Here I am."))
    first_message = time.perf_counter() - began
    for member in {*members[:: max(1, len(members) // _SAMPLE)], members[-1]}:
        while (await connection.send(user.member(room_id, member))).status != 200:
            await asyncio.sleep(_PAUSE)
            if time.perf_counter() - began > _COMPLETE_LIMIT:
                raise TimeoutError(f"{member} is not known after {_COMPLETE_LIMIT:.0f} s")
    return answered, first_message, time.perf_counter() - began


async def _check_members(joiner: Subject, user: User, room_id: str, expected: int) -> None:
    async with connections(joiner.port, 1) as (connection,):
        known = len((await ask_json(connection, user.joined_members(room_id)))["joined"])
    if known != expected:
        raise AssertionError(f"{known} of {expected} members are known")


def _figures(name: str, joins: list[Joined]) -> list[Figure]:
    times = [(each.answered, each.first_message, each.complete) for each in joins]
    return [
        *_times(name, times),
        figure(f"{name}: server CPU", "s", *(each.cost.server_cpu for each in joins)),
        figure(f"{name}: database CPU", "s", *(each.cost.database_cpu for each in joins)),
        figure(f"{name}: peak memory", "MB", *(each.peak_bytes / 1e6 for each in joins)),
        figure(f"{name}: of it the join's", "MB", *((each.peak_bytes - each.before_bytes) / 1e6 for each in joins)),
    ]


def _times(name: str, times: list[tuple[float, float, float]]) -> list[Figure]:
    titles = ("join answered", "first message sent", "members known")
    return [figure(f"{name}: {title}", "s", *(each[at] for each in times)) for at, title in enumerate(titles)]
