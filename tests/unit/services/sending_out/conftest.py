"""A server that sends, on SQLite; the contract tests use both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.database import DatabasePlace
from tests.support.sending import SendingServer


@pytest.fixture
def server(new_database: Callable[..., DatabasePlace]) -> Iterator[SendingServer]:
    """Without rooms."""
    made = SendingServer(new_database("sqlite3"))
    yield made
    made.sender._is_running = False
