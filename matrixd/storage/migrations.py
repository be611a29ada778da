"""Numbered migrations: `schema/NNNN_name.sql`, each applied in one transaction together with its number.

The files are written once, in SQLite's dialect; the PostgreSQL engine translates the few words that differ.
"""

import importlib.resources
import re
from collections.abc import Callable
from dataclasses import dataclass

from matrixd.storage.engines.base import Connection, Engine, Mode

_SCHEMA_VERSION = "CREATE TABLE IF NOT EXISTS schema_version (number INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;"
_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: `number` counts from 1 without gaps."""

    number: int
    name: str
    sql: str


class SchemaTooNew(Exception):
    """The database was written by a newer matrixd."""


def load() -> list[Migration]:
    """All migrations that this version knows, in order."""
    found = []
    for entry in importlib.resources.files("schema").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), match[2], entry.read_text("utf-8")))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise RuntimeError("the numbers of the files in schema/ have a gap or a double")
    return found


def current_number(connection: Connection) -> int:
    """The number of the newest migration in the database; 0 in an empty one."""
    connection.begin(write=True)
    connection.script(_SCHEMA_VERSION)
    connection.commit()
    return stored_number(connection)


def stored_number(connection: Connection) -> int:
    """The number of the newest migration; the engine's error for a database that has never been migrated."""
    rows = connection.fetch("SELECT max(number) FROM schema_version", ())
    return int(rows[0][0] or 0)


def migrate(engine: Engine, progress: Callable[[str], None]) -> int:
    """Bring the database to the newest schema; the number of migrations that were applied.

    Raises `Claimed` while a master is running and `SchemaTooNew` for a database of a newer version.
    """
    connection = engine.connect(Mode.MASTER)
    try:
        at = current_number(connection)
        known = load()
        if at > len(known):
            raise SchemaTooNew(
                f"the database has schema {at}, this matrixd knows {len(known)}: install the newer version again"
            )
        for migration in known[at:]:
            progress(f"schema {migration.number}: {migration.name}")
            connection.begin(write=True)
            try:
                connection.script(migration.sql)
                connection.execute(
                    "INSERT INTO schema_version (number, name) VALUES (?, ?)", (migration.number, migration.name)
                )
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
        return len(known) - at
    finally:
        connection.close()
        engine.release()
