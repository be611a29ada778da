"""A network on loopback for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.unit.net.loopback import Net


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority that is believed."""
    return Authority()


@pytest.fixture
def net(authority: Authority, tmp_path: Path) -> Iterator[Net]:
    """A network; what it serves ends with the test."""
    made = Net(authority, tmp_path)
    yield made
    made.stop()
