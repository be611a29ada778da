"""Fresh databases on both engines, and a `Database` that a test drives without a reactor."""

from __future__ import annotations

import itertools
import queue
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from matrixd.storage import migrations
from matrixd.storage.database import Database
from matrixd.storage.engines.base import Engine
from matrixd.storage.engines.postgres import PostgresEngine
from matrixd.storage.engines.sqlite import SqliteEngine
from matrixd.storage.transaction import Transaction
from tests.support import run
from tests.support.postgres import PostgresCluster, shared_cluster

EngineName = Literal["sqlite3", "psycopg2"]
ENGINES: tuple[EngineName, ...] = ("sqlite3", "psycopg2")
WAIT_S = 30.0
_TEMPLATE = "matrixd_template"

P = ParamSpec("P")
T = TypeVar("T")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class DatabasePlace:
    """Where a database is, in the words of the configuration's ``database`` section."""

    name: EngineName
    args: dict[str, Any]
    cluster: PostgresCluster | None = None

    def engine(self) -> Engine:
        """The engine that opens it."""
        if self.name == "sqlite3":
            return SqliteEngine(str(self.args["database"]))
        return PostgresEngine(self.args)

    def drop(self) -> None:
        """Removes the database; for SQLite its files."""
        if self.cluster is not None:
            self.cluster.drop_database(str(self.args["dbname"]))
        else:
            shutil.rmtree(Path(self.args["database"]).parent, ignore_errors=True)


def fresh(engine: EngineName, *, migrated: bool = True, cluster: PostgresCluster | None = None) -> DatabasePlace:
    """A new database, with the newest schema or empty. ``cluster``: another than the run's quick one."""
    if engine == "sqlite3":
        path = run.new_directory("sqlite") / "homeserver.db"
        if migrated:
            shutil.copyfile(_sqlite_template(), path)
        return DatabasePlace("sqlite3", {"database": str(path)})
    server = cluster or shared_cluster()
    name = server.new_database(_postgres_template(server) if migrated else "template0")
    return DatabasePlace("psycopg2", server.args(name), server)


def _sqlite_template() -> Path:
    with run.locked("sqlite-template") as path:
        if not path.exists():
            making = path.with_suffix(".making")
            migrations.migrate(SqliteEngine(str(making)), _quietly)
            # The last connection that closes moves the write-ahead log into the file, so one file is all of it.
            making.rename(path)
        return path


def _postgres_template(server: PostgresCluster) -> str:
    with run.locked(f"template-of-{server.directory.name}") as mark:
        if not mark.exists():
            server.execute(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0")
            migrations.migrate(PostgresEngine(server.args(_TEMPLATE)), _quietly)
            mark.touch()
        return _TEMPLATE


def _quietly(_line: str) -> None:
    """Migrations report their progress; the tests have no use for it."""


class _CallsForTest:
    """Stands for the reactor: what the database's threads hand over waits until the test takes it."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._calls.put(lambda: callable(*args, **kwargs))

    def run_next(self, timeout: float) -> None:
        """Runs the next call. Raises queue.Empty after ``timeout`` seconds."""
        self._calls.get(timeout=timeout)()


class OpenDatabase:
    """A migrated, started `Database` with blocking calls; ``announced`` collects what commits announced."""

    def __init__(self, place: DatabasePlace, readers: int = 2) -> None:
        self.place = place
        self.announced: list[object] = []
        self._calls = _CallsForTest()
        self.database = Database(place.engine(), self._calls, self._announce, readers)
        self.database.start()

    @property
    def name(self) -> EngineName:
        """ "sqlite3" or "psycopg2"."""
        return self.place.name

    def read(self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a closure on a reader's snapshot and returns its result, or raises what it raised."""
        return self.wait(self.database.read(function, *args, **kwargs))

    def write(self, function: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a closure in a commit of its own and returns its result, or raises what it raised."""
        return self.wait(self.database.write(function, *args, **kwargs))

    def wait(self, deferred: Deferred[T], within_s: float = WAIT_S) -> T:
        """The result of a Deferred that the database fires; use it with ``self.database`` for calls side by side."""
        results: list[T | Failure] = []
        deferred.addBoth(cast(Any, results.append))
        deadline = time.monotonic() + within_s
        while not results:
            try:
                self._calls.run_next(max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the database did not answer in {within_s} s") from None
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def call_later(self, _delay_s: float, call: Callable[..., object], *args: Any) -> None:
        """Stands for a reactor's ``callLater``: the next ``read``, ``write`` or ``wait`` makes the call."""
        self._calls.callFromThread(call, *args)

    def close(self) -> None:
        """Stops the database's threads."""
        self.database.stop()

    def reopened(self) -> OpenDatabase:
        """Closes this one and opens the same database anew."""
        self.close()
        return OpenDatabase(self.place)

    def _announce(self, rows: Sequence[object]) -> None:
        self.announced.extend(rows)
