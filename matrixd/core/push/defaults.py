"""The server-default push rules, in the order in which they are checked.

https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from matrixd.core.push.actions import Actions
from matrixd.core.push.rules import PushRule, RuleKind

#: Stands for the ID of the user whose rules they are.
USER_ID: Final = "[the user's Matrix ID]"

_SOUND: Final = {"set_tweak": "sound", "value": "default"}
_RING: Final = {"set_tweak": "sound", "value": "ring"}
_HIGHLIGHT: Final = {"set_tweak": "highlight"}


def _matches(key: str, pattern: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _rule(
    rule_id: str, conditions: list[dict[str, Any]], *actions: str | dict[str, Any], enabled: bool = True
) -> PushRule:
    return PushRule(rule_id, Actions.of(actions), tuple(conditions), enabled=enabled, default=True)


_TWO_MEMBERS: Final = {"kind": "room_member_count", "is": "2"}
_MEMBER: Final = _matches("type", "m.room.member")
_MESSAGE: Final = _matches("type", "m.room.message")
_ENCRYPTED: Final = _matches("type", "m.room.encrypted")
_ROOM_STATE: Final = _matches("state_key", "")

_OVERRIDE: Final = (
    _rule(".m.rule.master", [], enabled=False),
    _rule(".m.rule.suppress_notices", [_matches("content.msgtype", "m.notice")]),
    _rule(
        ".m.rule.invite_for_me",
        [_MEMBER, _matches("content.membership", "invite"), _matches("state_key", USER_ID)],
        "notify",
        _SOUND,
    ),
    _rule(".m.rule.member_event", [_MEMBER]),
    _rule(
        ".m.rule.is_user_mention",
        [{"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": USER_ID}],
        "notify",
        _SOUND,
        _HIGHLIGHT,
    ),
    _rule(
        ".m.rule.is_room_mention",
        [
            {"kind": "event_property_is", "key": "content.m\\.mentions.room", "value": True},
            {"kind": "sender_notification_permission", "key": "room"},
        ],
        "notify",
        _HIGHLIGHT,
    ),
    _rule(".m.rule.tombstone", [_matches("type", "m.room.tombstone"), _ROOM_STATE], "notify", _HIGHLIGHT),
    _rule(".m.rule.reaction", [_matches("type", "m.reaction")]),
    _rule(".m.rule.room.server_acl", [_matches("type", "m.room.server_acl"), _ROOM_STATE]),
    _rule(
        ".m.rule.suppress_edits",
        [{"kind": "event_property_is", "key": "content.m\\.relates_to.rel_type", "value": "m.replace"}],
    ),
)

_UNDERRIDE: Final = (
    _rule(".m.rule.call", [_matches("type", "m.call.invite")], "notify", _RING),
    _rule(".m.rule.encrypted_room_one_to_one", [_TWO_MEMBERS, _ENCRYPTED], "notify", _SOUND),
    _rule(".m.rule.room_one_to_one", [_TWO_MEMBERS, _MESSAGE], "notify", _SOUND),
    _rule(".m.rule.message", [_MESSAGE], "notify"),
    _rule(".m.rule.encrypted", [_ENCRYPTED], "notify"),
)

DEFAULT_RULES: Final[Mapping[RuleKind, tuple[PushRule, ...]]] = {
    RuleKind.OVERRIDE: _OVERRIDE,
    RuleKind.CONTENT: (),
    RuleKind.ROOM: (),
    RuleKind.SENDER: (),
    RuleKind.UNDERRIDE: _UNDERRIDE,
}


def for_user(rule: PushRule, user_id: str) -> PushRule:
    """The rule as this user sees it: a default rule that names the user holds the user's ID."""
    if not (rule.default and rule.conditions):
        return rule
    conditions = (
        {key: user_id if value == USER_ID else value for key, value in condition.items()}
        for condition in rule.conditions
    )
    return replace(rule, conditions=tuple(conditions))
