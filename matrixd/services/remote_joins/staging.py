"""Keeping another server's answer as it comes in: in the database, so that its size is no matter of memory."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from matrixd.storage import remote_join_pdus
from matrixd.storage.database import Database
from matrixd.storage.remote_join_pdus import StagedPdu

#: Events that are written in one transaction.
_CHUNK = 200
#: An event cannot be deeper. https://spec.matrix.org/v1.19/rooms/v6/#canonical-json
MAX_DEPTH = 2**53
#: More events than any room's state has today, by far.
MAX_PDUS = 2_000_000


class TooManyEvents(Exception):
    """The answer has more events than are looked at."""


class Staging:
    """Takes the events of one answer."""

    def __init__(self, database: Database, room_id: str) -> None:
        self._database = database
        self._room_id = room_id
        self._seq = 0
        self._rows: list[StagedPdu] = []
        #: The newest write: they are done in their order.
        self._writing: Deferred[None] | None = None
        self._failure: Failure | None = None

    async def clear(self) -> None:
        """Drop what is left of an earlier answer."""
        while await self._database.write(remote_join_pdus.clear, self._room_id, 5 * _CHUNK):
            pass

    def take(self, in_state: bool, pdu: Mapping[str, Any]) -> "Deferred[None] | None":
        """Keep an event. Raises TooManyEvents. The Deferred says when there is room for more."""
        self._seq += 1
        if self._seq > MAX_PDUS:
            raise TooManyEvents
        self._rows.append(StagedPdu(_depth(pdu), self._seq, in_state, _text(pdu)))
        if len(self._rows) < _CHUNK:
            return None
        before = self._writing
        self._write()
        return before

    async def finish(self) -> None:
        """Wait until all is stored."""
        if self._rows:
            self._write()
        if self._writing is not None:
            await self._writing
        if self._failure is not None:
            self._failure.raiseException()

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        self._writing = self._database.write(remote_join_pdus.insert, self._room_id, rows)
        self._writing.addErrback(self._note)

    def _note(self, failure: Failure) -> None:
        # Whoever takes the events for us has nothing to do with it.
        self._failure = failure


def _depth(pdu: Mapping[str, Any]) -> int:
    depth = pdu.get("depth")
    return min(max(depth, 0), MAX_DEPTH) if type(depth) is int else 0


def _text(pdu: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(pdu).decode()
    except orjson.JSONEncodeError:
        # Rooms of the first versions hold integers beyond 64 bits, which orjson does not write.
        return json.dumps(pdu, separators=(",", ":"))
