"""What Prometheus learns of requests to other servers; read when it asks."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from matrixd.net.federation_client import FederationClient


class FederationClientMetrics(Collector):
    """`matrixd_federation_requests_total` and the connections.

    Labels: `outcome` is `ok` or the value of a FailureKind, `state` is `open` or `idle` (open and not in use).
    """

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is seen when it is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        requests = CounterMetricFamily(
            "matrixd_federation_requests", "Requests to other servers, by what came of them.", labels=["outcome"]
        )
        for outcome, count in self._client.outcomes.items():
            requests.add_metric([outcome], count)
        yield requests
        yield CounterMetricFamily(
            "matrixd_federation_connections_opened", "Connections to other servers.", self._client.opened
        )
        connections = GaugeMetricFamily(
            "matrixd_federation_connections", "Connections to other servers now.", labels=["state"]
        )
        connections.add_metric(["open"], self._client.pool.open)
        connections.add_metric(["idle"], self._client.pool.idle)
        yield connections
