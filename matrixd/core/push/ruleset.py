"""One user's push rules: what the user changed, and the rules that follow from it and the defaults.

https://spec.matrix.org/v1.19/client-server-api/#push-rules-api

A `Ruleset` never changes; each change gives another one, or the same object if nothing changed. Every error is a
MatrixError that may be answered as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.push.actions import Actions, parse_actions
from matrixd.core.push.defaults import DEFAULT_RULES, for_user
from matrixd.core.push.rules import PushRule, RuleKind

#: Rules for one room or one sender are found by their ID and cost nothing; the others are tried for every event.
MAX_RULES_TRIED = 200
MAX_RULES_LOOKED_UP = 5000


@dataclass(frozen=True, slots=True)
class Override:
    """What a user changed of a server-default rule; None is "as the default says"."""

    enabled: bool | None = None
    actions: Actions | None = None

    def applied_to(self, rule: PushRule) -> PushRule:
        """The rule with this change."""
        return replace(
            rule,
            enabled=rule.enabled if self.enabled is None else self.enabled,
            actions=rule.actions if self.actions is None else self.actions,
        )


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What one user changed. `custom` holds the user's own rules by kind, the most important first; `overrides` the
    changes of server-default rules, by rule ID."""

    custom: Mapping[RuleKind, tuple[PushRule, ...]] = field(default_factory=dict)
    overrides: Mapping[str, Override] = field(default_factory=dict)

    @property
    def is_default(self) -> bool:
        """Whether the user has nothing but the server-default rules, as they are."""
        return not (self.overrides or any(self.custom.values()))

    def rules(self, kind: RuleKind) -> list[PushRule]:
        """The rules of a kind in the order in which they are checked. Defaults that name the user hold USER_ID.

        "They operate at a lower priority than user-defined rules, except for the .m.rule.master rule which has always
        a higher priority than any other rule."
        """
        defaults = [self._with_override(rule) for rule in DEFAULT_RULES[kind]]
        first = 1 if kind is RuleKind.OVERRIDE else 0
        return [*defaults[:first], *self.custom.get(kind, ()), *defaults[first:]]

    def _with_override(self, rule: PushRule) -> PushRule:
        override = self.overrides.get(rule.rule_id)
        return rule if override is None else override.applied_to(rule)

    def get(self, kind: RuleKind, rule_id: str) -> PushRule:
        """The rule with this ID. Raises MatrixError 404 M_NOT_FOUND."""
        for rule in self.rules(kind):
            if rule.rule_id == rule_id:
                return rule
        raise MatrixError(404, "M_NOT_FOUND", "The push rule was not found.")

    def put(self, kind: RuleKind, rule: PushRule, *, before: str | None = None, after: str | None = None) -> Ruleset:
        """Add or change a rule of the user's own.

        A new rule becomes the most important one, and is enabled; a changed one keeps its place and stays enabled or
        disabled. `before` puts it just above that rule, `after` just below; `before` wins if both are given.

        Raises MatrixError 400: M_UNKNOWN if there is no rule `before` or `after` of the user's own, M_INVALID_PARAM if
        it is a server-default rule or the rule itself, M_TOO_LARGE if the user would have too many.
        """
        rules = list(self.custom.get(kind, ()))
        others = [other for other in rules if other.rule_id != rule.rule_id]
        old = next((other for other in rules if other.rule_id == rule.rule_id), None)
        if old is None:
            self._check_room_for_another(kind)
            place = 0
        else:
            rule = replace(rule, enabled=old.enabled)
            place = rules.index(old)
        if after is not None:
            place = _place_of("after", after, rule, others) + 1
        if before is not None:
            place = _place_of("before", before, rule, others)
        others.insert(place, rule)
        return self._with_rules(kind, tuple(others))

    def _check_room_for_another(self, kind: RuleKind) -> None:
        looked_up = (RuleKind.ROOM, RuleKind.SENDER)
        limit = MAX_RULES_LOOKED_UP if kind in looked_up else MAX_RULES_TRIED
        count = sum(len(rules) for other, rules in self.custom.items() if (other in looked_up) == (kind in looked_up))
        if count >= limit:
            raise MatrixError(400, "M_TOO_LARGE", f"there are {limit} push rules of this kind already")

    def delete(self, kind: RuleKind, rule_id: str) -> Ruleset:
        """Remove a rule of the user's own. Raises MatrixError 404 M_NOT_FOUND; a server-default rule is none."""
        rules = self.custom.get(kind, ())
        left = tuple(rule for rule in rules if rule.rule_id != rule_id)
        if len(left) == len(rules):
            raise MatrixError(404, "M_NOT_FOUND", "The push rule was not found among the user's own rules.")
        return self._with_rules(kind, left)

    def set_enabled(self, kind: RuleKind, rule_id: str, enabled: object) -> Ruleset:
        """Enable or disable any rule; `enabled` is what the body holds.

        Raises MatrixError 400 M_BAD_JSON, 404 M_NOT_FOUND.
        """
        if not isinstance(enabled, bool):
            raise MatrixError(400, "M_BAD_JSON", "'enabled' must be a boolean")
        return self._change(kind, rule_id, Override(enabled=enabled))

    def set_actions(self, kind: RuleKind, rule_id: str, actions: object) -> Ruleset:
        """Change the actions of any rule; `actions` is what the body holds.

        Raises MatrixError 400 M_BAD_JSON, 404 M_NOT_FOUND.
        """
        return self._change(kind, rule_id, Override(actions=parse_actions(actions)))

    def _change(self, kind: RuleKind, rule_id: str, change: Override) -> Ruleset:
        rule = self.get(kind, rule_id)
        changed = change.applied_to(rule)
        if changed == rule:
            return self
        if not rule.default:
            rules = self.custom[kind]
            return self._with_rules(kind, tuple(changed if other is rule else other for other in rules))
        default = next(other for other in DEFAULT_RULES[kind] if other.rule_id == rule_id)
        override = Override(
            None if changed.enabled == default.enabled else changed.enabled,
            None if changed.actions == default.actions else changed.actions,
        )
        overrides = {key: value for key, value in self.overrides.items() if key != rule_id}
        if override != Override():
            overrides[rule_id] = override
        return replace(self, overrides=overrides)

    def _with_rules(self, kind: RuleKind, rules: tuple[PushRule, ...]) -> Ruleset:
        return self if rules == self.custom.get(kind, ()) else replace(self, custom={**self.custom, kind: rules})

    def to_api(self, user_id: str) -> dict[str, list[dict[str, Any]]]:
        """The `global` ruleset of the API and of the `m.push_rules` event (`definitions/push_ruleset.yaml`)."""
        return {kind.value: [for_user(rule, user_id).to_api() for rule in self.rules(kind)] for kind in RuleKind}

    def to_stored(self) -> dict[str, Any]:
        """A JSON object from which `from_stored` makes an equal ruleset; `{}` for the default one."""
        stored: dict[str, Any] = {}
        custom = {kind.value: [_stored_rule(rule) for rule in rules] for kind, rules in self.custom.items() if rules}
        if custom:
            stored["custom"] = custom
        if self.overrides:
            stored["overrides"] = {
                rule_id: {
                    **({} if override.enabled is None else {"enabled": override.enabled}),
                    **({} if override.actions is None else {"actions": list(override.actions.raw)}),
                }
                for rule_id, override in self.overrides.items()
            }
        return stored

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Ruleset:
        """The ruleset that `to_stored` wrote. Changes of a rule that is no longer a default have no effect."""
        return cls(
            {
                RuleKind(kind): tuple(_rule_from_stored(rule) for rule in rules)
                for kind, rules in stored.get("custom", {}).items()
            },
            {
                rule_id: Override(
                    override.get("enabled"), Actions.of(override["actions"]) if "actions" in override else None
                )
                for rule_id, override in stored.get("overrides", {}).items()
            },
        )


def _place_of(name: str, rule_id: str, rule: PushRule, others: list[PushRule]) -> int:
    if rule_id.startswith("."):
        raise MatrixError(400, "M_INVALID_PARAM", f"'{name}' must not be a server-default rule")
    if rule_id == rule.rule_id:
        raise MatrixError(400, "M_INVALID_PARAM", f"'{name}' must not be the rule itself")
    for place, other in enumerate(others):
        if other.rule_id == rule_id:
            return place
    raise MatrixError(400, "M_UNKNOWN", f"before/after rule not found: {rule_id}")


def _stored_rule(rule: PushRule) -> dict[str, Any]:
    stored = rule.to_api()
    del stored["default"]
    return stored


def _rule_from_stored(stored: Mapping[str, Any]) -> PushRule:
    conditions = stored.get("conditions")
    return PushRule(
        stored["rule_id"],
        Actions.of(stored["actions"]),
        None if conditions is None else tuple(conditions),
        stored.get("pattern"),
        stored["enabled"],
    )
