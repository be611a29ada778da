"""`reset_password USER [-c CONFIG] [-p PASSWORD]`: a new password, written into the database.

It works while the server runs and while it does not. A running server is told (SIGHUP) to look tokens up again.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matrixd.config import Config, ConfigError, load
from matrixd.config.database import DatabaseConfig
from matrixd.ops import asking
from matrixd.ops.asking import Refused
from matrixd.ops.installation import PROGRAM
from matrixd.storage import access_tokens, accounts, devices, migrations, refresh_tokens
from matrixd.storage.engines import open_engine
from matrixd.storage.engines.base import Connection, Mode
from matrixd.storage.transaction import Transaction
from matrixd.util import passwords, pid_file, processes
from matrixd.util.exit_codes import Exit


@dataclass(frozen=True, slots=True)
class Reset:
    """What to do."""

    user_id: str
    password_hash: str
    logout: bool
    """Whether all devices of the user are logged out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        config = load([Path(path) for path in options.config or ["homeserver.yaml"]], read_files=False)
        user_id = _user_id(options.user, config.server.server_name)
        _become_owner(config.database)
        connection = _connect(config.database)
        try:
            _account(Transaction(connection), user_id)  # before the password is asked for
            reset = Reset(user_id, _password_hash(options, config), _logout(options))
            ended = apply(connection, reset)
        finally:
            connection.close()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    except Refused as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    print(f"{user_id} has a new password. " + (f"Logged out: {ended} devices." if reset.logout else "Logins are kept."))
    if ended:
        print(_tell_server(config))
    return Exit.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("reset_password", description="Gives a user a new password.")
    add = parser.add_argument
    add("user", metavar="USER", help="@name:server, or just the name")
    add("-c", "--config", action="append", metavar="FILE", help="configuration (homeserver.yaml); several are merged")
    password = parser.add_mutually_exclusive_group()
    password.add_argument("-p", "--password", help="asked for if left out (other users may see arguments)")
    password.add_argument("--password-file", metavar="FILE", help="has the password in its first line; - for stdin")
    logins = parser.add_mutually_exclusive_group()
    logins.add_argument("--logout", action="store_true", default=None, help="log the user out everywhere")
    logins.add_argument("--keep-logins", action="store_false", dest="logout", help="keep the logins as they are")
    return parser


def apply(connection: Connection, reset: Reset) -> int:
    """Writes it all in one transaction; returns how many devices were logged out. Raises Refused."""
    connection.begin(write=True)
    try:
        tx = Transaction(connection)
        account = _account(tx, reset.user_id)
        accounts.set_password(tx, account.user_nid, reset.password_hash)
        ended = devices.by_user(tx, account.user_nid) if reset.logout else []
        numbers = [device.device_nid for device in ended]
        access_tokens.delete_of_devices(tx, numbers)
        refresh_tokens.delete_of_devices(tx, numbers)
        devices.delete(tx, account.user_id, ended)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return len(ended)


def _account(tx: Transaction, user_id: str) -> accounts.Account:
    account = accounts.by_user_id(tx, user_id)
    if account is None:
        raise Refused(f"{user_id} has no account here. Names are written in lower case.")
    if account.is_deactivated:
        raise Refused(f"{user_id} is deactivated, for ever.")
    return account


def _user_id(user: str, server_name: str) -> str:
    localpart, _, host = user.removeprefix("@").partition(":")
    if host and host != server_name:
        raise Refused(f"{user} is not a user of {server_name}.")
    return f"@{localpart}:{server_name}"


def _password_hash(options: argparse.Namespace, config: Config) -> str:
    password = asking.password(options.password, options.password_file, "New password")
    if len(password) > passwords.MAX_LENGTH:
        raise Refused(f"The password is longer than {passwords.MAX_LENGTH} characters.")
    return passwords.hash_password(password, config.passwords.bcrypt_rounds, config.passwords.pepper)


def _logout(options: argparse.Namespace) -> bool:
    return asking.yes("Log the user out everywhere?") if options.logout is None else bool(options.logout)


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
        at = int(connection.fetch("SELECT max(number) FROM schema_version", ())[0][0] or 0)
    except Exception as error:  # likewise; an empty database has no such table
        connection.close()
        raise Refused(f"The database has no tables of matrixd: {error}") from error
    if at != newest:
        connection.close()
        raise Refused(f"The database has schema {at}, this command knows {newest}. Start the server of this version.")
    return connection


def _tell_server(config: Config) -> str:
    """Has a running server look tokens up again; says what happened."""
    path = config.server.pid_file
    running = pid_file.running(path, PROGRAM) if path else None
    if running is None:
        return "If the server runs all the same, restart it: until then it may still know the old logins."
    if not processes.catches(running.pid, signal.SIGHUP):
        return "Restart the server: until then it may still know the old logins."
    try:
        os.seteuid(os.getuid())  # back to who started the command, who may signal the server
        os.kill(running.pid, signal.SIGHUP)
    except PermissionError:
        return f"Pid {running.pid} is not yours: restart the server, or it may still know the old logins."
    return "The running server was told."


if __name__ == "__main__":
    sys.exit(main())
