"""Builds what fetches history from other servers: where clients page back to it, and where the room has holes."""

from matrixd.master.federation import Federation
from matrixd.master.frame import Frame, Job
from matrixd.services.backfill import Backfill
from matrixd.services.gap_repair import GapRepair
from matrixd.services.receiving.history_chunks import HistoryChunks
from matrixd.services.room_head import RoomHeads

_REPAIR_S = 30.0


def build_backfill(frame: Frame, heads: RoomHeads, federation: Federation) -> Backfill:
    """Build it; holes are looked for by themselves."""
    chunks = HistoryChunks(
        frame.database, heads, federation.checks, federation.auth_events, federation.anchors
    )
    backfill = Backfill(frame.database, heads, chunks, federation.history, frame.clock, frame.reactor)
    repair = GapRepair(frame.database, heads, federation.receiver, backfill, frame.clock)
    frame.jobs.append(Job("filling holes in the history of rooms", _REPAIR_S, repair.run))
    return backfill
