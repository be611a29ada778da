"""Where the servers of one engine live during a run: their folders, databases and certificates."""

import contextlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.databases import Database, PostgresDatabase, SQLite
from bench.postgres import Postgres, free_port
from bench.servers import Federation, Program, Server

ROOT = Path(__file__).parent.parent


class Site:
    """Makes servers; all that it has made ends with `stack`.

    `python`: one that has matrixd, for what the benchmark does with its code (certificates, other servers' events).
    """

    def __init__(
        self, engine: str, directory: Path, stack: contextlib.ExitStack, python: str, keep_logs: Path | None = None
    ) -> None:
        self.engine = engine
        self.directory = directory
        self.stack = stack
        self.shared: dict[type, Any] = {}  # what all servers of the engine use, by its type
        self._python = python
        self._keep_logs = keep_logs
        self._authority: Path | None = None

    def server(self, program: Program, name: str, *, federates: bool = False) -> Server:
        """A server that was not started yet."""
        home = self.directory / name
        federation = self.federation(name) if federates else None
        server = Server(program, home, self.database(name), federation)
        if self._keep_logs is not None:
            self.stack.callback(_keep_log, home, self._keep_logs / f"{self.engine}-{name}.log")
        self.stack.callback(server.stop)
        return server

    def database(self, name: str) -> Database:
        """An empty database."""
        if self.engine == "sqlite3":
            return SQLite(self.directory / f"{name}.db")
        # a cluster for each server, so that its CPU time is known to be for this server
        cluster_home = self.directory / f"{name}-database"
        cluster_home.mkdir(mode=0o711)
        cluster = Postgres(cluster_home)
        self.stack.callback(cluster.stop)
        cluster.start()
        return PostgresDatabase(cluster, "homeserver")

    def federation(self, name: str) -> Federation:
        """A free port of loopback, and a certificate for it that all servers of the run trust."""
        if self._authority is None:
            self._authority = self.directory / "authority"
            self._authority.mkdir()
        subprocess.run(self.tool("bench.certificates", str(self._authority), name), check=True, cwd=ROOT)
        files = (self._authority / each for each in (f"{name}.pem", f"{name}.key", "authority.pem"))
        return Federation(free_port(), *files)

    def tool(self, module: str, *arguments: str) -> Sequence[str]:
        """The command that runs a module of the benchmark that needs matrixd's code, in the folder `ROOT`."""
        return [self._python, "-m", module, *arguments]


def _keep_log(home: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(home / "server.log", to)
