"""`synctl room explain ROOM TYPE [KEY]`: why the room's current state is what it is.

It reads the database, beside a running server or without one.
"""

import argparse
from typing import Any

from matrixd.config.database import DatabaseConfig
from matrixd.ops.database import open_database
from matrixd.ops.installation import Installation
from matrixd.ops.room_explanation import explain
from matrixd.storage.transaction import Transaction
from matrixd.util.exit_codes import Action


def add_to(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Adds the verb to `synctl`."""
    room = verbs.add_parser("room", help="look into a room", description="Looks into a room.")
    actions = room.add_subparsers(required=True, metavar="explain")
    text = "tell why the current state has the event that it has of a type and state key"
    action = actions.add_parser("explain", help=text, description=text)
    action.add_argument("room", metavar="ROOM", help="the room's ID")
    action.add_argument("type", metavar="TYPE", help="the event type, as m.room.power_levels")
    action.add_argument("key", metavar="KEY", nargs="?", default="", help="the state key; empty if left out")
    action.add_argument("-c", "--config", action="append", metavar="FILE", help="configuration (homeserver.yaml)")
    action.set_defaults(verb=_explain)


def _explain(installation: Installation, options: argparse.Namespace) -> int:
    print("\n".join(_read(installation.config.database, options.room, (options.type, options.key))))
    return Action.OK


def _read(database: DatabaseConfig, room_id: str, key: tuple[str, str]) -> list[str]:
    connection = open_database(database)
    try:
        connection.begin(write=False)
        lines = explain(Transaction(connection), room_id, key)
        connection.rollback()
    finally:
        connection.close()
    return lines
