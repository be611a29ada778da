"""Builds what asks other servers."""

from pathlib import Path
from typing import Any

from twisted.names.client import Resolver

from matrixd.master.frame import Frame
from matrixd.net.connector import Connector
from matrixd.net.discovery import Discovery
from matrixd.net.dns import Dns
from matrixd.net.federation_client import FederationClient, Reachable, Sign
from matrixd.net.hosts_file import HostsFile
from matrixd.net.tls import ClientTls
from matrixd.net.well_known import WellKnowns
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget

#: In seconds, for each try of a name server; with three of them the last try ends after twelve.
_DNS_TIMEOUTS = (1, 3)


def system_hosts(clock: Clock) -> HostsFile:
    """What the machine's admin says of names."""
    return HostsFile(Path("/etc/hosts"), clock.monotonic)


def system_dns(reactor: Any, clock: Clock, hosts: HostsFile, budget: CacheBudget) -> Dns:
    """Look-ups by the system's name servers."""
    resolver = Resolver(resolv="/etc/resolv.conf", timeout=_DNS_TIMEOUTS, reactor=reactor)
    return Dns(resolver, hosts, clock, reactor, budget)


def build_federation_client(frame: Frame, sign: Sign, reachability: Reachable) -> FederationClient:
    """The client for requests to other servers; it closes its connections when the master stops.

    Raises ValueError if a file of `federation_custom_ca_list` holds no certificates.
    """
    federation = frame.config.federation
    dns = system_dns(frame.reactor, frame.clock, system_hosts(frame.clock), frame.budget)
    connector = Connector(frame.reactor, dns, federation.addresses, ClientTls(federation))
    well_knowns = WellKnowns(connector.connect, frame.clock, frame.reactor, frame.budget)
    client = FederationClient(
        frame.config.server.server_name,
        sign,
        Discovery(dns, well_knowns),
        connector,
        reachability,
        frame.clock,
        frame.reactor,
        partners=federation.partners,
        timeout_s=federation.client_timeout_ms / 1000,
    )

    async def stop() -> None:
        client.stop()

    frame.at_stop.append(stop)
    return client
