"""A temporary PostgreSQL cluster on loopback, for one run of the benchmark."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from bench.processes import ProcessTree


class PostgresMissing(Exception):
    """There is no PostgreSQL, and it cannot be installed from here."""


class Postgres:
    """The running cluster. Its programs run as `postgres` where the benchmark runs as root, which they refuse."""

    user = "postgres"

    def __init__(self, directory: Path) -> None:
        self._programs = _programs()
        self._owner = "postgres" if os.geteuid() == 0 else None
        self._directory = directory / "postgres"
        self._data = self._directory / "data"
        self.port = free_port()

    def start(self) -> None:
        self._directory.mkdir()
        if self._owner is not None:
            shutil.chown(self._directory, self._owner)
        self._run("initdb", "-D", str(self._data), "-U", self.user, "-A", "trust", "-E", "UTF8", "--locale=C")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._directory}"
        log = str(self._directory / "postgres.log")
        self._run("pg_ctl", "-D", str(self._data), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "stop")

    def create_database(self, name: str) -> None:
        self._query("postgres", f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")

    def database_bytes(self, name: str) -> int:
        # Else the size depends on when autovacuum came by: by megabytes, up and down. What is measured so is the
        # least that the data takes.
        self._query(name, "VACUUM FULL")
        return int(self._query(name, "SELECT pg_database_size(current_database())"))

    def version(self) -> str:
        return self._query("postgres", "SHOW server_version").split()[0]

    def processes(self) -> ProcessTree:
        return ProcessTree(int((self._data / "postmaster.pid").read_text().split()[0]))

    def _query(self, database: str, sql: str) -> str:
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, "-d", database)
        return self._run("psql", *where, "-XAtqc", sql).strip()

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._programs / program), *arguments]
        # pg_ctl hands its output on to the server that it starts, so a pipe would never end
        detached = program == "pg_ctl"
        done = subprocess.run(
            command,
            check=False,
            user=self._owner,
            group=pwd.getpwnam(self._owner).pw_gid if self._owner else None,
            extra_groups=[] if self._owner else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if detached else subprocess.PIPE,
            stderr=subprocess.DEVNULL if detached else subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout or 'see postgres.log'}")
        return done.stdout or ""


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _programs() -> Path:
    """The folder with PostgreSQL's server programs; they are installed from Debian's packages if root may."""
    found = _installed_programs()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing PostgreSQL from Debian's packages", file=sys.stderr)
        install = ["apt-get", "install", "-y", "--no-install-recommends", "postgresql"]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        found = _installed_programs()
    if found is None:
        raise PostgresMissing("PostgreSQL's server is missing: install Debian's package postgresql, as root")
    return found


def _installed_programs() -> Path | None:
    for initdb in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True):
        return initdb.parent
    initdb_on_path = shutil.which("initdb")
    return Path(initdb_on_path).resolve().parent if initdb_on_path else None
