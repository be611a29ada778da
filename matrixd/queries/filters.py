"""Stored filters, parsed, as sync needs them."""

import orjson

from matrixd.core.errors import MatrixError
from matrixd.core.filters import Filter, parse_filter
from matrixd.storage import filters
from matrixd.storage.database import Database
from matrixd.util.lru import CacheBudget

_FILTER_BYTES = 2_000


def filter_number(filter_id: str) -> int | None:
    """The number behind a filter's ID; None if no filter has such an ID."""
    return int(filter_id) if filter_id.isascii() and filter_id.isdigit() and len(filter_id) < 10 else None


class StoredFilters:
    """Reads stored filters; those in use are kept under the byte budget. A stored filter never changes."""

    def __init__(self, database: Database, budget: CacheBudget) -> None:
        self._database = database
        self._known = budget.cache("filters", tuple[int, str], Filter)

    async def get(self, user_nid: int, filter_id: str) -> Filter:
        """One of the user's filters. Raises 400 M_INVALID_PARAM: it names the `filter` parameter of a request."""
        known = self._known.get((user_nid, filter_id))
        if known is not None:
            return known
        number = filter_number(filter_id)
        stored = None if number is None else await self._database.read(filters.get, user_nid, number)
        if stored is None:
            raise MatrixError(400, "M_INVALID_PARAM", "'filter' is not the ID of a filter that you have stored.")
        found = parse_filter(orjson.loads(stored))
        self._known.put((user_nid, filter_id), found, _FILTER_BYTES + 4 * len(stored))
        return found
