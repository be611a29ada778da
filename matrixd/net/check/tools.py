"""What a check works with: the parts that requests to other servers go through, new ones that remember nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from matrixd.config.federation import PRIVATE_RANGES, UNROUTABLE, AddressRules, FederationConfig
from matrixd.net.addresses import is_allowed
from matrixd.net.check.fetching import Fetcher
from matrixd.net.connector import Connector
from matrixd.net.discovery import Discovery
from matrixd.net.dns import Dns
from matrixd.net.hosts_file import HostsFile
from matrixd.net.tls import ClientTls
from matrixd.net.well_known import WellKnowns
from matrixd.util.clock import Clock
from matrixd.util.lru import CacheBudget

#: What all that is looked up for one check may take.
_BUDGET_BYTES = 1_000_000
#: Every address that a packet can be sent to.
ANYWHERE = AddressRules(UNROUTABLE, ())
_PRIVATE = AddressRules((*UNROUTABLE, *PRIVATE_RANGES), ())


@dataclass(frozen=True, slots=True)
class Tools:
    """The parts. `unverified` connects to whatever certificate there is, to look at it."""

    reactor: Any
    clock: Clock
    config: FederationConfig
    dns: Dns
    hosts: HostsFile
    tls: ClientTls
    connector: Connector
    unverified: Connector
    well_knowns: WellKnowns
    discovery: Discovery
    fetcher: Fetcher


#: Makes look-ups by the system's name servers.
MakeDns = Callable[[HostsFile, CacheBudget], Dns]
#: Makes a connector; tests put their own ports in.
MakeConnector = Callable[[Any, Dns, AddressRules, ClientTls], Connector]


def make_tools(
    config: FederationConfig,
    reactor: Any,
    clock: Clock,
    hosts: HostsFile,
    make_dns: MakeDns,
    *,
    is_own: bool,
    make_connector: MakeConnector = Connector,
) -> Tools:
    """The parts for one check. Raises ValueError if a file of `federation_custom_ca_list` holds no certificates.

    To ourselves connections may go to any address: what others would refuse is said.
    """
    budget = CacheBudget(_BUDGET_BYTES)
    dns = make_dns(hosts, budget)
    rules = ANYWHERE if is_own else config.addresses
    tls = ClientTls(config)
    connector = make_connector(reactor, dns, rules, tls)
    unverified = make_connector(reactor, dns, rules, ClientTls(replace(config, verify_certificates=False)))
    well_knowns = WellKnowns(connector.connect, clock, reactor, budget)
    return Tools(
        reactor,
        clock,
        config,
        dns,
        hosts,
        tls,
        connector,
        unverified,
        well_knowns,
        Discovery(dns, well_knowns),
        Fetcher(connector, clock, reactor),
    )


def is_private(address: str) -> bool:
    """Whether the public internet knows no way to the address."""
    return not is_allowed(_PRIVATE, address)


def is_loopback(address: str) -> bool:
    """Whether the address is the machine's own."""
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)
