"""Builds what keeps the graphs of rooms whole: fetches history, fills holes, joins ends."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from matrixd.master.federation import Federation
from matrixd.master.frame import Frame, Job
from matrixd.services.backfill import Backfill
from matrixd.services.end_merging import EndMerging
from matrixd.services.gap_repair import GapRepair
from matrixd.services.receiving.history_chunks import HistoryChunks
from matrixd.services.room_head import RoomHeads
from matrixd.services.room_lanes import RoomLanes

_REPAIR_S = 5.0


@dataclass(frozen=True, slots=True)
class RoomGraphs:
    """What other parts need of it."""

    backfill: Backfill
    metrics: Collector


def build_backfill(frame: Frame, heads: RoomHeads, lanes: RoomLanes, federation: Federation) -> RoomGraphs:
    """Build it; holes are looked for, and ends are joined, by themselves."""
    chunks = HistoryChunks(
        frame.database, heads, federation.checks, federation.auth_events, federation.anchors
    )
    backfill = Backfill(frame.database, heads, chunks, federation.history, frame.clock, frame.reactor)
    repair = GapRepair(frame.database, heads, federation.receiver, backfill, frame.clock)
    frame.jobs.append(Job("filling holes in the history of rooms", _REPAIR_S, repair.run))
    return RoomGraphs(backfill, GraphMetrics(EndMerging(heads, lanes, frame.feed, frame.clock)))


class GraphMetrics(Collector):
    """The state of rooms' graphs."""

    def __init__(self, merging: EndMerging) -> None:
        self._merging = merging

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is seen when it is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        text = "The greatest number of forward extremities among the rooms in which something happened."
        yield GaugeMetricFamily("matrixd_room_extremities_most", text, self._merging.most)
