"""core/push/rules, actions and ruleset: what the push rules API accepts, refuses and answers."""

import json
from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.core.push.actions import MAX_ACTIONS, NOTHING, Actions, parse_actions
from matrixd.core.push.conditions import MAX_PATTERN_LENGTH
from matrixd.core.push.rules import MAX_CONDITIONS, PushRule, RuleKind, parse_rule
from matrixd.core.push.ruleset import MAX_RULES_TRIED, Ruleset

ROOM, OVERRIDE, CONTENT = RuleKind.ROOM, RuleKind.OVERRIDE, RuleKind.CONTENT
USER = "@me:example.org"


def rule(rule_id: str, *actions: Any) -> PushRule:
    return PushRule(rule_id, Actions.of(actions))


def with_rooms(*rule_ids: str) -> Ruleset:
    """The rules in this order, the first being the most important."""
    ruleset = Ruleset()
    for rule_id in reversed(rule_ids):
        ruleset = ruleset.put(ROOM, rule(rule_id))
    return ruleset


def order(ruleset: Ruleset, kind: RuleKind = ROOM) -> list[str]:
    return [one.rule_id for one in ruleset.rules(kind)]


class TestActions:
    def test_meaning(self) -> None:
        actions = Actions.of(["notify", {"set_tweak": "sound", "value": "bing"}, {"set_tweak": "highlight"}])
        assert (actions.notify, actions.highlight) == (True, True)
        assert actions.tweaks == {"sound": "bing", "highlight": True}

    @pytest.mark.parametrize(
        "raw", [[{"set_tweak": "highlight"}], ["notify", {"set_tweak": "highlight", "value": False}], ["notify"]]
    )
    def test_no_highlight(self, raw: list[Any]) -> None:
        assert not Actions.of(raw).highlight

    def test_historical_actions_do_nothing(self) -> None:
        actions = parse_actions(["dont_notify", "coalesce"])
        assert actions.has_effect_of(NOTHING)
        assert actions.raw == ("dont_notify", "coalesce")

    def test_tweaks_without_a_notification_have_no_effect(self) -> None:
        assert Actions.of([{"set_tweak": "sound", "value": "x"}]).has_effect_of(NOTHING)
        assert not Actions.of(["notify", {"set_tweak": "sound", "value": "x"}]).has_effect_of(Actions.of(["notify"]))

    @pytest.mark.parametrize(
        ("value", "field"),
        [
            (None, "'actions'"),
            ("notify", "'actions'"),
            (["nope"], "'actions[0]'"),
            (["notify", 3], "'actions[1]'"),
            ([{}], "'actions[0].set_tweak'"),
            ([{"set_tweak": 1}], "'actions[0].set_tweak'"),
            (["notify"] * (MAX_ACTIONS + 1), "'actions'"),
        ],
    )
    def test_refused(self, value: object, field: str) -> None:
        with pytest.raises(MatrixError) as caught:
            parse_actions(value)
        assert (caught.value.status, caught.value.errcode) == (400, "M_BAD_JSON")
        assert field in caught.value.error


class TestParseRule:
    def test_kinds(self) -> None:
        body: dict[str, Any] = {
            "actions": ["notify"],
            "conditions": [{"kind": "event_match", "key": "type", "pattern": "a"}, {"kind": "org.example.new", "x": 1}],
            "pattern": "cake*lie",
        }
        override = parse_rule(OVERRIDE, "a", body)
        assert override.conditions == tuple(body["conditions"])
        assert override.pattern is None
        content = parse_rule(CONTENT, "a", body)
        assert (content.conditions, content.pattern) == (None, "cake*lie")
        assert (content.enabled, content.default) == (True, False)
        room = parse_rule(ROOM, "!a:b", body)
        assert room.to_api() == {"rule_id": "!a:b", "actions": ["notify"], "enabled": True, "default": False}
        assert parse_rule(RuleKind.UNDERRIDE, "a", {"actions": []}).to_api()["conditions"] == []

    @pytest.mark.parametrize("rule_id", ["", ".m.rule.master", ".x", "a/b", "a\\b", "x" * 256])
    def test_bad_rule_ids(self, rule_id: str) -> None:
        with pytest.raises(MatrixError) as caught:
            parse_rule(ROOM, rule_id, {"actions": []})
        assert (caught.value.status, caught.value.errcode) == (400, "M_INVALID_PARAM")
        assert "'ruleId'" in caught.value.error

    @pytest.mark.parametrize(
        ("kind", "body", "field"),
        [
            (ROOM, [], "body"),
            (ROOM, {}, "'actions'"),
            (CONTENT, {"actions": []}, "'pattern'"),
            (CONTENT, {"actions": [], "pattern": 1}, "'pattern'"),
            (CONTENT, {"actions": [], "pattern": "x" * (MAX_PATTERN_LENGTH + 1)}, "'pattern'"),
            (OVERRIDE, {"actions": [], "conditions": {}}, "'conditions'"),
            (OVERRIDE, {"actions": [], "conditions": [{"kind": "x"}] * (MAX_CONDITIONS + 1)}, "'conditions'"),
            (OVERRIDE, {"actions": [], "conditions": ["x"]}, "'conditions[0]'"),
            (OVERRIDE, {"actions": [], "conditions": [{}]}, "'conditions[0].kind'"),
        ],
    )
    def test_bad_bodies(self, kind: RuleKind, body: object, field: str) -> None:
        with pytest.raises(MatrixError) as caught:
            parse_rule(kind, "a", body)
        assert (caught.value.status, caught.value.errcode) == (400, "M_BAD_JSON")
        assert field in caught.value.error

    def test_kind_of_the_path(self) -> None:
        assert RuleKind.parse("underride") is RuleKind.UNDERRIDE
        with pytest.raises(MatrixError) as caught:
            RuleKind.parse("device")
        assert caught.value.errcode == "M_INVALID_PARAM"


class TestOrder:
    def test_new_rules_come_first(self) -> None:
        assert order(with_rooms("a", "b")) == ["a", "b"]

    def test_own_rules_stand_between_master_and_the_defaults(self) -> None:
        rules = order(Ruleset().put(OVERRIDE, rule("mine")), OVERRIDE)
        assert rules[:3] == [".m.rule.master", "mine", ".m.rule.suppress_notices"]
        assert order(Ruleset().put(RuleKind.UNDERRIDE, rule("mine")), RuleKind.UNDERRIDE)[0] == "mine"

    @pytest.mark.parametrize(
        ("new", "before", "after", "expected"),
        [
            ("c", "a", None, ["c", "a", "b"]),
            ("c", "b", None, ["a", "c", "b"]),
            ("c", None, "a", ["a", "c", "b"]),
            ("c", None, "b", ["a", "b", "c"]),
            ("c", "b", "b", ["a", "c", "b"]),
            ("a", None, None, ["a", "b"]),
            ("b", None, None, ["a", "b"]),
            ("b", "a", None, ["b", "a"]),
            ("a", None, "b", ["b", "a"]),
        ],
    )
    def test_before_and_after(self, new: str, before: str | None, after: str | None, expected: list[str]) -> None:
        assert order(with_rooms("a", "b").put(ROOM, rule(new), before=before, after=after)) == expected

    @pytest.mark.parametrize(
        ("where", "errcode"), [("nope", "M_UNKNOWN"), (".m.rule.master", "M_INVALID_PARAM"), ("a", "M_INVALID_PARAM")]
    )
    @pytest.mark.parametrize("name", ["before", "after"])
    def test_relative_to_what_cannot_be(self, name: str, where: str, errcode: str) -> None:
        with pytest.raises(MatrixError) as caught:
            with_rooms("a", "b").put(ROOM, rule("a"), **{name: where})
        assert (caught.value.status, caught.value.errcode) == (400, errcode)

    def test_too_many(self) -> None:
        ruleset = Ruleset({CONTENT: tuple(rule(str(n)) for n in range(MAX_RULES_TRIED))})
        with pytest.raises(MatrixError) as caught:
            ruleset.put(OVERRIDE, rule("one more"))
        assert caught.value.errcode == "M_TOO_LARGE"
        assert order(ruleset.put(ROOM, rule("!r:x"))) == ["!r:x"]
        assert ruleset.put(CONTENT, rule("0", "notify")).get(CONTENT, "0").actions.notify


class TestChanges:
    def test_update_keeps_enabled(self) -> None:
        ruleset = with_rooms("a").set_enabled(ROOM, "a", False).put(ROOM, rule("a", "notify"))
        changed = ruleset.get(ROOM, "a")
        assert (changed.enabled, changed.actions.notify) == (False, True)

    def test_same_again_changes_nothing(self) -> None:
        ruleset = with_rooms("a", "b").set_enabled(OVERRIDE, ".m.rule.master", True)
        assert ruleset.put(ROOM, rule("a")) is ruleset
        assert ruleset.set_enabled(ROOM, "a", True) is ruleset
        assert ruleset.set_actions(ROOM, "a", []) is ruleset
        assert ruleset.set_enabled(OVERRIDE, ".m.rule.master", True) is ruleset

    def test_defaults_can_be_changed_and_changed_back(self) -> None:
        muted = Ruleset().set_enabled(OVERRIDE, ".m.rule.master", True)
        muted = muted.set_actions(OVERRIDE, ".m.rule.master", ["dont_notify"])
        master = muted.get(OVERRIDE, ".m.rule.master")
        assert (master.enabled, master.default, master.actions.raw) == (True, True, ("dont_notify",))
        assert not muted.is_default
        back = muted.set_enabled(OVERRIDE, ".m.rule.master", False).set_actions(OVERRIDE, ".m.rule.master", [])
        assert back.is_default
        assert back == Ruleset()

    def test_own_rules_can_be_changed(self) -> None:
        ruleset = with_rooms("a", "b").set_actions(ROOM, "b", ["notify"]).set_enabled(ROOM, "b", False)
        changed = ruleset.get(ROOM, "b")
        assert (changed.actions.raw, changed.enabled) == (("notify",), False)
        assert order(ruleset) == ["a", "b"]

    def test_delete(self) -> None:
        ruleset = with_rooms("a", "b").delete(ROOM, "a")
        assert order(ruleset) == ["b"]
        assert ruleset.delete(ROOM, "b").is_default

    @pytest.mark.parametrize("rule_id", ["nope", ".m.rule.nope", ".m.rule.message"])
    def test_unknown_rules(self, rule_id: str) -> None:
        ruleset = with_rooms("a")
        for act in (
            lambda: ruleset.get(OVERRIDE, rule_id),
            lambda: ruleset.delete(RuleKind.UNDERRIDE, rule_id),
            lambda: ruleset.set_enabled(ROOM, rule_id, True),
            lambda: ruleset.set_actions(ROOM, rule_id, []),
        ):
            with pytest.raises(MatrixError) as caught:
                act()
            assert (caught.value.status, caught.value.errcode) == (404, "M_NOT_FOUND")

    @pytest.mark.parametrize("enabled", [None, "true", 1])
    def test_enabled_must_be_a_boolean(self, enabled: object) -> None:
        with pytest.raises(MatrixError) as caught:
            with_rooms("a").set_enabled(ROOM, "a", enabled)
        assert caught.value.errcode == "M_BAD_JSON"
        assert "'enabled'" in caught.value.error


class TestStored:
    def test_round_trip(self) -> None:
        ruleset = (
            with_rooms("!a:x", "!b:x")
            .put(CONTENT, parse_rule(CONTENT, "cake", {"actions": ["notify"], "pattern": "cake"}))
            .put(OVERRIDE, parse_rule(OVERRIDE, "o", {"actions": [], "conditions": [{"kind": "new"}]}))
            .set_enabled(ROOM, "!b:x", False)
            .set_enabled(OVERRIDE, ".m.rule.master", True)
            .set_actions(RuleKind.UNDERRIDE, ".m.rule.message", [])
        )
        stored = json.loads(json.dumps(ruleset.to_stored()))
        again = Ruleset.from_stored(stored)
        assert again == ruleset
        assert again.to_api(USER) == ruleset.to_api(USER)

    def test_default(self) -> None:
        assert Ruleset().to_stored() == {}
        assert Ruleset.from_stored({}) == Ruleset()

    def test_change_of_a_default_that_is_gone(self) -> None:
        ruleset = Ruleset.from_stored({"overrides": {".m.rule.contains_user_name": {"enabled": False}}})
        assert ruleset.to_api(USER) == Ruleset().to_api(USER)
