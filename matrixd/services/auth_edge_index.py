"""Fills the index of auth edges for events that were stored before there was one.

It is read only where a room forks, and a fork takes another server; until the work is done such a resolution may replay
events that it need not.
"""

import logging

from matrixd.storage import auth_edges, events
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction

logger = logging.getLogger(__name__)

_COUNTER = "auth_edges"
_CHUNK = 500


class AuthEdgeIndex:
    """Works in small transactions, and goes on after a restart where it was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fill(self) -> None:
        """Note the edges of all older events."""
        while await self._database.write(_fill):
            pass


def _fill(tx: Transaction) -> bool:
    """Whether there is more to do. The counter stands at 1 at least when all is done: events begin at 1."""
    at = auth_edges.filled_up_to(tx)
    if at and not auth_edges.state_after(tx, at, 1):
        return False
    found = auth_edges.state_after(tx, at, _CHUNK)
    named = events.nids_and_types(tx, {auth_id for item in found for auth_id in item.event.auth_events})
    auth_edges.insert(
        tx,
        {
            (named[auth_id][0], item.event_nid)
            for item in found
            for auth_id in item.event.auth_events
            if auth_id in named and named[auth_id][1] != "m.room.create"
        },
    )
    tx.next_id(_COUNTER, max((item.event_nid for item in found), default=1) - at)
    return bool(found)
