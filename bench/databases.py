"""The database under a server: what the configuration says of it, its size, its own CPU time."""

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from bench.postgres import Postgres

ENGINES = ("sqlite3", "psycopg2")


class Database(Protocol):
    """What a scenario asks of a database."""

    def config(self) -> Mapping[str, object]:
        """The option `database` of the server's configuration."""

    def stored_bytes(self) -> int:
        """Bytes on disk after a checkpoint, without the free space that the engine keeps to use again."""

    def cpu_seconds(self) -> float:
        """CPU time of the database's own processes (all databases of the cluster), 0 where it has none."""


class SQLite:
    """A database in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def config(self) -> Mapping[str, object]:
        return {"name": "sqlite3", "args": {"database": str(self._file)}}

    def stored_bytes(self) -> int:
        with contextlib.closing(sqlite3.connect(self._file, timeout=10)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            pages, free, size = (
                int(connection.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
        log = self._file.with_name(self._file.name + "-wal")
        return (pages - free) * size + (log.stat().st_size if log.exists() else 0)

    def cpu_seconds(self) -> float:
        return 0.0


class PostgresDatabase:
    """A database of the temporary cluster."""

    def __init__(self, cluster: Postgres, name: str) -> None:
        self._cluster = cluster
        self._name = name
        self._processes = cluster.processes()
        cluster.create_database(name)

    def config(self) -> Mapping[str, object]:
        where = {"host": "127.0.0.1", "port": self._cluster.port, "user": self._cluster.user, "dbname": self._name}
        return {"name": "psycopg2", "args": where}

    def stored_bytes(self) -> int:
        return self._cluster.database_bytes(self._name)

    def cpu_seconds(self) -> float:
        return self._processes.cpu_seconds()
