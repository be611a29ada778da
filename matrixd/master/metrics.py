"""What the master tells Prometheus beside its requests: read when it asks, so that counting costs nothing."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from matrixd import __version__
from matrixd.core.streams import Stream
from matrixd.http.kit.metrics import RequestMetrics
from matrixd.http.metrics import Metrics
from matrixd.master.frame import Frame
from matrixd.queries.feed import Feed
from matrixd.storage.database import Database
from matrixd.util.lru import CacheBudget


def serve_metrics(
    frame: Frame, waiting_events: Callable[[], int], *others: Collector
) -> RequestMetrics | None:
    """Serve them where `enable_metrics` says so, and return what counts requests; None if nobody wants to know.

    `waiting_events` is the length of the persister's queue, `others` are the metrics of further parts.
    """
    if not frame.config.server.enable_metrics:
        return None
    requests = RequestMetrics()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(requests)
    registry.register(ServerMetrics(frame.database, frame.budget, frame.feed, waiting_events))
    for other in others:
        registry.register(other)
    frame.serve("metrics", Metrics(registry).routes())
    return requests


class ServerMetrics(Collector):
    """The state of the master's parts.

    Labels: `thread` is `write` or `read`, `cache` the name of a cache, `stream` that of a stream: few, and fixed.
    """

    def __init__(
        self, database: Database, budget: CacheBudget, feed: Feed, waiting_events: Callable[[], int]
    ) -> None:
        self._database = database
        self._budget = budget
        self._feed = feed
        self._waiting_events = waiting_events

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is seen when it is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        yield _gauge("matrixd_info", "The version that runs.", "version", {__version__: 1})
        writes, reads = self._database.waiting
        yield _gauge(
            "matrixd_database_queue", "Transactions that wait for a thread.", "thread", {"write": writes, "read": reads}
        )
        yield GaugeMetricFamily(
            "matrixd_persister_queue", "Units of events that wait to be stored.", self._waiting_events()
        )
        token = self._feed.token
        yield _gauge(
            "matrixd_stream_position", "How far a stream has come.", "stream", {s.label: token[s] for s in Stream}
        )
        yield GaugeMetricFamily(
            "matrixd_cache_budget_bytes", "What all caches may hold together.", self._budget.total_bytes
        )
        yield from self._caches()

    def _caches(self) -> Iterator[Metric]:
        caches = self._budget.caches
        yield _gauge(
            "matrixd_cache_bytes", "What a cache holds.", "cache", {name: c.used_bytes for name, c in caches.items()}
        )
        yield _gauge("matrixd_cache_entries", "Entries of a cache.", "cache", {n: len(c) for n, c in caches.items()})
        yield _counter("matrixd_cache_hits", "Look-ups that found.", {name: c.hits for name, c in caches.items()})
        yield _counter("matrixd_cache_misses", "Look-ups that did not.", {name: c.misses for name, c in caches.items()})


def _gauge(name: str, text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _counter(name: str, text: str, by_cache: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=["cache"])
    for cache, number in by_cache.items():
        family.add_metric([cache], number)
    return family
