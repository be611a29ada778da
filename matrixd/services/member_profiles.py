"""What member events show of a local user: display name and avatar, remembered for those in use."""

import orjson

from matrixd.queries.feed import Feed
from matrixd.storage import profiles, users
from matrixd.storage.database import Database
from matrixd.storage.rows import ProfileRow
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget

#: The profile fields that `m.room.member` has too.
FIELDS = ("displayname", "avatar_url")
_ENTRY_BYTES = 500

Shown = dict[str, str]


class MemberProfiles:
    """Display names and avatars of local users, from memory where it can."""

    def __init__(self, database: Database, feed: Feed, budget: CacheBudget) -> None:
        self._database = database
        self._known = budget.cache("member_profiles", str, dict[str, str])
        #: Counts the changes seen, so that a slow read does not bring back what has been replaced.
        self._changes = 0
        feed.subscribe(ProfileRow, self._on_change)

    async def of(self, user_id: str) -> Shown:
        """`displayname` and `avatar_url` of a local user, as far as they are set, for a member event's content."""
        known = self._known.get(user_id)
        if known is None:
            changes = self._changes
            known = await self._database.read(read, user_id)
            if changes == self._changes:
                self._known.put(user_id, known, _ENTRY_BYTES)
        return dict(known)

    def _on_change(self, row: ProfileRow) -> None:
        self._changes += 1
        self._known.remove(row.user_id)


def read(tx: Transaction, user_id: str) -> Shown:
    """The same from the database."""
    user_nid = users.find(tx, user_id)
    if user_nid is None:
        return {}
    found = profiles.get_many(tx, [user_nid], FIELDS).get(user_nid, {})
    values = {field: orjson.loads(found[field]) for field in FIELDS if field in found}
    return {field: value for field, value in values.items() if isinstance(value, str)}
