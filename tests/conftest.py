"""Fixtures of all tests: the specification, temporary PostgreSQL, and fresh databases on both engines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import run
from tests.support.openapi import Specification, load_specification
from tests.support.openapi_files import SpecificationMissing
from tests.support.postgres import PostgresCluster, PostgresMissing, shared_cluster

if TYPE_CHECKING:
    from tests.support.authority import Authority
    from tests.support.database import DatabasePlace, OpenDatabase
    from tests.support.remote_server import RemoteServer

ENGINES = ("sqlite3", "psycopg2")
_run_directory = pytest.StashKey[Path]()

# A busy machine is no error. What hypothesis does else where CI is set (the same examples each time) stays.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    # The workers of pytest-xdist share the directory of the process that started them.
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.stash[_run_directory] = run.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _run_directory in config.stash:
        run.end(config.stash[_run_directory])


@pytest.fixture(scope="session")
def specification() -> Specification:
    """The specification's data. Without a checkout the test is skipped; in CI (variable CI set) it fails."""
    try:
        return load_specification()
    except SpecificationMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgres() -> PostgresCluster:
    """The quick cluster of this run, shared by its workers. Tests must not stop it."""
    try:
        return shared_cluster()
    except PostgresMissing as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def durable_postgres() -> Iterator[PostgresCluster]:
    """A cluster of the test's own that flushes to disk, to be stopped, killed and started at will."""
    try:
        cluster = PostgresCluster.create(run.new_directory("durable-postgres"), durable=True)
    except PostgresMissing as missing:
        pytest.fail(str(missing), pytrace=False)
    yield cluster
    if (cluster.directory / "data" / "postmaster.pid").exists():
        cluster.stop("immediate")


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[..., DatabasePlace]]:
    """A function that makes databases: ``new_database("psycopg2", migrated=False)``; all are dropped afterwards."""
    from tests.support import database

    made: list[DatabasePlace] = []

    def make(engine: database.EngineName, *, migrated: bool = True) -> DatabasePlace:
        if engine == "psycopg2":
            request.getfixturevalue("postgres")
        made.append(database.fresh(engine, migrated=migrated))
        return made[-1]

    yield make
    for place in made:
        place.drop()


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Runs the test once for each engine."""
    return str(request.param)


@pytest.fixture
def database(engine_name: str, new_database: Callable[..., DatabasePlace]) -> DatabasePlace:
    """A fresh database with the newest schema, on each engine in turn."""
    return new_database(engine_name)


@pytest.fixture
def empty_database(engine_name: str, new_database: Callable[..., DatabasePlace]) -> DatabasePlace:
    """A fresh database without any table, on each engine in turn."""
    return new_database(engine_name, migrated=False)


@pytest.fixture
def db(database: DatabasePlace) -> Iterator[OpenDatabase]:
    """An open `Database` on each engine in turn, with blocking ``read`` and ``write``."""
    from tests.support.database import OpenDatabase

    opened = OpenDatabase(database)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority that vouches for the servers of this worker's tests."""
    from tests.support.authority import Authority

    return Authority()


@pytest.fixture
def new_remote(authority: Authority, specification: Specification) -> Iterator[Callable[..., RemoteServer]]:
    """A function that starts another homeserver of the test's own making: ``new_remote(lenient=True)``."""
    from tests.support.remote_server import RemoteServer

    made: list[RemoteServer] = []

    def start(**options: Any) -> RemoteServer:
        made.append(RemoteServer(authority, specification=specification, **options).start())
        return made[-1]

    yield start
    for remote in made:
        remote.stop()


@pytest.fixture
def remote(new_remote: Callable[..., RemoteServer]) -> RemoteServer:
    """Another homeserver of the test's own making."""
    return new_remote()
