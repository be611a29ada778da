"""Stored filters (client-server API, "Filtering")."""

from typing import Any

import orjson

from matrixd.core.errors import MatrixError
from matrixd.core.filters import parse_filter, stored_form
from matrixd.queries.filters import filter_number
from matrixd.storage import filters
from matrixd.storage.database import Database

#: Filters of one user; a client needs one or two, so this is far off.
MAX_FILTERS = 1000


class Filters:
    """Stores filters and gives them back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, user_nid: int, definition: Any) -> str:
        """Store a filter; its ID, which is the same for the same definition.

        Raises M_BAD_JSON, which names the field, and M_TOO_LARGE.
        """
        parse_filter(definition)
        filter_id = await self._database.write(
            filters.put, user_nid, stored_form(definition).decode(), MAX_FILTERS
        )
        if filter_id is None:
            raise MatrixError(400, "M_TOO_LARGE", f"You have stored {MAX_FILTERS} filters already.")
        return str(filter_id)

    async def get(self, user_nid: int, filter_id: str) -> dict[str, Any]:
        """The definition of one of the user's filters. Raises M_NOT_FOUND."""
        number = filter_number(filter_id)
        stored = None if number is None else await self._database.read(filters.get, user_nid, number)
        if stored is None:
            raise MatrixError(404, "M_NOT_FOUND", "There is no filter with this ID.")
        return dict(orjson.loads(stored))
