"""A server that changes rooms, on each engine in turn, and users on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.database import DatabasePlace
from tests.support.openapi import Specification
from tests.support.room_server import RoomServer, User


@pytest.fixture
def server(database: DatabasePlace, tmp_path: Path, specification: Specification) -> Iterator[RoomServer]:
    """A server; its answers are checked against the specification."""
    made = RoomServer(database, tmp_path, specification=specification)
    yield made
    made.close()


@pytest.fixture
def alice(server: RoomServer) -> User:
    """A user."""
    return server.user("alice")


@pytest.fixture
def bob(server: RoomServer) -> User:
    """Another user."""
    return server.user("bob")
