"""Builds what sends to other servers."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from matrixd.master.frame import Frame, Job
from matrixd.net.reachability import Pauses, Reachability
from matrixd.queries.room_servers import RoomServers
from matrixd.services.outbox import Outbox
from matrixd.services.sending_out.purge import Purge
from matrixd.services.sending_out.sender import FederationSender, PutsTransactions
from matrixd.storage import destinations

_HOUR = 60 * 60.0


@dataclass(frozen=True, slots=True)
class Sending:
    """What other parts need of it."""

    outbox: Outbox
    sender: FederationSender
    metrics: Collector


def build_reachability(frame: Frame) -> Reachability:
    """What the client for other servers needs; it learns at the start which servers failed before."""
    federation = frame.config.federation
    pauses = Pauses(
        federation.destination_min_retry_interval_ms,
        federation.destination_retry_multiplier,
        federation.destination_max_retry_interval_ms,
    )
    reachability = Reachability(frame.clock, pauses)

    async def restore() -> None:
        reachability.restore(await frame.database.read(destinations.failing))

    frame.at_start.append(restore)
    return reachability


def build_federation_sender(
    frame: Frame, client: PutsTransactions, reachability: Reachability, room_servers: RoomServers
) -> Sending:
    """Build it; `client` is the FederationClient, built with the same `reachability`.

    To be called after `build_reachability`, whose start comes first.
    """
    server_name, whitelist = frame.config.server.server_name, frame.config.federation.partners
    sender = FederationSender(
        server_name,
        frame.database,
        frame.feed,
        room_servers,
        client,
        reachability,
        frame.clock,
        frame.reactor,
        lambda: secrets.token_urlsafe(12),
        whitelist,
    )
    frame.at_start.append(sender.start)
    frame.at_stop.append(sender.stop)
    frame.jobs.append(Job("writing down what was sent", 60.0, sender.write))
    frame.jobs.append(Job("purging the queues for other servers", _HOUR, Purge(frame.database, frame.clock).run))
    return Sending(Outbox(server_name, sender, whitelist), sender, SenderMetrics(sender, reachability))


class SenderMetrics(Collector):
    """The state of the sender: few numbers, and no names of servers."""

    def __init__(self, sender: FederationSender, reachability: Reachability) -> None:
        self._sender = sender
        self._reachability = reachability

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is seen when it is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        sender, counts = self._sender, self._sender.counts
        taken, limit = sender.under_way
        gauges = (
            ("destinations_waiting", "Servers for which something waits.", sender.waiting),
            ("destinations_down", "Servers for which something waits and that do not answer.", sender.dead),
            ("destinations_failing", "Servers that did not answer last.", self._reachability.failing),
            ("transactions_under_way", "Transactions that are being sent.", taken),
            ("transactions_limit", "Transactions that may be sent at once now.", limit),
            ("held_bytes", "Memory of the events that wait.", sender.held_bytes),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"matrixd_federation_{name}", text, value)
        counters = (
            ("transactions_sent", "Transactions that other servers took.", counts.transactions),
            ("transactions_failed", "Attempts to send that failed.", counts.failures),
            ("pdus_sent", "Events that other servers took.", counts.pdus),
            ("edus_sent", "EDUs that other servers took.", counts.edus),
            ("edus_dropped", "Ephemeral EDUs that were dropped.", counts.dropped_edus),
        )
        for name, text, value in counters:
            yield CounterMetricFamily(f"matrixd_federation_{name}", text, value)
