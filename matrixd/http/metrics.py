"""`GET /metrics`, for Prometheus."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from matrixd.http.kit.call import Answer, Call
from matrixd.http.kit.route import Auth, Route, RunsOn


class Metrics:
    """Shows all that is registered. The path with `_synapse` is the one that scrapers of Synapse know."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/metrics", self.show, spec="", auth=Auth.NONE, runs_on=RunsOn.ANY,
                aliases=("/_synapse/metrics",),
            )
        ]  # fmt: skip

    async def show(self, call: Call) -> object:
        """The text format of Prometheus."""
        return Answer(200, generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4.encode())
