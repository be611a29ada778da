"""Counts requests by route, in a few additions each; Prometheus' own objects are made only when it asks."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from matrixd.http.kit.route import Route

#: Upper bounds of the buckets of the time that an answer takes, in seconds. Long polls are in the last ones.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_LABELS = [*map(str, BOUNDS), "+Inf"]

#: What requests without an endpoint are counted as: preflights, unknown paths, wrong methods.
NO_ROUTE = ("", "none")


class _Series:
    __slots__ = ("by_class", "in_bucket", "seconds")

    def __init__(self) -> None:
        self.by_class = [0] * 6
        self.in_bucket = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0


class RequestMetrics(Collector):
    """`matrixd_http_requests_total` and `matrixd_http_request_seconds`.

    Labels: `method` and `route` as the routes declare them (`none` for requests without an endpoint), `status` as
    1xx to 5xx. So the number of series is bounded by the table of routes.
    """

    def __init__(self) -> None:
        self._series: defaultdict[tuple[str, str], _Series] = defaultdict(_Series)

    def observe(self, route: Route | None, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        series = self._series[NO_ROUTE if route is None else (route.method, route.path)]
        series.by_class[status // 100] += 1
        series.in_bucket[bisect_left(BOUNDS, seconds)] += 1
        series.seconds += seconds

    def describe(self) -> Iterable[Metric]:
        """The metrics without their samples."""
        return _families()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        requests, seconds = _families()
        for (method, path), series in self._series.items():
            for status, count in enumerate(series.by_class):
                if count:
                    requests.add_metric([method, path, f"{status}xx"], count)
            counts = accumulate(series.in_bucket)
            seconds.add_metric([method, path], list(zip(_LABELS, counts, strict=True)), series.seconds)
        yield requests
        yield seconds


def _families() -> tuple[CounterMetricFamily, HistogramMetricFamily]:
    return (
        CounterMetricFamily(
            "matrixd_http_requests", "Requests that were answered.", labels=["method", "route", "status"]
        ),
        HistogramMetricFamily(
            "matrixd_http_request_seconds", "From a request's last byte to its answer.", labels=["method", "route"]
        ),
    )
