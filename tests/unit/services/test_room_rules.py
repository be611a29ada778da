"""The pure parts of changing rooms: rules of the configuration, aliases, contents, and what an upgrade changes."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.config.rooms import RoomRule
from matrixd.core.errors import MatrixError
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.services.canonical_aliases import checked_list, listed, without
from matrixd.services.event_checks import check_power_levels
from matrixd.services.membership import checked_extra
from matrixd.services.new_room import Wishes, power_levels
from matrixd.services.room_rules import RoomRules
from matrixd.services.sent_transactions import stored_id
from matrixd.storage.transactions import client_txn_id

ALICE = "@alice:test.example"


def test_the_first_rule_that_fits_decides() -> None:
    rules = RoomRules(
        [
            RoomRule("@eve:*", "*", "*", "deny"),
            RoomRule("*", "#pub?:*", "!a*", "allow"),
            RoomRule("*", "*", "!b", "allow"),
        ]
    )
    assert not rules.allow("@eve:x", "!b", [])
    assert rules.allow(ALICE, "!b", [])
    assert rules.allow(ALICE, "!abc", ["#no:x", "#pub1:x"])
    assert not rules.allow(ALICE, "!abc", ["#pub:x"])
    assert not rules.allow(ALICE, "!abc", [])
    assert not RoomRules([]).allow(ALICE, "!b", [])


def test_the_aliases_of_a_content() -> None:
    content = {"alias": "#a:x", "alt_aliases": ["#b:x", 5, ""], "other": 1}
    assert listed(content) == ["#a:x", "#b:x"]
    assert listed({"alias": None, "alt_aliases": {}}) == []
    assert without({"alias": "#a:x", "alt_aliases": ["#a:x"], "other": 1}, "#a:x") == {"other": 1}
    with pytest.raises(MatrixError, match="M_BAD_JSON"):
        checked_list(content)
    with pytest.raises(MatrixError, match="M_INVALID_PARAM"):
        checked_list({"alt_aliases": ["#a:x"] * 101})


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"ban": "5"}, "x.ban"),
        ({"events": {"a": None}}, "x.events.a"),
        ({"users": {"@a:x": 1.0}}, "x.users.@a:x"),
        ({"notifications": 5}, "x.notifications"),
    ],
)
def test_levels_that_nobody_can_read_are_named(content: dict[str, Any], field: str) -> None:
    with pytest.raises(MatrixError, match=f"'{field}'"):
        check_power_levels(ROOM_VERSIONS["12"], content, "x")


def test_older_versions_take_strings() -> None:
    check_power_levels(ROOM_VERSIONS["9"], {"ban": "50", "users": {ALICE: " 7 "}})


@pytest.mark.parametrize("state_default", [0, 50, 100, 500])
def test_a_tombstone_takes_more_than_other_state(state_default: int) -> None:
    wishes = Wishes("private_chat", {}, power_level_content_override={"state_default": state_default})
    content = power_levels(ROOM_VERSIONS["12"], ALICE, wishes)
    assert content["events"]["m.room.tombstone"] > state_default


def test_what_a_client_may_put_into_a_member_event() -> None:
    content: dict[str, Any] = {
        "membership": "join", "join_authorised_via_users_server": ALICE, "third_party_invite": {}, "displayname": None,
        "avatar_url": "mxc://x/y", "custom": [1],
    }  # fmt: skip
    assert checked_extra(content) == {"avatar_url": "mxc://x/y", "custom": [1]}


def test_a_stored_transaction_id_tells_endpoints_apart_and_the_clients_id() -> None:
    endpoints = (("send", "!a", "b"), ("send", "!a", "c"), ("redact", "!ab"))
    stored = {stored_id("a\nb", *endpoint) for endpoint in endpoints}
    assert len(stored) == 3
    assert {client_txn_id(one) for one in stored} == {"a\nb"}
    for wrong in ("", "\0", "x" * 256):
        with pytest.raises(MatrixError, match="M_INVALID_PARAM"):
            stored_id(wrong, "send")
