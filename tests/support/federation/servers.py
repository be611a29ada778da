"""Servers that federate: each behind a door of the network, with a certificate of the test's authority."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.support import run
from tests.support.client import MatrixClient
from tests.support.database import DatabasePlace
from tests.support.federation.authority import Authority
from tests.support.federation.network import Network
from tests.support.server import ServerProcess, free_port

#: Waiting as little as the configuration allows: the tests break connections on purpose, and mend them soon after.
IMPATIENT: Mapping[str, Any] = {
    "client_timeout": "5s",
    "destination_min_retry_interval": "1s",
    "destination_retry_multiplier": 1,
    "destination_max_retry_interval": "1s",
}


class FederatedServer(ServerProcess):
    """A server whose name is ``localhost:PORT``, where PORT is a door of ``network``."""

    program = "matrixd"

    def __init__(
        self,
        database: DatabasePlace,
        network: Network,
        authority: Authority,
        *,
        options: Mapping[str, Any] | None = None,
        host: str = "localhost",
    ) -> None:
        self.network = network
        self.door = network.new_door(host)
        self.certificate = authority.certify()
        self.authority = authority
        self.federation_port = free_port()
        self.door.leads_to(self.federation_port, self._pid_if_running)
        super().__init__(database, options=options, server_name=self.door.name)

    def user_id(self, name: str) -> str:
        """The ID of this server's user of that name."""
        return f"@{name}:{self.server_name}"

    def federation_options(self) -> dict[str, Any]:
        """What the configuration says of federation; Synapse understands the same options."""
        return {
            "tls_certificate_path": str(self.certificate.certificate),
            "tls_private_key_path": str(self.certificate.key),
            "federation_custom_ca_list": [str(self.authority.certificate)],
            "ip_range_blacklist": [],
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "allow_public_rooms_over_federation": True,
            "federation": dict(IMPATIENT),
            "rc_federation": {
                "window_size": 1000, "sleep_limit": 10_000, "sleep_delay": 1, "reject_limit": 10_000,
                "concurrent": 100,
            },
        }  # fmt: skip

    def _test_options(self) -> dict[str, Any]:
        options = super()._test_options()
        listener = {
            "port": self.federation_port,
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "tls": True,
            "x_forwarded": False,
            "resources": [{"names": ["federation"]}],
        }
        return {**options, **self.federation_options(), "listeners": [*options["listeners"], listener]}

    def _pid_if_running(self) -> int | None:
        return self.pid if self.is_running else None


class Servers(Sequence[FederatedServer]):
    """Some servers with one network between them."""

    def __init__(self, network: Network, servers: Sequence[FederatedServer]) -> None:
        self.network = network
        self._servers = list(servers)

    def __len__(self) -> int:
        return len(self._servers)

    def __getitem__(self, index: Any) -> Any:
        return self._servers[index]

    def __iter__(self) -> Iterator[FederatedServer]:
        return iter(self._servers)

    def start(self) -> Servers:
        """Starts those that do not run, side by side. Raises AssertionError with the end of a log."""
        at_once(server.start for server in self if not server.is_running)
        return self

    def new_clients(self, name: str) -> list[MatrixClient]:
        """A signed-in client of a new account of that name on each server."""
        return [server.new_client(name) for server in self]

    def kill(self) -> None:
        """kill -9 for all of them."""
        for server in self:
            server.kill()

    def log_tails(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"==== {server.server_name}\n{server.log_tail()}" for server in self)


@contextmanager
def federated(
    places: Iterable[DatabasePlace], *, seed: int = 0, options: Mapping[str, Any] | None = None
) -> Iterator[Servers]:
    """A running matrixd on each of the databases, and a perfect network between them; all of it ends with the block."""
    network = Network(seed)
    made: list[FederatedServer] = []
    try:
        authority = Authority(run.new_directory("authority"))
        made += at_once(partial(FederatedServer, place, network, authority, options=options) for place in places)
        yield Servers(network, made).start()
    finally:
        for server in made:
            server.kill()
        network.close()


def at_once(calls: Iterable[Any]) -> list[Any]:
    """Makes the calls side by side, and returns their results; raises what the first that failed raised."""
    with ThreadPoolExecutor(8) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
