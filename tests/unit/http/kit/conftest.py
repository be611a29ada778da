"""Fixtures of the kit's tests."""

from __future__ import annotations

import pytest

from tests.unit.http.kit.peer import World


@pytest.fixture
def world() -> World:
    """A site on a clock of the test's."""
    return World()
