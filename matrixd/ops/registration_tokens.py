"""`registration_tokens new|list|delete`: the tokens with which people may register, in the database.

They count with `registration_requires_token: true`. The command works while the server runs and while it does not.
"""

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from matrixd.config import ConfigError, load
from matrixd.core.identifiers import is_opaque_id
from matrixd.ops.asking import Refused
from matrixd.ops.database import open_database
from matrixd.storage import registration_tokens
from matrixd.storage.engines.base import Connection
from matrixd.storage.registration_tokens import RegistrationToken
from matrixd.storage.transaction import Transaction
from matrixd.util.exit_codes import Exit

_DAY_MS = 24 * 60 * 60 * 1000
#: Source: client-server API, "Token-authenticated registration": no more than 64 characters.
_MAX_LENGTH = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        config = load([Path(path) for path in options.config or ["homeserver.yaml"]], read_files=False)
        connection = open_database(config.database)
        try:
            print(_in_transaction(connection, lambda tx: options.act(tx, options)))
        finally:
            connection.close()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    except Refused as error:
        print(error, file=sys.stderr)
        return Exit.FAILED
    return Exit.OK


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-c", "--config", action="append", metavar="FILE", help="configuration (homeserver.yaml); several are merged"
    )
    parser = argparse.ArgumentParser("registration_tokens", description="Tokens with which people may register.")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    new = actions.add_parser("new", parents=[common], help="make a token and print it")
    new.add_argument("token", nargs="?", metavar="TOKEN", help="a token of your choice; a random one if left out")
    new.add_argument("--uses", type=_positive, metavar="N", help="how many accounts it is good for (1)", default=1)
    new.add_argument("--unlimited", action="store_const", const=None, dest="uses", help="for any number of accounts")
    new.add_argument("--days", type=_positive, metavar="N", help="how long it is valid (for ever if left out)")
    new.set_defaults(act=_new)
    actions.add_parser("list", parents=[common], help="show all tokens").set_defaults(act=_list)
    delete = actions.add_parser("delete", parents=[common], help="remove a token; accounts stay")
    delete.add_argument("token", metavar="TOKEN")
    delete.set_defaults(act=_delete)
    return parser


def _in_transaction(connection: Connection, work: Callable[[Transaction], str]) -> str:
    connection.begin(write=True)
    try:
        answer = work(Transaction(connection))
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return answer


def _new(tx: Transaction, options: argparse.Namespace) -> str:
    token: str = options.token or secrets.token_urlsafe(12)
    if len(token) > _MAX_LENGTH or not is_opaque_id(token):
        raise Refused(f"A token has at most {_MAX_LENGTH} characters, of A-Z a-z 0-9 . _ ~ -")
    until = None if options.days is None else _now_ms() + options.days * _DAY_MS
    if not registration_tokens.create(tx, token, options.uses, until):
        raise Refused(f"There is a token {token} already.")
    return token


def _list(tx: Transaction, options: argparse.Namespace) -> str:
    found = registration_tokens.all_tokens(tx)
    if not found:
        return "There are no tokens."
    width = max(len(item.token) for item in found)
    now_ms = _now_ms()
    return "\n".join(f"{item.token:{width}}  {_described(item, now_ms)}" for item in found)


def _delete(tx: Transaction, options: argparse.Namespace) -> str:
    if not registration_tokens.delete(tx, options.token):
        raise Refused(f"There is no token {options.token}.")
    return f"{options.token} is good for nothing any more."


def _described(item: RegistrationToken, now_ms: int) -> str:
    allowed = "any number of" if item.uses_allowed is None else str(item.uses_allowed)
    text = f"used for {item.completed} of {allowed} accounts"
    if item.valid_until_ts is None:
        return text
    day = datetime.fromtimestamp(item.valid_until_ts / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{text}, {'valid until' if item.valid_until_ts > now_ms else 'expired'} {day}"


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.exit(main())
