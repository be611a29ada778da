"""The rooms of a space: `data/api/client-server/space_hierarchy.yaml` of the specification."""

from matrixd.core.identifiers import validate_room_id
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.space_hierarchy import DEFAULT_LIMIT, MAX_DEPTH, MAX_LIMIT, HierarchyRequest, SpaceHierarchy


class SpaceHierarchyEndpoint:
    """`GET /rooms/{roomId}/hierarchy`."""

    def __init__(self, spaces: SpaceHierarchy) -> None:
        self._spaces = spaces

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/client/v1/rooms/{roomId}/hierarchy", self.hierarchy,
                spec="get_matrixclientv1roomsroomidhierarchy", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            )
        ]  # fmt: skip

    async def hierarchy(self, call: Call) -> object:
        """A page of the tree."""
        room_id = validate_room_id(call.path("roomId"), "roomId")
        depth = None if call.query("max_depth") is None else call.query_int("max_depth", 0, maximum=MAX_DEPTH)
        suggested = None if call.query("suggested_only") is None else call.query_bool("suggested_only")
        limit = call.query_int("limit", DEFAULT_LIMIT, minimum=1, maximum=MAX_LIMIT)
        request = HierarchyRequest(room_id, suggested, depth, limit, call.query("from"))
        return await self._spaces.page(call.requester.user_nid, request)
