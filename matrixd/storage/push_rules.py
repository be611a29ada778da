"""What users changed of the push rules, as JSON that `core.push.ruleset.Ruleset` reads and writes."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from matrixd.storage.rows import PushRulesRow
from matrixd.storage.transaction import Transaction


def get(tx: Transaction, user_nid: int) -> dict[str, Any]:
    """A user's changes; `{}` for someone who has the default rules."""
    row = tx.one("SELECT changes FROM push_rules WHERE user_nid = ?", (user_nid,))
    return {} if row is None else dict(orjson.loads(row[0]))


def position(tx: Transaction, user_nid: int) -> int:
    """The position of the newest change in the push_rules stream; 0 if there was none."""
    row = tx.one("SELECT pos FROM push_rules WHERE user_nid = ?", (user_nid,))
    return 0 if row is None else int(row[0])


def of_users(tx: Transaction, user_nids: Collection[int]) -> dict[int, dict[str, Any]]:
    """The changes of those users who made some."""
    if not user_nids:
        return {}
    condition, parameter = tx.among("user_nid", list(user_nids))
    rows = tx.all(f"SELECT user_nid, changes FROM push_rules WHERE {condition} AND changes <> '{{}}'", (parameter,))
    return {row[0]: orjson.loads(row[1]) for row in rows}


def all_users(tx: Transaction) -> list[int]:
    """The users who have rules of their own."""
    return [row[0] for row in tx.all("SELECT user_nid FROM push_rules WHERE changes <> '{}'")]


def put(tx: Transaction, user_nid: int, changes: Mapping[str, Any]) -> None:
    """Replace a user's changes, and announce it."""
    pos = tx.next_id("push_rules")
    # The row stays when nothing differs from the default any more: its position tells other devices of the change.
    tx.execute(
        "INSERT INTO push_rules (user_nid, changes, pos) VALUES (?, ?, ?)"
        " ON CONFLICT (user_nid) DO UPDATE SET changes = excluded.changes, pos = excluded.pos",
        (user_nid, orjson.dumps(changes).decode(), pos),
    )
    tx.announce(PushRulesRow(pos, user_nid))


def remove_user(tx: Transaction, user_nid: int) -> None:
    """Delete the changes of a user who is deactivated."""
    tx.execute("DELETE FROM push_rules WHERE user_nid = ?", (user_nid,))
