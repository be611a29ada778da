"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from matrixd.core.streams import Stream
from matrixd.http.kit.metrics import RequestMetrics
from matrixd.http.metrics import Metrics
from matrixd.master.metrics import ServerMetrics
from matrixd.queries.feed import Feed
from matrixd.util.lru import CacheBudget


class _Database:
    waiting = (3, 4)


def test_the_state_of_the_parts() -> None:
    budget = CacheBudget(1000)
    cache = budget.cache("tokens", str, str)
    cache.put("a", "b", 100)
    cache.get("a")
    cache.get("c")
    cache.get("d")
    registry = CollectorRegistry()
    registry.register(RequestMetrics())
    registry.register(ServerMetrics(_Database(), budget, Feed({Stream.EVENTS: 7}), lambda: 5))  # type: ignore[arg-type]
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = {
        (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
    }
    assert samples["matrixd_database_queue", "write"] == 3
    assert samples["matrixd_database_queue", "read"] == 4
    assert samples["matrixd_persister_queue",] == 5
    assert samples["matrixd_stream_position", "events"] == 7
    assert samples["matrixd_cache_budget_bytes",] == 1000
    assert samples["matrixd_cache_bytes", "tokens"] == 100
    assert samples["matrixd_cache_entries", "tokens"] == 1
    assert samples["matrixd_cache_hits_total", "tokens"] == 1
    assert samples["matrixd_cache_misses_total", "tokens"] == 2


def test_scrapers_of_synapse_find_it() -> None:
    (route,) = Metrics(CollectorRegistry()).routes()
    assert set(route.paths()) == {"/metrics", "/_synapse/metrics"}
