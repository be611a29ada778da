"""The account endpoints on a fresh database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.accounts import AccountServer
from tests.support.database import DatabasePlace, EngineName
from tests.support.openapi import Specification

NewServer = Callable[..., AccountServer]


@pytest.fixture
def new_account_server(
    tmp_path: Path, new_database: Callable[..., DatabasePlace], specification: Specification
) -> Iterator[NewServer]:
    """A function that makes servers; `options` are lines of YAML over the tests' configuration."""
    made: list[AccountServer] = []

    def make(options: str = "", engine: EngineName = "sqlite3") -> AccountServer:
        made.append(AccountServer(new_database(engine), tmp_path, options, specification))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def accounts(new_account_server: NewServer) -> AccountServer:
    """A server that is open to all, without rate limits, on SQLite (stores have their own tests on both engines)."""
    return new_account_server()
