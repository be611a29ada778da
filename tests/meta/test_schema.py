"""The tables: each explains itself, SQLite's are STRICT, and text on PostgreSQL sorts by code point."""

from __future__ import annotations

import re

import pytest

from tests.support.database import DatabasePlace, OpenDatabase
from tests.support.openapi_files import REPOSITORY

# What stands above a table: what it is, who writes it, how long a row lives, what deletes it.
HEADER_WORDS = ("Writer:", "Lives:", "Deleted:")
_CREATE_TABLE = re.compile(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*?)\n\)([^;]*);", re.DOTALL | re.MULTILINE)
# Made by the code that applies migrations, before there can be any.
MADE_BY_CODE = frozenset({"schema_version"})


def migrations() -> dict[str, str]:
    """File name -> SQL."""
    return {file.name: file.read_text("utf-8") for file in sorted((REPOSITORY / "schema").glob("*.sql"))}


def tables() -> list[tuple[str, str, str, str]]:
    """(file, table, the comment directly above it, what follows its columns)."""
    found = []
    for name, sql in migrations().items():
        for match in _CREATE_TABLE.finditer(sql):
            above: list[str] = []
            for line in reversed(sql[: match.start()].rstrip("\n").split("\n")):
                if not line.startswith("--"):
                    break
                above.insert(0, line.removeprefix("--").strip())
            found.append((name, match[1], " ".join(above), match[3]))
    return found


TABLES = tables()


def test_the_files_are_numbered_without_gap() -> None:
    numbers = [int(name[:4]) for name in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_table_statement_is_seen() -> None:
    statements = sum(len(re.findall(r"^\s*CREATE TABLE", sql, re.MULTILINE)) for sql in migrations().values())
    assert len(TABLES) == statements > 0


@pytest.mark.parametrize(("file", "table", "header", "_tail"), TABLES, ids=[f"{t[0]}:{t[1]}" for t in TABLES])
def test_a_header_says_who_writes_it_and_how_long_a_row_lives(file: str, table: str, header: str, _tail: str) -> None:
    assert header.startswith(f"{table}: "), f"{file}: the comment above {table} must begin with '{table}: …'"
    for word in HEADER_WORDS:
        said = header.partition(word)[2].strip(" .")
        assert said, f"{file}: the comment above {table} lacks '{word} …'"


@pytest.mark.parametrize(("file", "table", "_header", "tail"), TABLES, ids=[f"{t[0]}:{t[1]}" for t in TABLES])
def test_tables_are_written_strict(file: str, table: str, _header: str, tail: str) -> None:
    assert "STRICT" in tail, f"{file}: {table} is not STRICT"


def test_the_database_has_the_tables_of_the_files(db: OpenDatabase) -> None:
    if db.name == "sqlite3":
        rows = db.read(lambda tx: tx.all("SELECT name, strict FROM pragma_table_list WHERE type = 'table'"))
        found = {name: strict for name, strict in rows if not name.startswith("sqlite_")}
        assert [name for name, strict in found.items() if not strict] == []
    else:
        rows = db.read(
            lambda tx: tx.all(
                "SELECT table_name, 1 FROM information_schema.tables"
                " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
            )
        )
        found = dict(rows)
    assert found.keys() - MADE_BY_CODE == {table for _, table, _, _ in TABLES}


@pytest.mark.parametrize("engine_name", ["psycopg2"])
def test_every_text_column_sorts_by_code_point(database: DatabasePlace) -> None:
    opened = OpenDatabase(database)
    other = opened.read(
        lambda tx: tx.all(
            "SELECT table_name, column_name, collation_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type IN ('text', 'character varying', 'character')"
            " AND collation_name IS DISTINCT FROM 'C'"
            # A view shows its tables' columns; what it computes has the collation of its parts.
            " AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'public')"
        )
    )
    opened.close()
    assert [row for row in other if row[0] not in MADE_BY_CODE] == []
