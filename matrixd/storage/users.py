"""The number (nid) of each user ID, local or remote.

`nid` and `nids` make what is missing and are for write transactions; the rest only look.
"""

from collections.abc import Collection, Iterable

from matrixd.storage.transaction import Transaction

_COUNTER = "users"


def nid(tx: Transaction, user_id: str) -> int:
    """The user's number; made if the user is new."""
    return nids(tx, (user_id,))[user_id]


def nids(tx: Transaction, user_ids: Iterable[str]) -> dict[str, int]:
    """The number of each user; those of new users are made."""
    wanted = dict.fromkeys(user_ids)
    found = {}
    for user_id in wanted:
        known = tx.recall((_COUNTER, user_id))
        if known is not None:
            found[user_id] = known
    missing = [user_id for user_id in wanted if user_id not in found]
    if missing:
        stored = find_many(tx, missing)
        stored.update(_create(tx, [user_id for user_id in missing if user_id not in stored]))
        for user_id, user_nid in stored.items():
            tx.learn((_COUNTER, user_id), user_nid)
        found.update(stored)
    return found


def _create(tx: Transaction, user_ids: list[str]) -> dict[str, int]:
    if not user_ids:
        return {}
    first = tx.next_id(_COUNTER, len(user_ids))
    made = {user_id: first + index for index, user_id in enumerate(user_ids)}
    tx.insert_many("users", ("user_nid", "user_id"), [(number, user_id) for user_id, number in made.items()])
    return made


def find(tx: Transaction, user_id: str) -> int | None:
    """The user's number; None for a user that was never seen."""
    row = tx.one("SELECT user_nid FROM users WHERE user_id = ?", (user_id,))
    return None if row is None else int(row[0])


def find_many(tx: Transaction, user_ids: Collection[str]) -> dict[str, int]:
    """The numbers of those users that were ever seen."""
    if not user_ids:
        return {}
    condition, parameter = tx.among("user_id", list(user_ids))
    return dict(tx.all(f"SELECT user_id, user_nid FROM users WHERE {condition}", (parameter,)))


def by_nid(tx: Transaction, user_nid: int) -> str | None:
    """The user ID of a number."""
    row = tx.one("SELECT user_id FROM users WHERE user_nid = ?", (user_nid,))
    return None if row is None else str(row[0])


def by_nids(tx: Transaction, user_nids: Collection[int]) -> dict[int, str]:
    """The user ID of each number that exists."""
    if not user_nids:
        return {}
    condition, parameter = tx.among("user_nid", list(user_nids))
    return dict(tx.all(f"SELECT user_nid, user_id FROM users WHERE {condition}", (parameter,)))
