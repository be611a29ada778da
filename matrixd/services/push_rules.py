"""Changes of push rules.

https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
"""

from collections.abc import Callable

from matrixd.core.push.rules import RuleKind, parse_rule
from matrixd.core.push.ruleset import Ruleset
from matrixd.storage import push_rules
from matrixd.storage.database import Database
from matrixd.storage.transaction import Transaction


class PushRules:
    """Changes users' push rules; each raises what the change of `Ruleset` raises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, user_nid: int, kind: str, rule_id: str, body: object, before: str | None, after: str | None
    ) -> None:
        """Add or change a rule of the user's own, just above the rule `before` or just below the rule `after`."""
        rule_kind = RuleKind.parse(kind)
        rule = parse_rule(rule_kind, rule_id, body)
        await self._change(user_nid, lambda rules: rules.put(rule_kind, rule, before=before, after=after))

    async def delete(self, user_nid: int, kind: str, rule_id: str) -> None:
        """Remove a rule of the user's own."""
        rule_kind = RuleKind.parse(kind)
        await self._change(user_nid, lambda rules: rules.delete(rule_kind, rule_id))

    async def set_enabled(self, user_nid: int, kind: str, rule_id: str, enabled: object) -> None:
        """Enable or disable a rule."""
        rule_kind = RuleKind.parse(kind)
        await self._change(user_nid, lambda rules: rules.set_enabled(rule_kind, rule_id, enabled))

    async def set_actions(self, user_nid: int, kind: str, rule_id: str, actions: object) -> None:
        """Replace the actions of a rule."""
        rule_kind = RuleKind.parse(kind)
        await self._change(user_nid, lambda rules: rules.set_actions(rule_kind, rule_id, actions))

    async def _change(self, user_nid: int, change: Callable[[Ruleset], Ruleset]) -> None:
        await self._database.write(_change, user_nid, change)


def _change(tx: Transaction, user_nid: int, change: Callable[[Ruleset], Ruleset]) -> None:
    rules = Ruleset.from_stored(push_rules.get(tx, user_nid))
    changed = change(rules)
    if changed is not rules:
        push_rules.put(tx, user_nid, changed.to_stored())
