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
from matrixd.ops import asking
from matrixd.ops.asking import Refused
from matrixd.ops.database import open_database
from matrixd.ops.installation import PROGRAM
from matrixd.storage import access_tokens, accounts, devices, refresh_tokens, to_device
from matrixd.storage.engines.base import Connection
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
        connection = open_database(config.database)
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
        to_device.delete_of_devices(tx, account.user_nid, numbers)
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
