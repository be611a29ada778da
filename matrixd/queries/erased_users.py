"""Who was erased: users who join a room afterwards are shown redacted copies of what the erased had sent.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate (`erase`)
"""

from collections.abc import Mapping

from matrixd.queries.feed import Feed
from matrixd.storage import accounts
from matrixd.storage.database import Database
from matrixd.storage.rows import UserErased


class ErasedUsers:
    """All erased users, in memory: a small entry each, so that no request has to ask the database for them."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._positions: dict[str, int] = {}
        feed.subscribe(UserErased, self._on_erased)

    @property
    def positions(self) -> Mapping[str, int]:
        """User ID -> newest position of the events stream at the erasure. It goes on to follow what happens."""
        return self._positions

    async def load(self) -> None:
        """Read who was erased before this process began."""
        self._positions.update(await self._database.read(accounts.erased))

    def _on_erased(self, row: UserErased) -> None:
        self._positions[row.user_id] = row.erased_pos
