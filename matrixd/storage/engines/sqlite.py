"""SQLite: WAL, full synchronisation, one writer, `STRICT` tables."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Sequence
from typing import IO, Any

from matrixd.storage.engines.base import Claimed, Mode, Params, Row

_TRANSIENT_CODES = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL,
})
_BUSY_TIMEOUT_MS = 2000


class SqliteConnection:
    """One connection to the database file."""

    def __init__(self, path: str, mode: Mode, cache_kib: int = 16384) -> None:
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=_BUSY_TIMEOUT_MS / 1000
        )
        cursor = self._connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA cache_size = -{cache_kib}")
        cursor.execute("PRAGMA temp_store = MEMORY")
        if mode is Mode.READ:
            cursor.execute("PRAGMA query_only = ON")
        self._cursor = cursor

    def begin(self, write: bool) -> None:
        self._cursor.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def commit(self) -> None:
        self._cursor.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._cursor.execute("ROLLBACK")

    def close(self) -> None:
        # Python closes with statements left open, and then an open transaction would keep its lock.
        try:
            self.rollback()
        finally:
            self._cursor.close()
            self._connection.close()

    def execute(self, sql: str, params: Params) -> int:
        return self._cursor.execute(sql, params).rowcount

    def fetch(self, sql: str, params: Params) -> list[Row]:
        return self._cursor.execute(sql, params).fetchall()

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Row], suffix: str) -> None:
        marks = ",".join("?" * len(columns))
        self._cursor.executemany(f"INSERT INTO {table} ({','.join(columns)}) VALUES ({marks}) {suffix}", rows)

    def among(self, column: str, values: Sequence[Any]) -> tuple[str, Any]:
        return f"{column} IN (SELECT value FROM json_each(?))", json.dumps(list(values))

    def script(self, sql: str) -> None:
        statement = ""
        for line in sql.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self._cursor.execute(statement)
                statement = ""

    def is_transient(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and (
            (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _TRANSIENT_CODES
        )


class SqliteEngine:
    """A database in one file.

    `path` is the file's path; it is made when it does not exist.
    """

    name = "sqlite3"
    error: type[Exception] = sqlite3.Error

    def __init__(self, path: str) -> None:
        self.path = path
        # Kept while a broken connection is replaced, so that nobody comes between.
        self._claim: IO[str] | None = None

    def connect(self, mode: Mode) -> SqliteConnection:
        if mode is Mode.MASTER and self._claim is None:
            self._claim = self._lock()
        return SqliteConnection(self.path, mode)

    def release(self) -> None:
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _lock(self) -> IO[str]:
        descriptor = os.open(self.path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        lock = os.fdopen(descriptor, "r+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise Claimed(f"another matrixd is running on the database {self.path}") from None
        return lock
