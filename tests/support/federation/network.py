"""The network between the servers of a test: every server name's port is a door of it, and what passes can be delayed,
refused, or kept silent, for each pair of servers and direction.

TLS passes through untouched. A server's connections are told apart by the process that opened them, so the servers
need to know nothing of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from tests.support.federation.callers import caller

T = TypeVar("T")

_CALL_WITHIN_S = 10.0
_CHUNK = 65536


class Passage(enum.Enum):
    """What a link does with a connection."""

    OPEN = "open"
    #: New connections are reset at once, and those that there were.
    REFUSED = "refused"
    #: Nothing comes through, and nobody is told: as when packets are dropped. What waits goes on when it opens.
    SILENT = "silent"


class _Link:
    """What connections that one server opens to another meet."""

    def __init__(self) -> None:
        self.passage = Passage.OPEN
        self.delay_s = (0.0, 0.0)
        self.opened = 0
        self.tasks: set[asyncio.Task[Any]] = set()
        self._is_open = asyncio.Event()
        self._is_open.set()

    def become(self, passage: Passage) -> None:
        self.passage = passage
        if passage is Passage.SILENT:
            self._is_open.clear()
        else:
            self._is_open.set()
        if passage is Passage.REFUSED:
            for task in self.tasks:
                task.cancel()

    async def pass_on(self, chance: random.Random) -> None:
        """Returns when a chunk may go on. Raises ConnectionResetError when nothing may."""
        if self.delay_s[1]:
            await asyncio.sleep(chance.uniform(*self.delay_s))
        await self._is_open.wait()
        if self.passage is Passage.REFUSED:
            raise ConnectionResetError


class Door:
    """A server's public port. It stays the same while the server behind it comes and goes."""

    def __init__(self, listening: socket.socket, host: str) -> None:
        self.port = int(listening.getsockname()[1])
        self.name = f"{host}:{self.port}"
        self.listening = listening
        self.target: int | None = None
        self.pid: Callable[[], int | None] = lambda: None

    def leads_to(self, port: int, pid: Callable[[], int | None]) -> None:
        """Names the port where the server really listens, and its process's ID (None: it does not run)."""
        self.target, self.pid = port, pid


class Network:
    """Runs in a thread of its own until ``close``. Servers are named by their server names; None as a source stands
    for whoever is no server of the network, such as the test itself."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)
        self._doors: dict[str, Door] = {}
        self._links: dict[tuple[str | None, str], _Link] = {}
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def new_door(self, host: str = "localhost") -> Door:
        """A port that the network listens on from now on; nobody is behind it yet. ``host``: or "127.0.0.1"."""
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        door = Door(listening, host)
        self._call(self._open(door))
        return door

    @property
    def names(self) -> list[str]:
        """The names of all servers, in the order in which their doors were made."""
        return list(self._doors)

    # ---- faults ------------------------------------------------------------------------------------------------------

    def delay(self, low_s: float, high_s: float, *, source: str | None = None, destination: str | None = None) -> None:
        """Lets each piece of data wait so long, at random, in both directions of connections; None: any server."""
        for link in self._between(source, destination):
            link.delay_s = (low_s, high_s)

    def close_link(self, source: str | None, destination: str | None, passage: Passage = Passage.REFUSED) -> None:
        """Faults connections that ``source`` opens to ``destination``; None: any server."""
        self._call(self._become(self._between(source, destination), passage))

    def part(self, one: str, other: str, passage: Passage = Passage.REFUSED) -> None:
        """Parts two servers from each other."""
        self.close_link(one, other, passage)
        self.close_link(other, one, passage)

    def isolate(self, name: str, passage: Passage = Passage.REFUSED) -> None:
        """Parts a server from all others."""
        self.close_link(name, None, passage)
        self.close_link(None, name, passage)

    def heal(self) -> None:
        """Opens every link, without delays."""
        self.delay(0.0, 0.0)
        self._call(self._become(self._between(None, None), Passage.OPEN))

    def connections_opened(self, source: str, destination: str) -> int:
        """How many connections the one has opened to the other until now."""
        return self._link(source, destination).opened

    def close(self) -> None:
        """Closes all doors and connections, and ends the thread."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_WITHIN_S)
        self._loop.close()

    # ---- what runs in the thread -------------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_WITHIN_S)

    def _link(self, source: str | None, destination: str) -> _Link:
        return self._links.setdefault((source, destination), _Link())

    def _between(self, source: str | None, destination: str | None) -> list[_Link]:
        sources = self.names if source is None else [source]
        destinations = self.names if destination is None else [destination]
        return [self._link(one, other) for one in sources for other in destinations if one != other]

    async def _become(self, links: Iterable[_Link], passage: Passage) -> None:
        for link in links:
            link.become(passage)

    async def _open(self, door: Door) -> None:
        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._meet(door, reader, writer)

        self._doors[door.name] = door
        self._servers.append(await asyncio.start_server(meet, sock=door.listening, limit=_CHUNK))

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for link in self._links.values() for task in link.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _meet(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = self._link(self._caller(door, writer), door.name)
        link.opened += 1
        task = asyncio.current_task()
        assert task is not None
        link.tasks.add(task)
        writers = [writer]
        try:
            await link.pass_on(self._chance)
            their_reader, their_writer = await asyncio.open_connection("127.0.0.1", door.target, limit=_CHUNK)
            writers.append(their_writer)
            await asyncio.gather(self._carry(link, reader, their_writer), self._carry(link, their_reader, writer))
        except (OSError, asyncio.CancelledError):
            for each in writers:
                _reset(each)
        finally:
            link.tasks.discard(task)
            for each in writers:
                each.close()

    async def _carry(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            await link.pass_on(self._chance)
            writer.write(chunk)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    def _caller(self, door: Door, writer: asyncio.StreamWriter) -> str | None:
        pids = {name: pid for name, other in self._doors.items() if (pid := other.pid()) is not None}
        return caller(int(writer.get_extra_info("peername")[1]), door.port, pids)


def _reset(writer: asyncio.StreamWriter) -> None:
    # Closing with a linger time of zero resets the connection, so the other side learns of it at once.
    held: socket.socket | None = writer.get_extra_info("socket")
    if held is not None:
        with contextlib.suppress(OSError):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
