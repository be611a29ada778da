"""What a scenario found out: figures with their samples, and the cost that they are taken from."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity; its value is the median of its samples."""

    name: str
    unit: str
    samples: tuple[float, ...]
    more_is_better: bool = False

    @property
    def value(self) -> float:
        return statistics.median(self.samples)


def figure(name: str, unit: str, *samples: float, more_is_better: bool = False) -> Figure:
    return Figure(name, unit, samples, more_is_better)


def merged(runs: Sequence[Sequence[Figure]]) -> list[Figure]:
    """The figures of several runs of the same work, as figures with one sample of each run."""
    return [
        Figure(first.name, first.unit, sum((run[at].samples for run in runs), ()), first.more_is_better)
        for at, first in enumerate(runs[0])
    ]


@dataclass(frozen=True, slots=True)
class Cost:
    """What some work took: wall time until its last answer, and CPU seconds until the server was quiet again."""

    seconds: float
    server_cpu: float
    database_cpu: float
    client_cpu: float

    def figures(self, count: float, noun: str) -> list[Figure]:
        """The cost of each of `count` pieces of work, called `noun`; the database's CPU is not in the server's."""
        return [
            figure(f"{noun}s per second", "/s", count / self.seconds, more_is_better=True),
            figure(f"server CPU per {noun}", "ms", 1e3 * self.server_cpu / count),
            figure(f"database CPU per {noun}", "ms", 1e3 * self.database_cpu / count),
            figure(f"client CPU per {noun}", "ms", 1e3 * self.client_cpu / count),
            figure("client's share of a core", "%", 100 * self.client_cpu / self.seconds),
        ]


def latency_figures(latencies: Sequence[float]) -> list[Figure]:
    """Percentiles, from seconds."""
    ordered = sorted(latencies)
    return [figure(f"latency p{percent}", "ms", 1e3 * _percentile(ordered, percent)) for percent in (50, 95, 99)]


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
