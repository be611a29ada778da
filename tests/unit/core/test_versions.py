"""Each room version differs from the one before in just what its page of the specification says."""

from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from matrixd.core.versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS


def test_versions_one_to_twelve_are_known() -> None:
    assert list(ROOM_VERSIONS) == [str(number) for number in range(1, 13)]
    assert all(version.identifier == key and version.stable for key, version in ROOM_VERSIONS.items())
    assert DEFAULT_ROOM_VERSION == "12"


def _differences(old: Any, new: Any, path: str = "") -> set[str]:
    found = set()
    for field in fields(old):
        before, after, name = getattr(old, field.name), getattr(new, field.name), path + field.name
        if is_dataclass(before):
            found |= _differences(before, after, f"{name}.")
        elif before != after:
            found.add(name)
    return found - {"identifier"}


@pytest.mark.parametrize(
    ("version", "changes"),
    [
        ("2", {"state_resolution"}),
        ("3", {"event_format", "event_id_format", "signed_by_event_id_domain", "auth.redaction_rule"}),
        ("4", {"event_id_format"}),
        ("5", {"enforces_key_validity"}),
        (
            "6",
            {"strict_canonical_json", "power_level_format", "redaction.content"}
            | {"auth.aliases_rule", "auth.notifications_rule"},
        ),
        ("7", {"auth.knock"}),
        ("8", {"auth.restricted", "redaction.content"}),
        ("9", {"redaction.content"}),
        ("10", {"power_level_format", "auth.knock_restricted", "auth.validates_all_power_levels"}),
        (
            "11",
            {"redacts_in_content", "auth.creator_is_sender", "redaction.top_level", "redaction.content"}
            | {"redaction.keeps_create_content", "redaction.keeps_third_party_signed"},
        ),
        (
            "12",
            {"room_id_is_create_hash", "state_resolution"}
            | {"auth.privileged_creators", "auth.create_implied_by_room_id"},
        ),
    ],
)
def test_version_changes(version: str, changes: set[str]) -> None:
    assert _differences(ROOM_VERSIONS[str(int(version) - 1)], ROOM_VERSIONS[version]) == changes


@pytest.mark.parametrize(
    ("version", "event_type", "keys"),
    [
        ("5", "m.room.aliases", {"aliases"}),
        ("6", "m.room.aliases", set()),
        ("7", "m.room.join_rules", {"join_rule"}),
        ("8", "m.room.join_rules", {"join_rule", "allow"}),
        ("8", "m.room.member", {"membership"}),
        ("9", "m.room.member", {"membership", "join_authorised_via_users_server"}),
        ("11", "m.room.redaction", {"redacts"}),
    ],
)
def test_redaction_keeps(version: str, event_type: str, keys: set[str]) -> None:
    assert ROOM_VERSIONS[version].redaction.content[event_type] == keys


def test_redaction_keeps_invite_level_since_11() -> None:
    added = {
        version: "invite" in record.redaction.content["m.room.power_levels"]
        for version, record in ROOM_VERSIONS.items()
    }
    assert [version for version, keeps in added.items() if keeps] == ["11", "12"]
    assert ROOM_VERSIONS["10"].redaction.top_level - ROOM_VERSIONS["11"].redaction.top_level == {
        "origin",
        "membership",
        "prev_state",
    }
