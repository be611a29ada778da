"""What this server is: `data/api/server-server/version.yaml` of the specification."""

from matrixd import __version__
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn


class Version:
    """`/version`."""

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/federation/v1/version", self.version,
                spec="get_matrixfederationv1version", auth=Auth.NONE, runs_on=RunsOn.ANY,
            )
        ]  # fmt: skip

    async def version(self, call: Call) -> object:
        """Name and version."""
        return {"server": {"name": "matrixd", "version": __version__}}
