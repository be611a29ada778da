"""PostgreSQL over psycopg2: `COLLATE "C"` on every text column, whatever the database's own collation is."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extras import execute_values

from matrixd.storage.engines.base import Claimed, Connection, Mode, OutcomeUnknown, Params, Row

_TRANSIENT = (psycopg2.OperationalError, psycopg2.InterfaceError)
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
        self._translated = translated
        self._xid = 0

    def begin(self, write: bool) -> None:
        if write:
            self._cursor.execute("BEGIN; SELECT txid_current()")
            row = self._cursor.fetchone()
            assert row is not None
            self._xid = row[0]
        else:
            self._cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def commit(self) -> None:
        try:
            self._cursor.execute("COMMIT")
        except _TRANSIENT as error:
            raise OutcomeUnknown(str(error)) from error

    def rollback(self) -> None:
        if not self._connection.closed:
            self._cursor.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def _sql(self, sql: str) -> str:
        translated = self._translated.get(sql)
        if translated is None:
            translated = self._translated[sql] = _translate(sql)
        return translated

    def execute(self, sql: str, params: Params) -> int:
        self._cursor.execute(self._sql(sql), params)
        touched: int = self._cursor.rowcount
        return touched

    def fetch(self, sql: str, params: Params) -> list[Row]:
        self._cursor.execute(self._sql(sql), params)
        rows: list[Row] = self._cursor.fetchall()
        return rows

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Row], suffix: str) -> None:
        sql = f"INSERT INTO {table} ({','.join(columns)}) VALUES %s {suffix.replace('%', '%%')}"
        execute_values(self._cursor, sql, rows, page_size=_PAGE_ROWS)

    def among(self, column: str, values: Sequence[Any]) -> tuple[str, Any]:
        return f"{column} = ANY(?)", list(values)

    def script(self, sql: str) -> None:
        self._cursor.execute(_postgres_dialect(sql))

    def has_committed(self, lost: Connection) -> bool:
        assert isinstance(lost, PostgresConnection)
        self._cursor.execute("SELECT txid_status(%s)", (lost._xid,))
        row = self._cursor.fetchone()
        return row is not None and row[0] == "committed"

    def is_transient(self, error: BaseException) -> bool:
        return isinstance(error, _TRANSIENT) or (
            isinstance(error, psycopg2.Error)
            and (error.pgcode or "")[:2] in ("40", "53", "57", "58", "08", "25")
        )


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

    def __init__(self, args: Mapping[str, Any]) -> None:
        self._args = {"connect_timeout": 10, "application_name": "matrixd", **args}
        # Bounded by the number of statements in the source: values are never part of a statement.
        self._translated: dict[str, str] = {}

    def connect(self, mode: Mode) -> PostgresConnection:
        connection = PostgresConnection(self._args, self._translated)
        # The lock lives as long as its connection, so a master that died has given it back.
        if mode is Mode.MASTER and not connection.fetch("SELECT pg_try_advisory_lock(?)", (_ADVISORY_LOCK,))[0][0]:
            connection.close()
            raise Claimed("another matrixd is running on this PostgreSQL database")
        return connection
