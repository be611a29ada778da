"""Removes what nobody counts any more: differences of push rules that were read by sending.

Receipts delete them at once. Sending only moves the read mark, which is cheaper for each event; who never sends a
receipt, as bots do, would leave them behind.
"""

from matrixd.storage import push_deltas
from matrixd.storage.database import Database

#: Users in one transaction, so that other writes need not wait long.
_BATCH = 200


class ReadCleanup:
    """Call `run` now and then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Go through all users of whom something is left."""
        last = 0
        while True:
            user_nids = await self._database.read(push_deltas.users_after, last, _BATCH)
            if not user_nids:
                return
            await self._database.write(push_deltas.remove_all_read, user_nids)
            last = user_nids[-1]
