"""Connections to where a server is: its addresses are looked up, checked, and tried, and TLS is established."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from matrixd.config.federation import AddressRules
from matrixd.net.addresses import is_address, is_allowed
from matrixd.net.dns import Dns
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.failures import NETWORK_FAILURES, explain
from matrixd.net.http_connection import Connection
from matrixd.net.route import Place, Route
from matrixd.net.tls import ClientTls, Handshake

#: For one address; the next one is tried beside it after 0.3 s.
CONNECT_S = 10.0
HANDSHAKE_S = 10.0
#: More addresses of one name are left out.
_MAX_ADDRESSES = 8


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of a host: those that connections may go to, and those that are refused."""

    allowed: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection with TLS, and what the handshake showed."""

    connection: Connection
    handshake: Handshake
    address: str


class Connector:
    """Connects. `reactor` is Twisted's."""

    def __init__(self, reactor: Any, dns: Dns, rules: AddressRules, tls: ClientTls) -> None:
        self._reactor = reactor
        self._dns = dns
        self._rules = rules
        self._tls = tls

    async def connect(self, route: Route) -> Connection:
        """A connection to the first place of the route that lets us in. Raises RemoteError with the last failure."""
        failure = None
        for place in route.places:
            try:
                addresses = await self.addresses(route.server_name, place.host)
                opened = await self.open(route, place, addresses.allowed)
                opened.connection.host_header = route.host_header
                return opened.connection
            except RemoteError as error:
                failure = error
        raise failure or RemoteError(route.server_name, FailureKind.DNS, "there is no place to connect to")

    async def addresses(self, server_name: str, host: str) -> Addresses:
        """What a host resolves to, with the rules applied. Raises RemoteError: DNS, or ADDRESS if none is left."""
        found = (host,) if is_address(host) else await self._dns.addresses(server_name, host)
        allowed = tuple(address for address in found if is_allowed(self._rules, address))
        refused = tuple(address for address in found if address not in allowed)
        if not allowed:
            text = f"connections to {', '.join(refused[:_MAX_ADDRESSES])} are forbidden by ip_range_blacklist"
            raise RemoteError(server_name, FailureKind.ADDRESS, text)
        return Addresses(allowed[:_MAX_ADDRESSES], refused)

    async def open(self, route: Route, place: Place, addresses: Sequence[str]) -> Opened:
        """Connect to the first of the addresses that answers. Raises RemoteError: CONNECT or TLS, ADDRESS."""
        # Whoever brought the addresses: here is the last place before the connection.
        if not addresses or not all(is_allowed(self._rules, address) for address in addresses):
            raise RemoteError(route.server_name, FailureKind.ADDRESS, "the address is forbidden by ip_range_blacklist")
        verify = self._tls.is_verified(route.server_name, route.tls_name)
        handshake = self._tls.handshake(route.tls_name, verify=verify)
        where = f"{place.host} port {place.port}"
        factory: Any = Factory.forProtocol(Connection)
        factory.noisy = False
        # Not wrapClientTLS: it takes no reactor, but would use the global one.
        # zope's interfaces mean nothing to the type checker.
        creator: Any = handshake
        with_tls: Any = TLSMemoryBIOFactory(creator, True, factory, self._reactor)
        connection: Connection = (
            await self.transport(route.server_name, where, with_tls, place.port, addresses)
        ).wrappedProtocol
        try:
            await connection.ready.addTimeout(HANDSHAKE_S, self._reactor)
        except CancelledError:
            connection.abort_now()
            raise
        except NETWORK_FAILURES as error:
            connection.abort_now()
            raise _tls_failure(route, where, handshake, error) from None
        return Opened(connection, handshake, connection.transport.getPeer().host)

    async def transport(
        self, server_name: str, where: str, factory: Any, port: int, addresses: Sequence[str]
    ) -> Any:
        """A protocol of the factory, connected to the first address that answers. Raises RemoteError(CONNECT).

        Nothing is checked here. where: what the place is called in the error.
        """
        known = _KnownAddresses(self._reactor, [_twisted(address, port) for address in addresses])
        # The name is only for messages: the addresses are known.
        endpoint = HostnameEndpoint(known, "server.invalid", port, timeout=CONNECT_S)
        try:
            return await endpoint.connect(factory)
        except NETWORK_FAILURES as error:
            kind, sentence = explain(error)
            raise RemoteError(server_name, kind, f"{where}: {sentence}") from None


@implementer(IReactorPluggableNameResolver)
class _KnownAddresses:
    """The reactor, for an endpoint whose addresses were looked up before."""

    def __init__(self, reactor: Any, addresses: Sequence[IPv4Address | IPv6Address]) -> None:
        self._addresses = addresses
        self.nameResolver = self
        self.seconds = reactor.seconds
        self.callLater = reactor.callLater
        self.connectTCP = reactor.connectTCP

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, **_: object) -> Any:
        receiver.resolutionBegan(None)
        for address in self._addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()
        return receiver


def _twisted(address: str, port: int) -> IPv4Address | IPv6Address:
    return IPv6Address("TCP", address, port) if ":" in address else IPv4Address("TCP", address, port)


def _tls_failure(route: Route, where: str, handshake: Handshake, error: Exception) -> RemoteError:
    if handshake.problem is not None:
        return RemoteError(route.server_name, FailureKind.TLS, f"{where}: {handshake.problem}")
    if isinstance(error, DeferredTimeout):
        return RemoteError(route.server_name, FailureKind.TLS, f"{where}: no end of the TLS handshake in time")
    _, sentence = explain(error)
    return RemoteError(route.server_name, FailureKind.TLS, f"{where}: {sentence}, during the TLS handshake")
