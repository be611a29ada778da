"""Two servers of different makers on one network, shared by all tests; each in turn is where the room begins.

``MATRIXD_INTEROP``: ``skip``, or the two programs (``matrixd,synapse``);
``synapse,synapse`` tries the tests themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.programs import InstallFailed
from tests.interop.people import Person, Side
from tests.support import database, run
from tests.support.federation.authority import Authority
from tests.support.federation.network import Network
from tests.support.federation.servers import FederatedServer, Servers
from tests.support.federation.synapse import PYTHON_VARIABLE, SynapseServer, synapse_python
from tests.support.openapi import Specification

VARIABLE = "MATRIXD_INTEROP"
VERSIONS = ("6", "10", "11", "12")

NewServer = Callable[..., FederatedServer]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # With --dist loadgroup one worker runs all of them: they share the servers, and some stop one.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("interop"))


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Whom both servers trust."""
    return Authority(run.new_directory("authority"))


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """What is between them."""
    made = Network()
    yield made
    made.close()


@pytest.fixture(scope="session")
def new_federated(
    authority: Authority, network: Network, specification: Specification, request: pytest.FixtureRequest
) -> Iterator[NewServer]:
    """A function that makes and starts a server of a program: ``new_federated("synapse")``."""
    made: list[FederatedServer] = []

    def make(program: str, host: str = "localhost") -> FederatedServer:
        if program == "synapse":
            made.append(SynapseServer(network, authority, _synapse(), host=host))
        else:
            request.getfixturevalue("postgres")
            made.append(FederatedServer(database.fresh("psycopg2"), network, authority, host=host))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture(scope="session")
def programs() -> tuple[str, str]:
    """The names of the two programs."""
    wanted = os.environ.get(VARIABLE) or "matrixd,synapse"
    if wanted == "skip":
        pytest.skip(f"{VARIABLE} says so")
    one, other = wanted.split(",")
    return one, other


@pytest.fixture(scope="session")
def servers(programs: tuple[str, str], network: Network, new_federated: NewServer) -> Servers:
    """The two servers. Their hosts have different names, so that an ACL can name one of them."""
    return Servers(network, [new_federated(programs[0], "localhost"), new_federated(programs[1], "127.0.0.1")])


@pytest.fixture(params=["from_here", "from_there"])
def sides(request: pytest.FixtureRequest, servers: Servers) -> tuple[Side, Side]:
    """The side where the room is made, and the other: each server is each of them in turn."""
    here, there = (Side(server) for server in servers)
    return (here, there) if request.param == "from_here" else (there, here)


@pytest.fixture
def home(sides: tuple[Side, Side], servers: Servers) -> Side:
    """The server where the room is made."""
    servers.network.heal()
    servers.start()
    return sides[0]


@pytest.fixture
def away(sides: tuple[Side, Side]) -> Side:
    """The other server."""
    return sides[1]


@pytest.fixture(params=VERSIONS)
def room_version(request: pytest.FixtureRequest) -> str:
    """Each room version in turn."""
    return str(request.param)


@pytest.fixture
def alice(home: Side) -> Person:
    """The one who makes the room."""
    return home.person("alice")


@pytest.fixture
def bob(home: Side, away: Side) -> Person:
    """Somebody on the other server."""
    return away.person("bob")


def _synapse() -> str:
    try:
        return synapse_python()
    except InstallFailed as failed:
        pytest.fail(
            f"The tests against Synapse need it from PyPI, and it could not be installed. {failed}\n"
            f"{PYTHON_VARIABLE} names a Python that has it; {VARIABLE}=skip leaves these tests out.",
            pytrace=False,
        )
