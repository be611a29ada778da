"""Users' push rules, as the API and sync show them and as evaluation needs them."""

from collections.abc import Collection
from typing import Any

from matrixd.core.push.ruleset import Ruleset
from matrixd.core.streams import Stream, StreamToken
from matrixd.queries.feed import Feed
from matrixd.queries.recent import Recent
from matrixd.storage import push_rules
from matrixd.storage.database import Database
from matrixd.storage.rows import PushRulesRow
from matrixd.util.lru import CacheBudget

_MAX_ROWS = 10_000
_ROW_BYTES = 200
_RULESET_BYTES = 400
_RULE_BYTES = 700


class PushRules:
    """Reads push rules; those in use are kept under the byte budget."""

    def __init__(self, database: Database, feed: Feed, budget: CacheBudget) -> None:
        self._database = database
        self._known = budget.cache("push_rulesets", int, Ruleset)
        self._recent: Recent[PushRulesRow] = Recent(
            feed.token[Stream.PUSH_RULES],
            key=lambda row: row.user_nid,
            size=lambda row: _ROW_BYTES,
            max_rows=_MAX_ROWS,
            max_bytes=_MAX_ROWS * _ROW_BYTES,
        )
        #: Counts the changes seen, so that a slow read does not bring back what has been replaced.
        self._changes = 0
        feed.subscribe(PushRulesRow, self._on_change)

    def cached(self, user_nid: int) -> Ruleset | None:
        """A user's rules, if memory has them."""
        return self._known.get(user_nid)

    async def ruleset(self, user_nid: int) -> Ruleset:
        """A user's rules; the default ones for someone who never changed any."""
        known = self._known.get(user_nid)
        return known if known is not None else (await self.rulesets([user_nid]))[user_nid]

    async def rulesets(self, user_nids: Collection[int]) -> dict[int, Ruleset]:
        """The rules of several users, with one read for those who are not in memory."""
        found = {nid: known for nid in user_nids if (known := self._known.get(nid)) is not None}
        missing = [nid for nid in user_nids if nid not in found]
        if missing:
            changes = self._changes
            stored = await self._database.read(push_rules.of_users, missing)
            for nid in missing:
                ruleset = found[nid] = Ruleset.from_stored(stored.get(nid, {}))
                if changes == self._changes:
                    count = sum(len(rules) for rules in ruleset.custom.values()) + len(ruleset.overrides)
                    self._known.put(nid, ruleset, _RULESET_BYTES + _RULE_BYTES * count)
        return found

    async def content(self, user_nid: int, user_id: str) -> dict[str, Any]:
        """The content of the `m.push_rules` event: `{"global": …}`."""
        return {"global": (await self.ruleset(user_nid)).to_api(user_id)}

    def changed(self, user_nid: int, after: StreamToken, up_to: StreamToken) -> bool | None:
        """Whether the rules changed between two tokens; None if memory does not reach back to `after`."""
        rows = self._recent.after(user_nid, after[Stream.PUSH_RULES])
        return None if rows is None else any(row.pos <= up_to[Stream.PUSH_RULES] for row in rows)

    async def changed_since(self, user_nid: int, after: StreamToken, up_to: StreamToken) -> bool:
        """Whether the rules changed between two tokens."""
        known = self.changed(user_nid, after, up_to)
        if known is not None:
            return known
        return await self._database.read(push_rules.position, user_nid) > after[Stream.PUSH_RULES]

    def _on_change(self, row: PushRulesRow) -> None:
        self._changes += 1
        self._known.remove(row.user_nid)
        self._recent.add(row)
