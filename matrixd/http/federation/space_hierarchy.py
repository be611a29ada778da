"""Spaces for other servers: `data/api/server-server/space_hierarchy.yaml` of the specification."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.queries.federation.spaces import Spaces
from matrixd.queries.server_acls import ServerAcls


class FederationSpaceHierarchy:
    """`/hierarchy`."""

    def __init__(self, spaces: Spaces, acls: ServerAcls) -> None:
        self._spaces = spaces
        self._acls = acls

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/hierarchy/{roomId}", self.hierarchy,
                spec="get_matrixfederationv1hierarchyroomid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            )
        ]  # fmt: skip

    async def hierarchy(self, call: Call) -> object:
        """A space and its children."""
        suggested_only = call.query_bool("suggested_only")
        await self._acls.check(call.path("roomId"), call.origin)
        return await self._spaces.hierarchy(call.origin, call.path("roomId"), suggested_only=suggested_only)
