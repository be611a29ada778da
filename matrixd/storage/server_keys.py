"""The signing keys of other servers, and the signed objects that tell them.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from matrixd.core.signing import VerifyKey
from matrixd.storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """The keys of one server. Times are milliseconds since 1970."""

    server_name: str
    #: Key ID -> key.
    keys: Mapping[str, VerifyKey]
    #: Until when the current keys are good.
    valid_until_ts: int
    #: Who told them: the server itself, or a notary.
    from_server: str
    received_ts: int
    #: When they were last needed, to within some weeks.
    used_ts: int


@dataclass(frozen=True, slots=True)
class NewKeys:
    """What an answer told: all keys of the server that are known now, and the answer."""

    keys: StoredKeys
    #: The signed object as JSON; None if the one before is to stay.
    response: str | None


def of_servers(tx: Transaction, server_names: Collection[str]) -> dict[str, StoredKeys]:
    """The keys of those of the servers of which some are known."""
    condition, names = tx.among("server_name", list(server_names))
    keys: dict[str, dict[str, VerifyKey]] = {}
    for server_name, key_id, public_key, valid_until_ts, expired_ts in tx.all(
        f"SELECT server_name, key_id, public_key, valid_until_ts, expired_ts FROM server_keys WHERE {condition}",
        (names,),
    ):
        keys.setdefault(server_name, {})[key_id] = VerifyKey(key_id, bytes(public_key), valid_until_ts, expired_ts)
    rows = tx.all(
        f"SELECT server_name, valid_until_ts, from_server, received_ts, used_ts FROM key_servers WHERE {condition}",
        (names,),
    )
    return {row[0]: StoredKeys(row[0], keys.get(row[0], {}), *row[1:]) for row in rows}


def store(tx: Transaction, learned: Sequence[NewKeys]) -> None:
    """Keep what answers told, in the place of what was known of the servers before; each server stands there once."""
    condition, names = tx.among("server_name", [new.keys.server_name for new in learned])
    tx.execute(f"DELETE FROM server_keys WHERE {condition}", (names,))
    tx.insert_many(
        "server_keys",
        ("server_name", "key_id", "public_key", "valid_until_ts", "expired_ts"),
        [
            (new.keys.server_name, key.key_id, key.public, key.valid_until_ts, key.expired_ts)
            for new in learned
            for key in new.keys.keys.values()
        ],
    )
    tx.insert_many(
        "key_servers",
        ("server_name", "response", "from_server", "received_ts", "valid_until_ts", "used_ts"),
        [
            (
                new.keys.server_name,
                new.response,
                new.keys.from_server,
                new.keys.received_ts,
                new.keys.valid_until_ts,
                new.keys.used_ts,
            )
            for new in learned
        ],
        "ON CONFLICT (server_name) DO UPDATE SET response = coalesce(excluded.response, key_servers.response),"
        " from_server = excluded.from_server, received_ts = excluded.received_ts,"
        " valid_until_ts = excluded.valid_until_ts, used_ts = excluded.used_ts",
    )


def responses(tx: Transaction, server_names: Collection[str]) -> dict[str, str]:
    """The newest signed objects of servers, as JSON; without those that were not kept."""
    condition, names = tx.among("server_name", list(server_names))
    sql = f"SELECT server_name, response FROM key_servers WHERE {condition} AND response IS NOT NULL"
    return dict(tx.all(sql, (names,)))


def used(tx: Transaction, server_names: Collection[str], now_ms: int) -> None:
    """Note that the keys of these servers were needed."""
    condition, names = tx.among("server_name", sorted(server_names))
    tx.execute(f"UPDATE key_servers SET used_ts = ? WHERE {condition}", (now_ms, names))


def expire(tx: Transaction, used_before_ts: int, at_most: int) -> int:
    """Forget up to `at_most` servers whose keys nobody needed since `used_before_ts`; how many there were."""
    rows = tx.all(
        "SELECT server_name FROM key_servers WHERE used_ts < ? ORDER BY used_ts LIMIT ?", (used_before_ts, at_most)
    )
    if rows:
        condition, names = tx.among("server_name", [name for (name,) in rows])
        tx.execute(f"DELETE FROM server_keys WHERE {condition}", (names,))
        tx.execute(f"DELETE FROM key_servers WHERE {condition}", (names,))
    return len(rows)
