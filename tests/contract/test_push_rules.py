"""Push rules that users changed, as the API, sync and evaluation find them."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.queries.member_rulesets import MemberRulesets
from matrixd.queries.push_rules import PushRules as PushRulesQueries
from matrixd.services.account_data import AccountData
from matrixd.services.push_rules import PushRules
from matrixd.storage.rows import PushRulesRow
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.kept import Kept


@pytest.fixture
def kept(db: OpenDatabase) -> Kept:
    return Kept(db)


def rule_ids(content: dict[str, Any], kind: str) -> list[str]:
    return [rule["rule_id"] for rule in content["global"][kind]]


def test_changes_are_kept_and_announced(kept: Kept) -> None:
    changes = PushRules(kept.db.database)
    queries = PushRulesQueries(kept.db.database, kept.feed, CacheBudget(1_000_000))
    alice, alice_id = kept.user("alice")
    before = kept.feed.token
    assert kept.run(queries.content(alice, alice_id))["global"]["room"] == []
    kept.run(changes.put(alice, "room", "!a", {"actions": []}, None, None))
    kept.run(changes.put(alice, "room", "!b", {"actions": ["notify"]}, None, "!a"))
    kept.run(changes.set_enabled(alice, "room", "!b", False))
    kept.run(changes.set_actions(alice, "underride", ".m.rule.message", []))
    kept.run(changes.set_enabled(alice, "room", "!b", False))
    now = kept.feed.token
    content = kept.run(queries.content(alice, alice_id))
    assert rule_ids(content, "room") == ["!a", "!b"]
    assert content["global"]["room"][1]["enabled"] is False
    assert next(r for r in content["global"]["underride"] if r["rule_id"] == ".m.rule.message")["actions"] == []
    assert [row.pos for row in kept.db.announced if isinstance(row, PushRulesRow)] == [1, 2, 3, 4]
    late = PushRulesQueries(kept.db.database, kept.feed, CacheBudget(1_000_000))
    for source in (queries, late):
        assert kept.run(source.changed_since(alice, before, now))
        assert not kept.run(source.changed_since(alice, now, now))
        assert kept.run(source.content(alice, alice_id)) == content
    kept.run(changes.delete(alice, "room", "!a"))
    assert rule_ids(kept.run(queries.content(alice, alice_id)), "room") == ["!b"]


@pytest.mark.parametrize(
    ("change", "args", "code"),
    [
        ("put", ("nonsense", "x", {"actions": []}, None, None), (400, "M_INVALID_PARAM")),
        ("put", ("room", ".m.x", {"actions": []}, None, None), (400, "M_INVALID_PARAM")),
        ("put", ("room", "!a", {}, None, None), (400, "M_BAD_JSON")),
        ("put", ("room", "!a", {"actions": []}, "!none", None), (400, "M_UNKNOWN")),
        ("delete", ("room", "!a"), (404, "M_NOT_FOUND")),
        ("set_enabled", ("room", "!a", True), (404, "M_NOT_FOUND")),
        ("set_enabled", ("override", ".m.rule.master", "yes"), (400, "M_BAD_JSON")),
        ("set_actions", ("underride", ".m.rule.none", []), (404, "M_NOT_FOUND")),
    ],
)
def test_wrong_changes_change_nothing(kept: Kept, change: str, args: tuple[Any, ...], code: tuple[int, str]) -> None:
    service = PushRules(kept.db.database)
    with pytest.raises(MatrixError) as error:
        kept.run(getattr(service, change)(7, *args))
    assert (error.value.status, error.value.errcode) == code
    assert kept.db.announced == []


def test_only_members_with_rules_that_matter_are_found(kept: Kept) -> None:
    changes, data = PushRules(kept.db.database), AccountData(kept.db.database)
    (alice, alice_id), (bob, bob_id), (carol, carol_id) = (kept.user(name) for name in ("alice", "bob", "carol"))
    kept.run(changes.put(alice, "room", "!muted", {"actions": []}, None, None))
    kept.run(data.put(bob, None, "m.ignored_user_list", {"ignored_users": {"@troll:example.org": {}}}))
    rulesets = MemberRulesets(kept.db.database, kept.feed, CacheBudget(1_000_000))
    members = {alice_id, bob_id, carol_id}

    def found(room_id: str) -> set[str]:
        return set(kept.run(rulesets.for_room(room_id, members)))

    def ignoring(sender: str) -> list[str]:
        return list(kept.run(rulesets.ignoring(sender, members)))

    assert found("!muted") == {alice_id}
    assert found("!other") == set()
    assert ignoring("@troll:example.org") == [bob_id]
    assert ignoring(carol_id) == []
    kept.run(changes.put(carol, "content", "cake", {"actions": ["notify"], "pattern": "cake"}, None, None))
    assert found("!other") == {carol_id}
    kept.run(changes.delete(alice, "room", "!muted"))
    kept.run(data.put(bob, None, "m.ignored_user_list", {"ignored_users": "nonsense"}))
    assert found("!muted") == {carol_id}
    assert ignoring("@troll:example.org") == []
    assert set(kept.run(rulesets.for_room("!other", {alice_id}))) == set()
