"""Servers of the scenarios: each test has its own, on a database that survives crashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import database
from tests.support.database import DatabasePlace
from tests.support.openapi import Specification
from tests.support.server import ServerProcess
from tests.support.synctl import SynctlServer


@pytest.fixture
def durable_database(engine_name: database.EngineName, request: pytest.FixtureRequest) -> DatabasePlace:
    """An empty database on each engine in turn; PostgreSQL's flushes to disk and is the test's own."""
    cluster = request.getfixturevalue("durable_postgres") if engine_name == "psycopg2" else None
    return database.fresh(engine_name, migrated=False, cluster=cluster)


@pytest.fixture
def synctl_server(durable_database: DatabasePlace, specification: Specification) -> Iterator[SynctlServer]:
    """A configured server that synctl has not started yet."""
    made = SynctlServer(durable_database)
    yield made
    made.end()


@pytest.fixture
def new_server(specification: Specification) -> Iterator[Callable[..., ServerProcess]]:
    """A function that starts a server on a database: ``new_server(place, options={…})``."""
    made: list[ServerProcess] = []

    def make(place: DatabasePlace, **options: Any) -> ServerProcess:
        made.append(ServerProcess(place, options=options))
        return made[-1].start()

    yield make
    for server in made:
        server.kill()
