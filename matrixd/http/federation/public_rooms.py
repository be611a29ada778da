"""The published rooms for other servers: `data/api/server-server/public_rooms.yaml` of the specification."""

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.public_rooms import MAX_LIMIT, PublicRooms, RoomFilter


class _Filter(msgspec.Struct):
    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class _Search(msgspec.Struct):
    limit: int | None = None
    since: str | None = None
    filter: _Filter | None = None
    include_all_networks: bool | None = None
    third_party_instance_id: str | None = None


class FederationPublicRooms:
    """`/publicRooms`; with `is_allowed` false (option `allow_public_rooms_over_federation`) nobody may see them."""

    def __init__(self, rooms: PublicRooms, is_allowed: bool) -> None:
        self._rooms = rooms
        self._is_allowed = is_allowed

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/publicRooms", self.list,
                spec="get_matrixfederationv1publicrooms", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
            Route(
                "POST", "/_matrix/federation/v1/publicRooms", self.search,
                spec="post_matrixfederationv1publicrooms", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
        ]

    async def list(self, call: Call) -> object:
        """The published rooms."""
        return await self._page(
            _Search(
                limit=call.query_int("limit", 0),
                since=call.query("since"),
                include_all_networks=call.query_bool("include_all_networks"),
                third_party_instance_id=call.query("third_party_instance_id"),
            )
        )

    async def search(self, call: Call) -> object:
        """Those of the published rooms that a filter wants."""
        return await self._page(call.body(_Search))

    async def _page(self, search: _Search) -> object:
        if not self._is_allowed:
            raise MatrixError(403, "M_FORBIDDEN", "This server does not list its rooms for other servers.")
        if search.limit is not None and search.limit < 0:
            raise MatrixError(400, "M_INVALID_PARAM", "'limit' must not be negative.")
        if search.include_all_networks and search.third_party_instance_id:
            sentence = "'third_party_instance_id' cannot be combined with 'include_all_networks'."
            raise MatrixError(400, "M_INVALID_PARAM", sentence)
        if search.third_party_instance_id:
            # No third-party network is known here, so none has rooms.
            return {"chunk": [], "total_room_count_estimate": 0}
        wanted = search.filter or _Filter()
        room_filter = RoomFilter(wanted.generic_search_term or "", wanted.room_types, for_server=True)
        return await self._rooms.page(min(search.limit or MAX_LIMIT, MAX_LIMIT), search.since or None, room_filter)
