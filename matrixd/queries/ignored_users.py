"""Whom a user ignores.

https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
"""

import itertools
from collections.abc import Mapping
from typing import Any

from matrixd.queries.feed import Feed
from matrixd.storage import account_data
from matrixd.storage.database import Database
from matrixd.storage.rows import AccountDataRow
from matrixd.util.lru import CacheBudget

_TYPE = "m.ignored_user_list"
#: Entries of one user's list that count.
MAX_IGNORED = 10_000
_ENTRY_BYTES = 250
_USER_BYTES = 100


class IgnoredUsers:
    """The lists of those who are in use, in memory."""

    def __init__(self, database: Database, feed: Feed, budget: CacheBudget) -> None:
        self._database = database
        self._known = budget.cache("ignored_users", int, frozenset[str])
        #: Counts the changes seen, so that a slow read does not bring back what has been replaced.
        self._changes = 0
        feed.subscribe(AccountDataRow, self._on_change)

    def cached(self, user_nid: int) -> frozenset[str] | None:
        """The user IDs that a user ignores, if memory has them."""
        return self._known.get(user_nid)

    async def of(self, user_nid: int) -> frozenset[str]:
        """The user IDs that a user ignores."""
        known = self._known.get(user_nid)
        if known is not None:
            return known
        changes = self._changes
        content = await self._database.read(account_data.get, user_nid, account_data.GLOBAL, _TYPE)
        ignored = ignored_in(content or {})
        if changes == self._changes:
            self._keep(user_nid, ignored)
        return ignored

    def _keep(self, user_nid: int, ignored: frozenset[str]) -> None:
        self._known.put(user_nid, ignored, _ENTRY_BYTES + _USER_BYTES * len(ignored))

    def _on_change(self, row: AccountDataRow) -> None:
        if is_ignored_list(row):
            self._changes += 1
            self._keep(row.user_nid, ignored_in(row.content))


def is_ignored_list(row: AccountDataRow) -> bool:
    """Whether a change is one of whom its user ignores."""
    return row.type == _TYPE and row.room_nid == account_data.GLOBAL


def ignored_in(content: Mapping[str, Any]) -> frozenset[str]:
    """The user IDs in the content of `m.ignored_user_list`; what cannot be read ignores nobody."""
    users = content.get("ignored_users")
    return frozenset(itertools.islice(users, MAX_IGNORED)) if isinstance(users, dict) else frozenset()
