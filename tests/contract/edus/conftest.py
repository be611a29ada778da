"""The world of the tests of EDUs, on each engine."""

from __future__ import annotations

import pytest

from tests.contract.edus.world import World
from tests.support.database import OpenDatabase


@pytest.fixture
def world(db: OpenDatabase) -> World:
    return World(db)
