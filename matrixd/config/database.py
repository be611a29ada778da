"""Where the data is kept."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from matrixd.config.options import Options
from matrixd.config.values import anything, boolean, by_key, choice, integer, path, text

_POOL_OPTIONS = ("cp_min", "cp_max", "cp_openfun", "cp_reconnect", "cp_noisy", "cp_good_sql")
_SQLITE_OPTIONS = ("database", "timeout", "check_same_thread", "isolation_level", "cached_statements", "detect_types")


Engine = Literal["sqlite3", "psycopg2"]
_ENGINES: tuple[Engine, ...] = get_args(Engine)


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """The database."""

    name: Engine
    path: Path | None
    """SQLite's file; None for PostgreSQL."""
    args: dict[str, Any] = field(default_factory=dict, repr=False)
    """What psycopg2.connect gets, a password perhaps among it; empty for SQLite."""
    readers: int = 4
    """How many connections read, beside the one that writes (`args.cp_max`)."""
    allow_unsafe_locale: bool = False
    """Read for the sake of old files: every text key has its own collation, so the database's locale is no danger."""


def read(options: Options, directory: Path) -> DatabaseConfig:
    """Reads `database`; without one, SQLite in `homeserver.db` in `directory`."""
    database = options.section("database")
    given = options.value("database") is not None
    name = database.read("name", choice(*_ENGINES), _ENGINES[0])
    unsafe_locale = database.read("allow_unsafe_locale", boolean, False)
    args = database.section("args")
    readers = args.read("cp_max", integer(1, 64), 4)
    if name == "psycopg2":
        return DatabaseConfig(name, None, _connection(database, args), readers, unsafe_locale)
    return DatabaseConfig(
        name, _sqlite_file(database, args) if given else directory / "homeserver.db", {}, readers, unsafe_locale
    )


def _sqlite_file(database: Options, args: Options) -> Path | None:
    for name in (*_SQLITE_OPTIONS, *_POOL_OPTIONS):
        args.value(name)
    cure = "Write the file's path, for example `database: /var/lib/matrixd/homeserver.db`."
    written = args.required("database", text, "homeserver.db", cure)
    if written == ":memory:":
        args.wrong("database", "is in memory: everything would be lost at the end.", cure)
    file = args.read("database", path, None)
    if file and database.findings.read_files and not file.parent.is_dir():
        args.wrong("database", f"is in {file.parent}, which is no directory.", f"Make it: mkdir -p {file.parent}")
    return file


def _connection(database: Options, args: Options) -> dict[str, Any]:
    for name in _POOL_OPTIONS:
        args.value(name)
    given = database.read("args", by_key(anything), {})
    connection = {key: value for key, value in given.items() if key not in _POOL_OPTIONS}
    for name in connection:
        args.value(name)
        _check_option(args, name)
    return connection


def _check_option(args: Options, name: str) -> None:
    # Only who uses it pays for libpq: see `matrixd.storage.engines`.
    import psycopg2.extensions

    try:
        psycopg2.extensions.make_dsn(**{name: "1"})
    except psycopg2.ProgrammingError:
        cure = "Write names that libpq knows: host, port, user, password, dbname, sslmode, …"
        args.wrong(name, "is no connection option of PostgreSQL.", cure)
