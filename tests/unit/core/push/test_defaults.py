"""core/push/defaults: the rules of the specification, word for word."""

import json
import re
from typing import Any

from matrixd.core.push.defaults import DEFAULT_RULES
from matrixd.core.push.rules import RuleKind
from matrixd.core.push.ruleset import Ruleset
from tests.support.openapi_files import specification_directory

USER = "@me:example.org"


def ids(kind: RuleKind) -> list[str]:
    return [rule.rule_id.removeprefix(".m.rule.") for rule in DEFAULT_RULES[kind]]


def test_order() -> None:
    assert ids(RuleKind.OVERRIDE) == [
        "master",
        "suppress_notices",
        "invite_for_me",
        "member_event",
        "is_user_mention",
        "is_room_mention",
        "tombstone",
        "reaction",
        "room.server_acl",
        "suppress_edits",
    ]
    assert ids(RuleKind.UNDERRIDE) == [
        "call",
        "encrypted_room_one_to_one",
        "room_one_to_one",
        "message",
        "encrypted",
    ]
    assert [*ids(RuleKind.CONTENT), *ids(RuleKind.ROOM), *ids(RuleKind.SENDER)] == []


def test_user_is_filled_in() -> None:
    rules = {rule["rule_id"]: rule for rule in Ruleset().to_api(USER)["override"]}
    assert rules[".m.rule.invite_for_me"]["conditions"][2] == {
        "kind": "event_match",
        "key": "state_key",
        "pattern": USER,
    }
    assert rules[".m.rule.is_user_mention"] == {
        "rule_id": ".m.rule.is_user_mention",
        "default": True,
        "enabled": True,
        "conditions": [{"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": USER}],
        "actions": ["notify", {"set_tweak": "sound", "value": "default"}, {"set_tweak": "highlight"}],
    }


def test_definitions_are_those_of_the_specification() -> None:
    text = (specification_directory() / "content/client-server-api/modules/push.md").read_text()
    text = text.split("#### Predefined Rules")[1].split("#### Push Rules: API")[0]
    override, underride = text.split("##### Default Underride Rules")
    api = Ruleset().to_api("[the user's Matrix ID]")
    for kind, part in (("override", override), ("underride", underride)):
        specified: list[dict[str, Any]] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", part, re.S)]
        assert api[kind] == specified
