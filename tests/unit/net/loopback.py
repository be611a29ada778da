"""Servers on loopback that do what a test says, good or bad, and the parts of `net` that talk to them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.threads import blockingCallFromThread
from twisted.names import dns as names
from twisted.names.client import Resolver
from twisted.names.server import DNSServerFactory

from matrixd.config.federation import AddressRules, FederationConfig
from matrixd.net.connection_pool import PoolLimits
from matrixd.net.connector import Connector
from matrixd.net.discovery import Discovery
from matrixd.net.dns import Dns
from matrixd.net.errors import RemoteError
from matrixd.net.federation_client import FederationClient
from matrixd.net.hosts_file import HostsFile
from matrixd.net.http_connection import Connection
from matrixd.net.route import Place, Route
from matrixd.net.tls import ClientTls
from matrixd.net.well_known import WellKnowns
from matrixd.util.lru import CacheBudget
from tests.support.authority import Authority, Certificate
from tests.support.clock import TestClock

T = TypeVar("T")
#: Nothing on loopback takes so long; a test that waits longer fails.
PATIENCE_S = 20.0
OPEN = AddressRules((), ())


def config(authority: Authority | None = None, **changes: Any) -> FederationConfig:
    """The options; only `authority` is believed."""
    values: dict[str, Any] = {
        "partners": None,
        "addresses": OPEN,
        "verify_certificates": True,
        "certificate_verification_whitelist": (),
        "custom_ca_files": () if authority is None else (authority.root,),
        "minimum_tls_version": "1.2",
        "allow_profile_lookup": True,
        "allow_device_name_lookup": False,
        "client_timeout_ms": 60_000,
        "destination_min_retry_interval_ms": 1,
        "destination_retry_multiplier": 2.0,
        "destination_max_retry_interval_ms": 1,
    }
    return FederationConfig(**{**values, **changes})


def rules(*denied: str, allowed: tuple[str, ...] = ()) -> AddressRules:
    """Address rules from networks as text."""
    return AddressRules(tuple(map(ip_network, denied)), tuple(map(ip_network, allowed)))


@dataclass
class Asked:
    """A request that a server got."""

    line: str
    headers: Mapping[str, str]
    body: bytes


#: What a server does with a connection; it may read requests from it and write what it wants.
Handler = Callable[["Peer"], None]


class Peer:
    """The server's side of a connection, in a thread of its own."""

    def __init__(self, connection: ssl.SSLSocket, server: TlsServer) -> None:
        self.connection = connection
        self.server = server
        self._file = connection.makefile("rb")

    def read(self) -> Asked | None:
        """The next request; None at the end."""
        line = self._file.readline().decode("latin-1").strip()
        if not line:
            return None
        headers = {}
        while header := self._file.readline().decode("latin-1").strip():
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", 0)))
        asked = Asked(line, headers, body)
        self.server.asked.append(asked)
        return asked

    def write(self, data: bytes) -> None:
        """Send as it is."""
        self.connection.sendall(data)


class TlsServer:
    """Listens on loopback and gives each connection to the handler."""

    def __init__(self, certificate: Certificate, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.server_names: list[str | None] = []
        self._handler = handler
        self._context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.chain, certificate.key)
        self._context.sni_callback = lambda _, name, __: self.server_names.append(name)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        # The other side may refuse the certificate, or have enough.
        with contextlib.suppress(OSError), plain, self._context.wrap_socket(plain, server_side=True) as connection:
            self._open.append(connection)
            self._handler(Peer(connection, self))

    def stop(self) -> None:
        """Close everything."""
        with contextlib.suppress(OSError):
            # Wakes the thread that waits for a connection, and would take one more.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An answer with its length; `Cache_Control="no-store"` is a header."""
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines.update({name.replace("_", "-"): value for name, value in headers.items()})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def answering(*answers: bytes) -> Handler:
    """Gives these answers on each connection, one to each request; the last one again and again."""

    def handle(peer: Peer) -> None:
        number = 0
        while peer.read() is not None:
            peer.write(answers[min(number, len(answers) - 1)])
            number += 1

    return handle


@dataclass
class FakeReachability:
    """Remembers what it was told."""

    succeeded_with: list[str] = field(default_factory=list)
    errors: list[RemoteError] = field(default_factory=list)
    refuse: RemoteError | None = None

    def check(self, destination: str) -> None:
        if self.refuse is not None:
            raise self.refuse

    def succeeded(self, destination: str) -> None:
        self.succeeded_with.append(destination)

    def failed(self, destination: str, error: RemoteError) -> None:
        self.errors.append(error)


class FakeNames:
    """What the name server of a test says; any name without an entry does not exist."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], list[Any]] = {}
        self.broken: set[str] = set()
        self.silent: set[str] = set()
        self.asked: list[tuple[str, int]] = []

    def add(self, name: str, *records: Any) -> None:
        """Records of one name: `names.Record_A(...)`, …"""
        for record in records:
            self.records.setdefault((name, record.TYPE), []).append(record)

    def query(self, query: Any, timeout: object = None) -> Deferred[Any]:
        """Called by Twisted's server."""
        name = query.name.name.decode().lower()
        self.asked.append((name, query.type))
        made: Deferred[Any] = Deferred()
        if name in self.silent:
            return made
        if name in self.broken:
            made.errback(RuntimeError("so the test wants it"))
            return made
        found = self._chain(name, query.type)
        if not found and not any(known == name for known, _ in self.records):
            made.errback(names_error(name))
        else:
            made.callback((found, [], []))
        return made

    def _chain(self, name: str, kind: int) -> list[Any]:
        aliases = self.records.get((name, names.CNAME), [])
        found = [names.RRHeader(name, names.CNAME, names.IN, alias.ttl or 60, alias) for alias in aliases]
        for alias in aliases:
            found += self._chain(alias.name.name.decode(), kind)
        records = self.records.get((name, kind), [])
        return found + [names.RRHeader(name, kind, names.IN, record.ttl or 60, record) for record in records]


def names_error(name: str) -> Exception:
    """The name does not exist."""
    from twisted.names.error import DomainError

    return DomainError(name)


class Net:
    """A reactor of its own in a thread, and the parts of `net` on it."""

    def __init__(self, authority: Authority, directory: Path) -> None:
        self.authority = authority
        self.reactor = SelectReactor()
        self.clock = TestClock()
        self.names = FakeNames()
        self.reachability = FakeReachability()
        self.signed: list[tuple[str, str, str, bytes | None]] = []
        #: Where connections go instead: (host, port) -> port on loopback. Nobody may listen on 443 in a test.
        self.moved: dict[tuple[str, int], int] = {}
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost a.example x.a.example b.example other.example target.example\n")
        self._servers: list[TlsServer] = []
        self._thread = threading.Thread(target=self.reactor.run, kwargs={"installSignalHandlers": False}, daemon=True)
        self._listen()
        self._thread.start()

    def _listen(self) -> None:
        factory: Any = DNSServerFactory(clients=[self.names])
        factory.noisy = False
        protocol = names.DNSDatagramProtocol(factory, reactor=self.reactor)
        port = self.reactor.listenUDP(0, protocol, interface="127.0.0.1")
        self.name_server = ("127.0.0.1", port.getHost().port)

    def serve(self, handler: Handler, *certified: str, **options: Any) -> TlsServer:
        """A server whose certificate is for these names."""
        made = TlsServer(self.authority.issue(*(certified or ("localhost", "127.0.0.1"))), handler, **options)
        self._servers.append(made)
        return made

    def serve_with(self, certificate: Certificate, handler: Handler, **options: Any) -> TlsServer:
        """A server with this certificate."""
        made = TlsServer(certificate, handler, **options)
        self._servers.append(made)
        return made

    def dns(self) -> Dns:
        """Look-ups at the test's name server."""
        resolver = Resolver(servers=[self.name_server], timeout=(1,), reactor=self.reactor)
        hosts = HostsFile(self.hosts, self.clock.monotonic)
        return Dns(resolver, hosts, self.clock, self.reactor, CacheBudget(1_000_000))

    def connector(self, **changes: Any) -> Connector:
        """With options changed."""
        options = config(**{"authority": self.authority, **changes})
        return Connector(self.reactor, self.dns(), options.addresses, ClientTls(options))

    def move(self, connector: Connector) -> Callable[[Route], Coroutine[Any, Any, Connection]]:
        """The connector's `connect`, with `moved` applied."""

        async def connect(route: Route) -> Connection:
            places = [Place(p.host, self.moved.get((p.host, p.port), p.port)) for p in route.places]
            return await connector.connect(
                Route(route.server_name, places, route.tls_name, route.host_header, route.steps)
            )

        return connect

    def well_knowns(self, **changes: Any) -> WellKnowns:
        """Well-known files from the servers of `moved`."""
        connect = self.move(self.connector(**changes))
        return WellKnowns(connect, self.clock, self.reactor, CacheBudget(1_000_000))

    def client(
        self, limits: PoolLimits | None = None, whitelist: frozenset[str] | None = None, **changes: Any
    ) -> FederationClient:
        """A client with options changed."""
        connector = self.connector(**changes)
        discovery = Discovery(self.dns(), self.well_knowns(**changes), lambda: 0.0)
        moved: Any = connector
        moved.connect = self.move(self.connector(**changes))
        return FederationClient(
            "here.example",
            self._sign,
            discovery,
            moved,
            self.reachability,
            self.clock,
            self.reactor,
            partners=whitelist,
            timeout_s=PATIENCE_S,
            limits=limits,
        )

    def _sign(self, destination: str, method: str, target: str, body: bytes | None) -> list[bytes]:
        self.signed.append((destination, method, target, body))
        return [b'X-Matrix origin="here.example"']

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, which runs in the reactor."""
        started: Any = Deferred.fromCoroutine
        result: T = blockingCallFromThread(self.reactor, started, work)
        return result

    def call(self, function: Callable[[], T]) -> T:
        """The result of a function that is called in the reactor."""
        return blockingCallFromThread(self.reactor, function)

    def becomes(self, condition: Callable[[], bool]) -> bool:
        """Whether something is so within the time that a test waits."""
        end = time.monotonic() + PATIENCE_S
        while not self.call(condition):
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def stop(self) -> None:
        """Stop the servers and the reactor."""
        for server in self._servers:
            server.stop()
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(10)


def failure(net: Net, work: Coroutine[Any, Any, object]) -> RemoteError:
    """The error with which it ends."""
    try:
        net.run(work)
    except RemoteError as error:
        return error
    raise AssertionError("it succeeded")
