"""Media for other servers: `data/api/server-server/content_repository.yaml` of the specification."""

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn


class ContentRepository:
    """`/media/download` and `/media/thumbnail`: this server has no media."""

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/media/download/{mediaId}", self.none,
                spec="get_matrixfederationv1mediadownloadmediaid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/federation/v1/media/thumbnail/{mediaId}", self.none,
                spec="get_matrixfederationv1mediathumbnailmediaid", auth=Auth.SERVER, runs_on=RunsOn.ANY,
            ),
        ]

    async def none(self, call: Call) -> object:
        """Nothing is there. M_UNRECOGNIZED would make the asking server try the older endpoints."""
        raise MatrixError(404, "M_NOT_FOUND", "This server has no media repository yet, so it has no such media.")
