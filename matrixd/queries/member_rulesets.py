"""The push rules, and the ignore lists, of those members of a room who have any: what an event's outcome depends on.

Nearly everybody has neither, so the user IDs of those who do are held, one small entry for each such local user.
"""

from collections.abc import Collection, Mapping

from matrixd.core.push.evaluation import CompiledRuleset
from matrixd.core.push.ruleset import Ruleset
from matrixd.queries.feed import Feed
from matrixd.queries.ignored_users import ignored_in, is_ignored_list
from matrixd.storage import account_data, push_rules, users
from matrixd.storage.database import Database
from matrixd.storage.rows import AccountDataRow, PushRulesRow
from matrixd.storage.transaction import Transaction
from matrixd.util.lru import CacheBudget
from matrixd.util.single_flight import SingleFlight

_RULESET_BYTES = 1_000
_RULE_BYTES = 1_500


class MemberRulesets:
    """Finds the rules of members. Changes are read from the database when the next event asks."""

    def __init__(self, database: Database, feed: Feed, budget: CacheBudget) -> None:
        self._database = database
        self._compiled = budget.cache("compiled_rulesets", str, CompiledRuleset)
        #: Users who have rules of their own: user ID -> number.
        self._customised: dict[str, int] = {}
        #: Users who ignore somebody: user ID -> whom.
        self._ignored: dict[str, frozenset[str]] = {}
        #: Numbers of users whose rules or ignore list must be read; None: those of all.
        self._stale: set[int] | None = None
        self._is_reading = False
        self._refreshing: SingleFlight[str, None] = SingleFlight()
        feed.subscribe(PushRulesRow, self._on_rules)
        feed.subscribe(AccountDataRow, self._on_account_data)

    async def for_room(self, room_id: str, members: Collection[str]) -> Mapping[str, CompiledRuleset]:
        """The rules of those of `members` (a set, or what tells quickly whether it contains a user ID) that affect
        the room."""
        await self._refresh()
        concerned = _both(self._customised, members)
        found: dict[str, CompiledRuleset] = {}
        missing = []
        for user_id in concerned:
            compiled = self._compiled.get(user_id)
            if compiled is None:
                missing.append(user_id)
            elif compiled.affects(room_id):
                found[user_id] = compiled
        if missing:
            for user_id, compiled in (await self._compile(missing)).items():
                if compiled.affects(room_id):
                    found[user_id] = compiled
        return found

    async def ignoring(self, sender: str, members: Collection[str]) -> Collection[str]:
        """Those of `members` who ignore `sender`."""
        await self._refresh()
        return [user_id for user_id in _both(self._ignored, members) if sender in self._ignored[user_id]]

    async def _compile(self, user_ids: list[str]) -> dict[str, CompiledRuleset]:
        numbers = {self._customised[user_id]: user_id for user_id in user_ids}
        stored = await self._database.read(push_rules.of_users, list(numbers))
        made = {}
        for user_nid, changes in stored.items():
            ruleset = Ruleset.from_stored(changes)
            compiled = made[numbers[user_nid]] = CompiledRuleset.of(ruleset)
            # What has changed since is stale, and will be read again before the next event.
            if self._stale is not None and user_nid not in self._stale:
                count = sum(len(rules) for rules in ruleset.custom.values()) + len(ruleset.overrides)
                self._compiled.put(numbers[user_nid], compiled, _RULESET_BYTES + _RULE_BYTES * count)
        return made

    async def _refresh(self) -> None:
        while self._stale is None or self._stale or self._is_reading:
            await self._refreshing.run("", self._read_stale)

    async def _read_stale(self) -> None:
        stale, self._stale = self._stale, set()
        self._is_reading = True
        try:
            read = await self._database.read(_read, stale)
        except BaseException:
            self._stale = None if stale is None else stale | self._stale
            raise
        finally:
            self._is_reading = False
        for user_nid, (user_id, has_rules, ignored) in read.items():
            self._compiled.remove(user_id)
            if has_rules:
                self._customised[user_id] = user_nid
            else:
                self._customised.pop(user_id, None)
            if ignored:
                self._ignored[user_id] = ignored
            else:
                self._ignored.pop(user_id, None)

    def _on_rules(self, row: PushRulesRow) -> None:
        if self._stale is not None:
            self._stale.add(row.user_nid)

    def _on_account_data(self, row: AccountDataRow) -> None:
        if self._stale is not None and is_ignored_list(row):
            self._stale.add(row.user_nid)


def _both(known: Mapping[str, object], members: Collection[str]) -> list[str]:
    if len(known) < len(members):
        return [user_id for user_id in known if user_id in members]
    return [user_id for user_id in members if user_id in known]


def _read(tx: Transaction, user_nids: set[int] | None) -> dict[int, tuple[str, bool, frozenset[str]]]:
    """User number -> user ID, whether the user has push rules of their own, whom the user ignores."""
    rules = push_rules.of_users(tx, push_rules.all_users(tx) if user_nids is None else user_nids)
    ignored = account_data.ignored_user_lists(tx, user_nids)
    names = users.by_nids(tx, {*rules, *ignored} if user_nids is None else user_nids)
    return {nid: (user_id, nid in rules, ignored_in(ignored.get(nid, {}))) for nid, user_id in names.items()}
