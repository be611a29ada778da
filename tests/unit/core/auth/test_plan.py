"""Which state an event names, in each room version."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.auth import auth_types_for_event, state_for_check
from matrixd.core.versions import ROOM_VERSIONS
from tests.unit.core.room_factory import ALICE, BOB, CAROL, VERSIONS, versions

CREATE, LEVELS, JOIN_RULES = ("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.join_rules", "")


def _member(user_id: str) -> tuple[str, str]:
    return "m.room.member", user_id


def _plan(
    version: str, event_type: str, state_key: str | None = None, content: dict[str, Any] | None = None
) -> set[tuple[str, str]]:
    args = (ROOM_VERSIONS[version], event_type, ALICE, state_key, content or {})
    named = auth_types_for_event(*args)
    # What decides differs from what is named by the creation only.
    assert state_for_check(*args) == (set() if event_type == "m.room.create" else named | {CREATE})
    assert (CREATE in named) == (version != "12" and event_type != "m.room.create")
    return named - {CREATE}


@pytest.mark.parametrize("version", VERSIONS)
def test_creation_needs_nothing(version: str) -> None:
    assert _plan(version, "m.room.create", "") == set()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("state_key", [None, "", BOB])
def test_ordinary_events(version: str, state_key: str | None) -> None:
    assert _plan(version, "org.example.any", state_key) == {LEVELS, _member(ALICE)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("membership", "join_rules"),
    [("join", True), ("invite", True), ("knock", True), ("leave", False), ("ban", False), ("odd", False), ([], False)],
)
def test_memberships(version: str, membership: Any, join_rules: bool) -> None:
    expected = {LEVELS, _member(ALICE), _member(BOB)} | ({JOIN_RULES} if join_rules else set())
    assert _plan(version, "m.room.member", BOB, {"membership": membership}) == expected


def test_membership_without_target() -> None:
    assert _plan("12", "m.room.member", None, {"membership": "join"}) == {LEVELS, _member(ALICE)}


@pytest.mark.parametrize("version", VERSIONS)
def test_third_party_invites(version: str) -> None:
    content = {"membership": "invite", "third_party_invite": {"signed": {"token": "secret"}}}
    promise = ("m.room.third_party_invite", "secret")
    assert promise in _plan(version, "m.room.member", BOB, content)
    assert promise not in _plan(version, "m.room.member", BOB, {**content, "membership": "join"})


@pytest.mark.parametrize("invite", [None, "x", [], {}, {"signed": None}, {"signed": {}}, {"signed": {"token": 1}}])
def test_malformed_third_party_invites(invite: Any) -> None:
    content = {"membership": "invite", "third_party_invite": invite}
    assert _plan("12", "m.room.member", BOB, content) == {LEVELS, JOIN_RULES, _member(ALICE), _member(BOB)}


@pytest.mark.parametrize("version", VERSIONS)
def test_authorisers_of_restricted_joins(version: str) -> None:
    content = {"membership": "join", "join_authorised_via_users_server": CAROL}
    assert (_member(CAROL) in _plan(version, "m.room.member", ALICE, content)) == (version in versions(since=8))
    assert _member(CAROL) not in _plan(version, "m.room.member", BOB, {**content, "membership": "invite"})
    unreadable = {"membership": "join", "join_authorised_via_users_server": [CAROL]}
    assert _plan(version, "m.room.member", ALICE, unreadable) == {LEVELS, JOIN_RULES, _member(ALICE)}


ANY = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.lists(st.text(max_size=4), max_size=2)


@settings(max_examples=100, deadline=None)
@given(
    version=st.sampled_from(VERSIONS),
    content=st.dictionaries(
        st.sampled_from(["membership", "third_party_invite", "join_authorised_via_users_server"]),
        ANY | st.dictionaries(st.just("signed"), ANY | st.dictionaries(st.just("token"), ANY)),
    ),
)
def test_any_content_gives_at_most_ten_keys(version: str, content: dict[str, Any]) -> None:
    assert len(_plan(version, "m.room.member", BOB, content)) < 10
