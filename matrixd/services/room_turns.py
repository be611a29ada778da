"""Turns at a room: who must have it alone while waiting for something, and those who wait for that.

Building an event takes no turn: it does not wait between reading the head and advancing it. State resolution and
joining a room do wait, and nothing may be built meanwhile.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredLock


class RoomTurns:
    """One line for each room that somebody has alone; bounded by those who stand in it."""

    def __init__(self) -> None:
        self._locks: dict[str, DeferredLock] = {}
        self._waiting: dict[str, int] = {}

    def is_taken(self, room_id: str) -> bool:
        """Whether somebody has the room alone, or waits to have it."""
        return room_id in self._locks

    @asynccontextmanager
    async def take(self, room_id: str) -> AsyncIterator[None]:
        """Have the room alone, in the order of asking."""
        lock = self._locks.setdefault(room_id, DeferredLock())
        self._waiting[room_id] = self._waiting.get(room_id, 0) + 1
        try:
            await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            self._waiting[room_id] -= 1
            if not self._waiting[room_id]:
                del self._waiting[room_id]
                del self._locks[room_id]
