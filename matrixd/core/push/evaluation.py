"""What one user's rules say to one event.

https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from matrixd.core.push.actions import NOTHING, Actions
from matrixd.core.push.conditions import (
    BODY,
    Condition,
    EventView,
    compile_condition,
    never,
)
from matrixd.core.push.defaults import DEFAULT_RULES, USER_ID
from matrixd.core.push.rules import PushRule, RuleKind
from matrixd.core.push.ruleset import Ruleset


@dataclass(frozen=True, slots=True)
class _CompiledRule:
    conditions: tuple[Condition, ...]
    actions: Actions


@dataclass(frozen=True, slots=True)
class CompiledRuleset:
    """A user's enabled rules, ready to be asked. It does not hold whose they are, so the default one serves everybody.

    Rules for one room or one sender are found by their ID, however many there are.
    """

    before: tuple[_CompiledRule, ...]  # override and content rules
    rooms: Mapping[str, Actions]
    senders: Mapping[str, Actions]
    after: tuple[_CompiledRule, ...]  # underride rules
    #: Whether only the rules for rooms differ from the defaults.
    differs_by_room_only: bool

    @classmethod
    def of(cls, ruleset: Ruleset) -> CompiledRuleset:
        """Compile a user's rules. Costs microseconds per rule of the user's own: keep the result."""
        by_room_only = not ruleset.overrides and not any(
            rules for kind, rules in ruleset.custom.items() if kind is not RuleKind.ROOM
        )
        return cls(
            (*_compile_all(ruleset, RuleKind.OVERRIDE), *_compile_all(ruleset, RuleKind.CONTENT)),
            _by_id(ruleset.rules(RuleKind.ROOM)),
            _by_id(ruleset.rules(RuleKind.SENDER)),
            tuple(_compile_all(ruleset, RuleKind.UNDERRIDE)),
            by_room_only,
        )

    def affects(self, room_id: str) -> bool:
        """Whether any event of this room can have another outcome than under the default rules."""
        return not self.differs_by_room_only or room_id in self.rooms

    def evaluate(self, view: EventView, user_id: str | None) -> Actions:
        """The actions of the first rule that matches; NOTHING if none does, or if the user sent the event.

        `user_id` None stands for a user whom no event names.
        """
        event = view.event
        if event.sender == user_id:
            return NOTHING  # "Homeservers MUST NOT notify the Push Gateway for events that the user has sent"
        actions = _first_match(self.before, view, user_id)
        if actions is None:
            actions = self.rooms.get(event.room_id)
        if actions is None:
            actions = self.senders.get(event.sender)
        if actions is None:
            actions = _first_match(self.after, view, user_id)
        return NOTHING if actions is None else actions


def _first_match(rules: tuple[_CompiledRule, ...], view: EventView, user_id: str | None) -> Actions | None:
    for rule in rules:
        for condition in rule.conditions:
            if not condition(view, user_id):
                break
        else:
            return rule.actions
    return None


def _by_id(rules: Iterable[PushRule]) -> dict[str, Actions]:
    return {rule.rule_id: rule.actions for rule in rules if rule.enabled}


def _compile_all(ruleset: Ruleset, kind: RuleKind) -> Iterable[_CompiledRule]:
    for rule in ruleset.rules(kind):
        if not rule.enabled:
            continue
        compiled = _DEFAULTS.get(rule.rule_id) or tuple(map(compile_condition, _conditions(rule)))
        if never not in compiled:
            yield _CompiledRule(compiled, rule.actions)


def _conditions(rule: PushRule) -> tuple[Mapping[str, Any], ...]:
    if rule.pattern is None:
        return rule.conditions or ()
    return ({"kind": "event_match", "key": ".".join(BODY), "pattern": rule.pattern},)


def _is_mentioned(view: EventView, user_id: str | None) -> bool:
    return user_id in view.mentioned_users


def _is_state_key(view: EventView, user_id: str | None) -> bool:
    # Not the glob that the rule shows: "this user", and not one whose ID differs in case or fits an ID with a star.
    return user_id is not None and view.event.state_key == user_id


def _compile_default(condition: Mapping[str, Any]) -> Condition:
    if condition.get("value") == USER_ID:
        return _is_mentioned
    if condition.get("pattern") == USER_ID:
        return _is_state_key
    return compile_condition(condition)


#: The conditions of the default rules by rule ID: compiled once for everybody.
_DEFAULTS: Final[Mapping[str, tuple[Condition, ...]]] = {
    rule.rule_id: tuple(map(_compile_default, _conditions(rule))) for rules in DEFAULT_RULES.values() for rule in rules
}

DEFAULT: Final = CompiledRuleset.of(Ruleset())
"""The server-default rules, of any user who changed nothing."""
