"""The database as a command opens it, beside a running server or without one."""

import os

from matrixd.config.database import DatabaseConfig
from matrixd.ops.asking import Refused
from matrixd.storage import migrations
from matrixd.storage.engines import open_engine
from matrixd.storage.engines.base import Connection, Mode


def open_database(database: DatabaseConfig) -> Connection:
    """A connection for small writes that have no stream position. Raises Refused with what an admin can do.

    As root, this becomes the owner of SQLite's file (the effective user), for good.
    """
    _become_owner(database)
    return _connect(database)


def _become_owner(database: DatabaseConfig) -> None:
    """As root, become the owner of SQLite's file: files that root makes beside it would shut the server out."""
    if database.path is None:
        return
    if not database.path.exists():
        raise Refused(f"There is no database at {database.path}. Start the server once.")
    owner = database.path.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


def _connect(database: DatabaseConfig) -> Connection:
    engine = open_engine(database)
    try:
        connection = engine.connect(Mode.WRITE)
    except Exception as error:  # each engine has its own kinds of errors; all of them mean the same here
        raise Refused(f"The database cannot be opened: {error}") from error
    newest = migrations.load()[-1].number
    try:
        at = migrations.stored_number(connection)
    except Exception as error:  # likewise; an empty database has no such table
        connection.close()
        raise Refused(f"The database has no tables of matrixd: {error}") from error
    if at != newest:
        connection.close()
        raise Refused(f"The database has schema {at}, this command knows {newest}. Start the server of this version.")
    return connection
