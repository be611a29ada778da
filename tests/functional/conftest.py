"""One server per engine and session, and users on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support import database
from tests.support.authority import Authority
from tests.support.client import MatrixClient
from tests.support.openapi import Specification
from tests.support.remote_server import remote_options
from tests.support.server import ServerProcess

NewUser = Callable[..., MatrixClient]

# What a new installation has switched off, and the tests try.
_OPTIONS = {"allow_guest_access": True, "login_via_existing_session": {"enabled": True}}


@pytest.fixture(scope="session", params=database.ENGINES)
def server(
    request: pytest.FixtureRequest, specification: Specification, authority: Authority
) -> Iterator[ServerProcess]:
    """A running server on each engine in turn, without rate limits. Tests share it: they must not stop it.

    It finds the other homeservers of the tests (`remote`).
    """
    if request.param == "psycopg2":
        request.getfixturevalue("postgres")
    place = database.fresh(request.param, migrated=False)
    running = ServerProcess(place, options={**_OPTIONS, **remote_options(authority)}).start()
    yield running
    running.stop()
    place.drop()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[MatrixClient]:
    """A client that is not signed in."""
    anonymous = server.client()
    yield anonymous
    anonymous.close()


@pytest.fixture
def new_user(server: ServerProcess) -> Iterator[NewUser]:
    """A function that makes an account with a name of its own and returns its signed-in client."""
    made: list[MatrixClient] = []

    def make(name: str | None = None, *, admin: bool = False) -> MatrixClient:
        made.append(server.new_client(name, admin=admin))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def alice(new_user: NewUser) -> MatrixClient:
    """A new user."""
    return new_user()


@pytest.fixture
def bob(new_user: NewUser) -> MatrixClient:
    """Another new user."""
    return new_user()


@pytest.fixture
def guest(client: MatrixClient) -> MatrixClient:
    """A new guest."""
    client.signed_in(client.post("/register", {}, query={"kind": "guest"}, token=None))
    return client


@pytest.fixture
def room(alice: MatrixClient, bob: MatrixClient) -> str:
    """A private room of alice that bob has joined."""
    room_id = alice.create_room(preset="private_chat", invite=[bob.user_id])
    bob.join(room_id)
    return room_id
