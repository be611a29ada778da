"""The database engines: what differs between SQLite and PostgreSQL, and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from matrixd.storage.engines.base import Engine
from matrixd.storage.engines.sqlite import SqliteEngine


class DatabaseSettings(Protocol):
    """The part of the configuration that says which database it is."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path | None: ...
    @property
    def args(self) -> Mapping[str, Any]: ...


def open_engine(settings: DatabaseSettings) -> Engine:
    """The engine of a configured database."""
    if settings.name == SqliteEngine.name:
        assert settings.path is not None
        return SqliteEngine(str(settings.path))
    # libpq and all that it brings costs a twentieth of a second and some megabytes: only who uses it pays.
    from matrixd.storage.engines.postgres import PostgresEngine

    return PostgresEngine(settings.args)
