"""Temporary PostgreSQL clusters, which listen on a Unix socket only.

``shared_cluster`` gives every worker of a test run the same quick one (nothing is flushed to disk);
``PostgresCluster.create(durable=True)`` makes one of its own for a test that kills the server.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from tests.support import run

PORT = 5432
START_WITHIN_S = 60
_QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
_COMMON = {
    "listen_addresses": "''",
    "port": str(PORT),
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "'UTC'",
    "log_min_messages": "warning",
}
# Not "C", so that a text column without COLLATE "C" shows by its order; without ICU there is only "C" to fall back on.
_LOCALES = (("--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8"), ("--locale=C.UTF-8",), ("--locale=C",))
_numbers = itertools.count(1)


class PostgresMissing(Exception):
    """PostgreSQL's server programs are not on this machine; the text says what to install."""


def program_directory() -> Path:
    """Where initdb and postgres are: MATRIXD_PG_BIN, pg_config, Debian's directories, or PATH."""
    for directory in _candidates():
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    raise PostgresMissing(
        "the tests need PostgreSQL's server programs (initdb, postgres), and there are none: "
        "install Debian's package 'postgresql' (as root: apt-get install postgresql), "
        "or set MATRIXD_PG_BIN to the directory that holds them"
    )


def _candidates() -> Iterator[Path]:
    named = os.environ.get("MATRIXD_PG_BIN")
    if named:
        yield Path(named)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        shown = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        yield Path(shown.stdout.strip())
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent


@dataclass(frozen=True)
class PostgresCluster:
    """A cluster in one directory, which also holds its socket and its log."""

    directory: Path
    programs: Path

    @classmethod
    def create(cls, directory: Path, *, durable: bool = False) -> PostgresCluster:
        """Makes and starts a cluster in ``directory``, a new one that the run owns. Raises PostgresMissing."""
        cluster = cls(directory, program_directory())
        cluster._own_directory()
        cluster._initialise(durable)
        cluster.start()
        return cluster

    @property
    def log(self) -> Path:
        """PostgreSQL's log file."""
        return self.directory / "log"

    def args(self, dbname: str) -> dict[str, Any]:
        """psycopg2's connection arguments, also ``database.args`` of a configuration."""
        return {"host": str(self.directory), "port": PORT, "user": "postgres", "dbname": dbname}

    def start(self) -> None:
        """Starts the server and returns when it takes connections. Raises AssertionError with its log."""
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            done = self._run(
                "pg_ctl", "start", "-D", self._data, "-w", "-t", str(START_WITHIN_S), "-l", str(self.log), check=False
            )
            if done.returncode == 0:
                return
            # After kill -9 the old backends need a moment to notice, and until then the start is refused.
            if time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start: {done.stderr}\n{_tail(self.log)}")
            time.sleep(0.2)

    def stop(self, mode: str = "fast") -> None:
        """Stops the server: "smart", "fast" (rolls back), or "immediate" (like a crash)."""
        self._run("pg_ctl", "stop", "-D", self._data, "-w", "-m", mode)

    def restart(self) -> None:
        """Stops the server while clients are connected, and starts it again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9 of the postmaster and its backends."""
        pid = int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
        backends = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for process in [pid, *backends]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def execute(self, statement: str, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs one statement outside a transaction and returns its rows."""
        connection = psycopg2.connect(**self.args(dbname))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def new_database(self, template: str = "template0") -> str:
        """Makes a database as a copy of ``template`` and returns its name."""
        name = f"t{os.getpid()}_{next(_numbers)}"
        # Copying files is the quicker way as long as nothing is flushed; before PostgreSQL 15 it was the only one.
        major = int((self.directory / "data" / "PG_VERSION").read_text().split(".")[0])
        strategy = "STRATEGY FILE_COPY" if major >= 15 else ""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}')
        return name

    def drop_database(self, name: str) -> None:
        """Drops a database, ending the connections to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def dump(self, name: str, target: Path) -> None:
        """Writes a database's schema and rows, as SQL, to a file."""
        # PostgreSQL's user need not be allowed to write where the target is.
        made = self.directory / f"{name}.sql"
        host, port = str(self.directory), str(PORT)
        self._run("pg_dump", "-h", host, "-p", port, "-U", "postgres", "-f", str(made), name)
        shutil.move(made, target)

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def _own_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        if os.getuid() == 0:
            account = _account()
            os.chown(self.directory, account.pw_uid, account.pw_gid)

    def _initialise(self, durable: bool) -> None:
        # initdb takes seconds: it runs once, and each cluster begins as a copy.
        with run.locked("postgres-initialised") as path:
            if not (path / "ready").exists():
                initialised = PostgresCluster(path, self.programs)
                initialised._own_directory()
                initialised._initdb()
                (path / "ready").touch()
        subprocess.run(["cp", "-a", str(path / "data"), self._data], check=True, timeout=START_WITHIN_S)
        settings = {**_COMMON, **({} if durable else _QUICK), "unix_socket_directories": f"'{self.directory}'"}
        with (self.directory / "data" / "postgresql.conf").open("a") as out:
            out.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _initdb(self) -> None:
        for locale in _LOCALES:
            done = self._run(
                "initdb",
                "-D",
                self._data,
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--no-sync",
                *locale,
                check=False,
            )
            if done.returncode == 0:
                break
        else:
            raise AssertionError(f"initdb failed: {done.stderr}")

    def _run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        # PostgreSQL refuses to run as root.
        as_user: dict[str, Any] = {}
        if os.getuid() == 0:
            account = _account()
            as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        # Output goes to files: the server inherits them, and a pipe would stay open as long as it runs.
        errors = self.directory / f"{program}.err"
        with errors.open("w+") as err:
            done = subprocess.run(
                [str(self.programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=err,
                stderr=err,
                cwd=self.directory,
                timeout=START_WITHIN_S * 2,
                check=False,
                **as_user,
            )
        said = errors.read_text(errors="replace")
        if check and done.returncode != 0:
            raise AssertionError(f"{program} failed: {said}\n{_tail(self.log)}")
        return subprocess.CompletedProcess(done.args, done.returncode, "", said)


def shared_cluster() -> PostgresCluster:
    """The quick cluster of this test run, started by the first worker that asks; it ends with the run."""
    with run.locked("postgres") as directory:
        if not (directory / "ready").exists():
            PostgresCluster.create(directory)
            (directory / "ready").touch()
    return PostgresCluster(directory, program_directory())


def _account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresMissing("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' to run it")


def _tail(file: Path, characters: int = 3000) -> str:
    return file.read_text(errors="replace")[-characters:] if file.exists() else ""
