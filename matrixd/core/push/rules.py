"""Push rules one by one: their kinds, their form in the API, and what a client may put.

https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.push.actions import Actions, parse_actions
from matrixd.core.push.conditions import MAX_PATTERN_LENGTH, check_condition

MAX_RULE_ID_LENGTH = 255
MAX_CONDITIONS = 20


class RuleKind(Enum):
    """The kinds of rules, in the order in which they are checked."""

    OVERRIDE = "override"
    CONTENT = "content"
    ROOM = "room"
    SENDER = "sender"
    UNDERRIDE = "underride"

    @classmethod
    def parse(cls, text: str) -> RuleKind:
        """Read the `kind` of a path. Raises MatrixError 400 M_INVALID_PARAM."""
        try:
            return cls(text)
        except ValueError:
            kinds = ", ".join(kind.value for kind in cls)
            raise MatrixError(400, "M_INVALID_PARAM", f"'kind' must be one of {kinds}") from None

    @property
    def has_conditions(self) -> bool:
        return self in (RuleKind.OVERRIDE, RuleKind.UNDERRIDE)


@dataclass(frozen=True, slots=True)
class PushRule:
    """One rule. `conditions` only for override and underride rules, `pattern` only for content rules."""

    rule_id: str
    actions: Actions
    conditions: tuple[Mapping[str, Any], ...] | None = None
    pattern: str | None = None
    enabled: bool = True
    default: bool = False

    def to_api(self) -> dict[str, Any]:
        """The rule as the API shows it (`definitions/push_rule.yaml`)."""
        rule: dict[str, Any] = {
            "rule_id": self.rule_id,
            "default": self.default,
            "enabled": self.enabled,
            "actions": list(self.actions.raw),
        }
        if self.conditions is not None:
            rule["conditions"] = list(self.conditions)
        if self.pattern is not None:
            rule["pattern"] = self.pattern
        return rule


def parse_rule(kind: RuleKind, rule_id: str, body: object) -> PushRule:
    """Read the path and the body of `PUT /pushrules/global/{kind}/{ruleId}`.

    Raises MatrixError 400: M_INVALID_PARAM for the rule's ID, M_BAD_JSON for the body.
    """
    if rule_id.startswith("."):
        raise MatrixError(400, "M_INVALID_PARAM", "'ruleId' must not start with a dot: such rules are the server's own")
    if "/" in rule_id or "\\" in rule_id:
        raise MatrixError(400, "M_INVALID_PARAM", "'ruleId' must not contain slashes or backslashes")
    if not 0 < len(rule_id) <= MAX_RULE_ID_LENGTH:
        raise MatrixError(400, "M_INVALID_PARAM", f"'ruleId' must have 1 to {MAX_RULE_ID_LENGTH} characters")
    if not isinstance(body, Mapping):
        raise MatrixError(400, "M_BAD_JSON", "the body must be an object")
    return PushRule(
        rule_id,
        parse_actions(body.get("actions")),
        _parse_conditions(body.get("conditions", [])) if kind.has_conditions else None,
        _parse_pattern(body.get("pattern")) if kind is RuleKind.CONTENT else None,
    )


def _parse_conditions(value: object) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list):
        raise MatrixError(400, "M_BAD_JSON", "'conditions' must be an array")
    if len(value) > MAX_CONDITIONS:
        raise MatrixError(400, "M_BAD_JSON", f"'conditions' has more than {MAX_CONDITIONS} entries")
    for index, condition in enumerate(value):
        check_condition(condition, f"conditions[{index}]")
    return tuple(value)


def _parse_pattern(value: object) -> str:
    if not isinstance(value, str):
        raise MatrixError(400, "M_BAD_JSON", "'pattern' must be a string")
    if len(value) > MAX_PATTERN_LENGTH:
        raise MatrixError(400, "M_BAD_JSON", f"'pattern' is longer than {MAX_PATTERN_LENGTH} characters")
    return value
