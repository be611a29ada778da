"""PostgreSQL over psycopg2: `COLLATE "C"` on every text column, whatever the database's own collation is."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extras import execute_values

from matrixd.storage.engines.base import Claimed, Mode, Params, Row

#: Classes of SQLSTATE that speak of the server and not of the statement: connections, conflicts, resources, operators.
_TRANSIENT_CLASSES = frozenset(("08", "40", "53", "57", "58"))
#: A lock that was waited for in vain, a server that only reads, a transaction that was ended for its duration.
_TRANSIENT_STATES = frozenset(("55P03", "25006", "25P03", "25P04"))
#: Another session that keeps a table locked must not make our clients wait without end. And the server must notice when
#: we are gone: until it does, the master's lock is not given back. (In milliseconds and seconds.)
_SESSION = (
    "SET lock_timeout = 4000; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5;"
    " SET tcp_keepalives_count = 3"
)
#: How soon we notice that the server is gone: psycopg2's words, in seconds and milliseconds.
_CONNECTION_ARGS: Mapping[str, Any] = {
    "application_name": "matrixd",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
}
_ADVISORY_LOCK = 0x6D6174726978  # "matrix"
_PAGE_ROWS = 500
_MARK = re.compile(r"\?|%")


def _translate(sql: str) -> str:
    return _MARK.sub(lambda mark: "%s" if mark.group() == "?" else "%%", sql)


class PostgresConnection:
    """One connection to the server."""

    def __init__(self, args: Mapping[str, Any], translated: dict[str, str]) -> None:
        self._connection = psycopg2.connect(**args)
        self._connection.set_session(autocommit=True)
        self._cursor = self._connection.cursor()
        self._cursor.execute(_SESSION)
        self._translated = translated
        #: What begins the transaction, until it goes with its first statement: that saves a round trip.
        self._unsent = ""

    def begin(self, write: bool) -> None:
        self._unsent = "BEGIN; " if write else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "

    def commit(self) -> None:
        if self._take_unsent():
            return
        self._cursor.execute("COMMIT")
        # PostgreSQL takes a COMMIT after a failed statement for a ROLLBACK, and does not complain.
        if self._cursor.statusmessage != "COMMIT":
            raise RuntimeError("a statement had failed and its error was not passed on: nothing was committed")

    def rollback(self) -> None:
        if not self._take_unsent() and not self._connection.closed:
            self._cursor.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def _sql(self, sql: str) -> str:
        translated = self._translated.get(sql)
        if translated is None:
            translated = self._translated[sql] = _translate(sql)
        return translated

    def _take_unsent(self) -> str:
        unsent, self._unsent = self._unsent, ""
        return unsent

    def execute(self, sql: str, params: Params) -> int:
        self._cursor.execute(self._take_unsent() + self._sql(sql), params)
        touched: int = self._cursor.rowcount
        return touched

    def fetch(self, sql: str, params: Params) -> list[Row]:
        self._cursor.execute(self._take_unsent() + self._sql(sql), params)
        rows: list[Row] = self._cursor.fetchall()
        return rows

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Row], suffix: str) -> None:
        sql = f"{self._take_unsent()}INSERT INTO {table} ({','.join(columns)}) VALUES %s {suffix.replace('%', '%%')}"
        execute_values(self._cursor, sql, rows, page_size=_PAGE_ROWS)

    def among(self, column: str, values: Sequence[Any]) -> tuple[str, Any]:
        return f"{column} = ANY(?)", list(values)

    def script(self, sql: str) -> None:
        self._cursor.execute(self._take_unsent() + _postgres_dialect(sql))

    def is_transient(self, error: BaseException) -> bool:
        if not isinstance(error, psycopg2.Error):
            return False
        state = error.pgcode
        if state is None:
            # libpq itself complains: mostly that the connection broke.
            return isinstance(error, psycopg2.OperationalError) or bool(self._connection.closed)
        return state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES


def _postgres_dialect(sql: str) -> str:
    """`schema/` is written once, in SQLite's words; these are the only words that differ."""
    sql = re.sub(r"--[^\n]*", "", sql)
    sql = re.sub(r"\bTEXT\b", 'TEXT COLLATE "C"', sql)
    sql = re.sub(r"\bINTEGER\b", "BIGINT", sql)
    sql = re.sub(r"\bREAL\b", "DOUBLE PRECISION", sql)
    sql = re.sub(r"\bBLOB\b", "BYTEA", sql)
    return re.sub(r"\)\s*(STRICT|WITHOUT ROWID)(\s*,\s*(STRICT|WITHOUT ROWID))*\s*;", ");", sql)


class PostgresEngine:
    """A database on a PostgreSQL server; `args` are psycopg2's connection arguments."""

    name = "psycopg2"
    error: type[Exception] = psycopg2.Error

    def __init__(self, args: Mapping[str, Any]) -> None:
        self._args = {**_CONNECTION_ARGS, **args}
        # Bounded by the number of statements in the source: values are never part of a statement.
        self._translated: dict[str, str] = {}

    def connect(self, mode: Mode) -> PostgresConnection:
        connection = PostgresConnection(self._args, self._translated)
        # The lock lives as long as its connection, so a master that died has given it back.
        if mode is Mode.MASTER and not connection.fetch("SELECT pg_try_advisory_lock(?)", (_ADVISORY_LOCK,))[0][0]:
            connection.close()
            raise Claimed("another matrixd is running on this PostgreSQL database")
        return connection

    def release(self) -> None:
        """The lock goes with its connection."""
