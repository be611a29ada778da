"""`/publicRooms` and `/directory/list/room/{roomId}`."""

from typing import Literal

import msgspec

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.public_rooms import MAX_LIMIT, PublicRooms, RoomFilter
from matrixd.services.publishing import Publishing
from matrixd.services.remote_directories import Directories, Search

#: Rooms in an answer when the client names no number.
_DEFAULT_LIMIT = 100


class _Visibility(msgspec.Struct):
    visibility: Literal["public", "private"] | None = None


class _Filter(msgspec.Struct):
    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class _Search(msgspec.Struct):
    limit: int | None = None
    since: str | None = None
    filter: _Filter | None = None
    include_all_networks: bool | None = None
    third_party_instance_id: str | None = None


class ListPublicRooms:
    """The published room directories, this server's and others'. With `needs_token` only users may read them."""

    def __init__(
        self, rooms: PublicRooms, publishing: Publishing, others: Directories, server_name: str, needs_token: bool
    ) -> None:
        self._rooms = rooms
        self._others = others
        self._publishing = publishing
        self._server_name = server_name
        self._needs_token = needs_token

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/client/v3/publicRooms", self.list,
                spec="get_matrixclientv3publicrooms", auth=Auth.OPTIONAL, runs_on=RunsOn.ANY,
            ),
            Route(
                "POST", "/_matrix/client/v3/publicRooms", self.search,
                spec="post_matrixclientv3publicrooms", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/client/v3/directory/list/room/{roomId}", self.visibility,
                spec="get_matrixclientv3directorylistroomroomid", auth=Auth.NONE, runs_on=RunsOn.ANY,
            ),
            Route(
                "PUT", "/_matrix/client/v3/directory/list/room/{roomId}", self.set_visibility,
                spec="put_matrixclientv3directorylistroomroomid",
            ),
        ]

    async def list(self, call: Call) -> object:
        """The published rooms."""
        if self._needs_token and call.maybe_requester is None:
            raise MatrixError(401, "M_MISSING_TOKEN", "This server lists its rooms only for users: a token is needed.")
        limit = call.query_int("limit", _DEFAULT_LIMIT, maximum=MAX_LIMIT)
        return await self._page(call, Search(limit or _DEFAULT_LIMIT, call.query("since")))

    async def search(self, call: Call) -> object:
        """Those of the published rooms that a filter wants."""
        body = call.body(_Search)
        limit = _DEFAULT_LIMIT if body.limit is None else body.limit
        if limit < 0:
            raise MatrixError(400, "M_INVALID_PARAM", "'limit' must not be negative.")
        if body.include_all_networks and body.third_party_instance_id is not None:
            sentence = "'third_party_instance_id' cannot be combined with 'include_all_networks'."
            raise MatrixError(400, "M_INVALID_PARAM", sentence)
        wanted = body.filter or _Filter()
        search = Search(
            min(limit or _DEFAULT_LIMIT, MAX_LIMIT), body.since, wanted.generic_search_term, wanted.room_types,
            bool(body.include_all_networks), body.third_party_instance_id,
        )  # fmt: skip
        return await self._page(call, search)

    async def _page(self, call: Call, search: Search) -> object:
        server = call.query("server")
        if server and server != self._server_name:
            return await self._others.public_rooms(server, search)
        if search.third_party_instance_id:
            # No third-party network is known here, so none has rooms.
            return {"chunk": [], "total_room_count_estimate": 0}
        return await self._rooms.page(search.limit, search.since, RoomFilter(search.term or "", search.room_types))

    async def visibility(self, call: Call) -> object:
        """Whether a room is published."""
        published = await self._rooms.is_published(call.path("roomId"))
        if published is None:
            raise MatrixError(404, "M_NOT_FOUND", f"This server knows no room {call.path('roomId')}.")
        return {"visibility": "public" if published else "private"}

    async def set_visibility(self, call: Call) -> object:
        """Publish a room, or take it out."""
        visibility = call.body(_Visibility).visibility or "public"
        await self._publishing.set(call.requester, call.path("roomId"), visibility == "public")
        return {}
