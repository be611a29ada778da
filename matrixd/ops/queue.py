"""`synctl queue`: what waits for other servers, which of them do not answer, and why.

It reads the database, beside a running server or without one. What healthy servers are about to get is in the memory of
the server and written down within a second; only what lags is here.
"""

import json
import time
from dataclasses import dataclass

from matrixd.config import Config
from matrixd.net.reachability import is_dead
from matrixd.ops.database import open_database
from matrixd.ops.status import duration
from matrixd.storage import destination_edus, destinations, outgoing_events
from matrixd.storage.destinations import Reach
from matrixd.storage.outgoing_events import Lacking
from matrixd.storage.transaction import Transaction
from matrixd.util.exit_codes import Action

#: Events that are looked at for one server; what may be more is shown as "at least".
_COUNT_LIMIT = 10_000
_NOTHING = Lacking(0, None, True)
_COLUMNS = ("server", "state", "events", "EDUs", "oldest", "last answer", "next try", "last error")


@dataclass(frozen=True, slots=True)
class QueuedServer:
    """A server for which something waits, or that failed last. Times are milliseconds since the epoch."""

    destination: str
    #: 'waiting' (for its turn), 'retrying' (failed a few times), 'down', or 'retired' (it says that it is gone).
    state: str
    events: int
    #: False: there may be more events.
    is_counted: bool
    edus: int
    #: When the oldest event that waits was sent.
    oldest_ts: int | None
    failures: int
    since_ts: int | None
    last_success_ts: int | None
    next_try_ts: int | None
    error_kind: str | None
    error: str | None


def show(config: Config, *, as_json: bool) -> int:
    """Prints the queue; Action.OK. Raises Refused if the database cannot be read."""
    connection = open_database(config.database)
    try:
        connection.begin(write=False)
        found = queued(Transaction(connection), config.server.server_name)
        connection.rollback()
    finally:
        connection.close()
    now_ms = time.time_ns() // 1_000_000
    print(_json(found) if as_json else table(found, now_ms))
    return Action.OK


def queued(tx: Transaction, server_name: str) -> list[QueuedServer]:
    """The servers for which something waits or that failed last, whose oldest event waits longest first."""

    def is_local(user_id: str) -> bool:
        return user_id.partition(":")[2] == server_name

    edus = destination_edus.waiting(tx)
    known = {reach.destination: (reach, acked_pos) for reach, acked_pos in destinations.every(tx)}
    found = []
    for name in sorted(known.keys() | edus.keys()):
        reach, acked_pos = known.get(name, (Reach(name), None))
        lacking = _NOTHING
        if acked_pos is not None:
            lacking = outgoing_events.lacking(tx, is_local, name, acked_pos, _COUNT_LIMIT)
        if lacking.count or name in edus or reach.failures:
            found.append(_queued_server(reach, lacking, edus.get(name, 0)))
    return sorted(found, key=lambda server: (server.oldest_ts is None, server.oldest_ts or 0, server.destination))


def _queued_server(reach: Reach, lacking: Lacking, edus: int) -> QueuedServer:
    return QueuedServer(
        reach.destination, _state(reach), lacking.count, lacking.is_complete, edus,
        lacking.oldest_ts if lacking.is_complete else reach.since_ts,
        reach.failures, reach.since_ts, reach.last_success_ts, reach.next_try_ts if reach.failures else None,
        reach.error_kind, reach.error,
    )


def _state(reach: Reach) -> str:
    if reach.retired:
        return "retired"
    if not reach.failures:
        return "waiting"
    return "down" if is_dead(reach.failures) else "retrying"


def table(servers: list[QueuedServer], now_ms: int) -> str:
    """The queue for people: a line for each server, and a summary of ages and errors."""
    if not servers:
        return "Nothing waits for other servers, and none of them fails."
    lines = [_COLUMNS, *(_line(server, now_ms) for server in servers)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS) - 1)]
    shown = ["  ".join([*(f"{cell:{w}}" for cell, w in zip(line, widths, strict=False)), line[-1]]) for line in lines]
    return "\n".join([*(line.rstrip() for line in shown), "", _summary(servers)])


def _line(server: QueuedServer, now_ms: int) -> tuple[str, ...]:
    at_least = "" if server.is_counted else "at least "
    error = "" if not server.failures or server.error is None else f"{server.error_kind}: {server.error}"
    return (
        server.destination,
        server.state if not server.failures else f"{server.state} ({server.failures} failures)",
        f"{at_least}{server.events}",
        str(server.edus),
        _ago(server.oldest_ts, now_ms),
        _ago(server.last_success_ts, now_ms),
        _until(server.next_try_ts, now_ms),
        error,
    )


def _ago(ts: int | None, now_ms: int) -> str:
    return "-" if ts is None else f"{duration(max(0, now_ms - ts) / 1000)} ago"


def _until(ts: int | None, now_ms: int) -> str:
    if ts is None:
        return "-"
    return "now" if ts <= now_ms else f"in {duration((ts - now_ms) / 1000)}"


def _summary(servers: list[QueuedServer]) -> str:
    kinds: dict[str, int] = {}
    for server in servers:
        if server.failures:
            kinds[server.error_kind or "unknown"] = kinds.get(server.error_kind or "unknown", 0) + 1
    failing = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]))
    waiting = f"{len(servers)} servers, {sum(s.events for s in servers)} events, {sum(s.edus for s in servers)} EDUs."
    return f"{waiting} Failing: {failing}." if failing else waiting


def _json(servers: list[QueuedServer]) -> str:
    fields = QueuedServer.__slots__
    return json.dumps([{name: getattr(server, name) for name in fields} for server in servers], indent=2)
