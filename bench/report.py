"""The results as a table for people and as JSON for programs."""

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.figures import Figure
from bench.scale import Scale

_NAME_WIDTH = 52
_COLUMN_WIDTH = 14


@dataclass(slots=True)
class Result:
    """What one scenario said of one server on one engine; `error` if it could not be run to its end."""

    engine: str
    server: str
    scenario: str
    figures: list[Figure]
    seconds: float
    error: str | None = None


@dataclass(slots=True)
class Report:
    """All results of a run."""

    versions: Mapping[str, str]
    scale: Scale
    results: list[Result] = field(default_factory=list)

    def write_json(self, directory: Path) -> Path:
        directory.mkdir(exist_ok=True)
        file = directory / time.strftime("%Y%m%dT%H%M%SZ.json", time.gmtime())
        file.write_text(json.dumps(self._as_json(), indent=1) + "\n")
        return file

    def table(self) -> str:
        engines = list(dict.fromkeys(result.engine for result in self.results))
        return "\n\n".join("\n".join(self._engine_table(engine)) for engine in engines)

    def _as_json(self) -> object:
        results = [asdict(result) | {"figures": [_as_json(f) for f in result.figures]} for result in self.results]
        machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
        return {"versions": self.versions, "machine": machine, "scale": asdict(self.scale), "results": results}

    def _engine_table(self, engine: str) -> Iterator[str]:
        here = [result for result in self.results if result.engine == engine]
        servers = list(dict.fromkeys(result.server for result in here))
        compared = set(servers) >= {"matrixd", "synapse"}
        titles = [*servers, *(["ratio"] if compared else [])]
        yield f"{engine:<{_NAME_WIDTH}}" + "".join(f"{title:>{_COLUMN_WIDTH}}" for title in titles)
        for scenario in dict.fromkeys(result.scenario for result in here):
            yield f"{scenario}"
            by_server = {result.server: result for result in here if result.scenario == scenario}
            yield from _rows([by_server[server] for server in servers if server in by_server], servers, compared)


def _rows(results: Sequence[Result], servers: Sequence[str], compared: bool) -> Iterator[str]:
    names = dict.fromkeys(each.name for result in results for each in result.figures)
    found = {result.server: {each.name: each for each in result.figures} for result in results}
    for name in names:
        if not any(each.value for by_name in found.values() for each in by_name.values() if each.name == name):
            continue  # the CPU of a database that has no processes
        figures = [found.get(server, {}).get(name) for server in servers]
        unit = next(each.unit for each in figures if each is not None)
        cells = [_number(each.value) if each is not None else "-" for each in figures]
        if compared:
            cells.append(ratio(found.get("matrixd", {}).get(name), found.get("synapse", {}).get(name)))
        title = f"  {name}, {unit}" if unit else f"  {name}"
        yield f"{title:<{_NAME_WIDTH}}" + "".join(f"{cell:>{_COLUMN_WIDTH}}" for cell in cells)
    for result in results:
        if result.error is not None:
            yield f"  {result.server} FAILED: {result.error}"


def ratio(ours: Figure | None, peers: Figure | None) -> str:
    """How many times better than the peer, "2.0x" is half the cost or twice the rate; "-" where it says nothing."""
    if ours is None or peers is None or ours.value <= 0 or peers.value <= 0 or ours.name.startswith("client"):
        return "-"
    better = ours.value / peers.value if ours.more_is_better else peers.value / ours.value
    return f"{_number(better)}x"


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _as_json(each: Figure) -> object:
    return {"name": each.name, "unit": each.unit, "median": each.value, "samples": each.samples}
