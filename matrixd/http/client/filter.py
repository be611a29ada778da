"""Stored filters: `data/api/client-server/filter.yaml` of the specification."""

from matrixd.core.filters import MAX_FILTER_BYTES
from matrixd.http.client.own_user import own_user
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Route
from matrixd.services.filters import Filters


class Filter:
    """The endpoints of filters."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "POST", "/_matrix/client/v3/user/{userId}/filter", self.put,
                spec="post_matrixclientv3useruseridfilter", max_body=2 * MAX_FILTER_BYTES,
            ),
            Route(
                "GET", "/_matrix/client/v3/user/{userId}/filter/{filterId}", self.get,
                spec="get_matrixclientv3useruseridfilterfilterid",
            ),
        ]  # fmt: skip

    async def put(self, call: Call) -> object:
        """Store a filter."""
        return {"filter_id": await self._filters.put(own_user(call).user_nid, call.json_object())}

    async def get(self, call: Call) -> object:
        """A stored filter."""
        return await self._filters.get(own_user(call).user_nid, call.path("filterId"))
