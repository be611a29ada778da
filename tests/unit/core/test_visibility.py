"""Who may see an event of the room's history."""

from itertools import product
from typing import Any

import pytest

from matrixd.core.event import Event
from matrixd.core.visibility import (
    HistoryVisibility,
    ServerStandpoint,
    Standpoint,
    history_visibility,
    server_may_see,
    user_may_see,
)
from tests.unit.core.room_factory import ALICE, BOB, CAROL, RoomFactory

WORLD, SHARED, INVITED, JOINED = (
    HistoryVisibility.WORLD_READABLE,
    HistoryVisibility.SHARED,
    HistoryVisibility.INVITED,
    HistoryVisibility.JOINED,
)
ROOM = RoomFactory()
MESSAGE = ROOM.event("m.room.message", ALICE)
OUTSIDE = (None, "leave", "ban", "knock")


def _visibility_event(value: Any, state_key: str | None = "") -> Event:
    return ROOM.event("m.room.history_visibility", ALICE, {"history_visibility": value}, state_key)


def _user(event: Event, visibility: HistoryVisibility, membership: str | None, joined_later: bool = False) -> bool:
    return user_may_see(event, Standpoint(BOB, visibility, membership, joined_later))


@pytest.mark.parametrize("visibility", HistoryVisibility)
def test_values(visibility: HistoryVisibility) -> None:
    assert history_visibility(_visibility_event(visibility.value)) is visibility


@pytest.mark.parametrize("value", [None, 17, "", "odd", ["joined"], {}])
def test_what_is_not_understood_is_shared(value: Any) -> None:
    assert history_visibility(_visibility_event(value)) is SHARED


def test_no_event_is_shared() -> None:
    assert history_visibility(None) is SHARED
    assert history_visibility(ROOM.event("m.room.history_visibility", ALICE, {}, "")) is SHARED


@pytest.mark.parametrize("joined_later", [True, False])
@pytest.mark.parametrize("membership", [*OUTSIDE, "invite", "join"])
@pytest.mark.parametrize("visibility", HistoryVisibility)
def test_messages(visibility: HistoryVisibility, membership: str | None, joined_later: bool) -> None:
    expected = (
        visibility is WORLD
        or membership == "join"
        or (visibility is SHARED and joined_later)
        or (visibility is INVITED and membership == "invite")
    )
    assert _user(MESSAGE, visibility, membership, joined_later) == expected


@pytest.mark.parametrize(("before", "after"), list(product(HistoryVisibility, HistoryVisibility)))
@pytest.mark.parametrize("membership", [*OUTSIDE, "invite", "join"])
def test_changes_of_visibility(before: HistoryVisibility, after: HistoryVisibility, membership: str | None) -> None:
    for joined_later in (True, False):
        expected = any(_user(MESSAGE, one, membership, joined_later) for one in (before, after))
        assert _user(_visibility_event(after.value), before, membership, joined_later) == expected


@pytest.mark.parametrize("state_key", [None, "other"])
def test_only_the_rooms_visibility_event_counts(state_key: str | None) -> None:
    assert not _user(_visibility_event("world_readable", state_key), JOINED, None)


@pytest.mark.parametrize("visibility", HistoryVisibility)
@pytest.mark.parametrize(
    ("before", "after"), list(product([*OUTSIDE, "invite", "join"], ["join", "invite", "leave", "ban", "knock"]))
)
def test_changes_of_the_own_membership(visibility: HistoryVisibility, before: str | None, after: str) -> None:
    for joined_later in (True, False):
        expected = any(_user(MESSAGE, visibility, one, joined_later) for one in (before, after))
        assert _user(ROOM.member(ALICE, after, BOB), visibility, before, joined_later) == expected


def test_own_joins_and_departures_are_always_seen() -> None:
    assert _user(ROOM.member(BOB, "join"), JOINED, None)
    assert _user(ROOM.member(ALICE, "ban", BOB), JOINED, "join")
    assert not _user(ROOM.member(CAROL, "join"), JOINED, None)


def test_a_state_key_of_another_type_is_no_membership() -> None:
    assert not _user(ROOM.event("org.example.any", BOB, {"membership": "join"}, BOB), JOINED, None)
    assert not _user(ROOM.event("m.room.member", BOB, {"membership": 17}, BOB), JOINED, None)


def _server(event: Event, visibility: HistoryVisibility, memberships: list[str], joined_later: bool = False) -> bool:
    return server_may_see(event, ServerStandpoint("two.example", visibility, memberships, joined_later))


@pytest.mark.parametrize("visibility", HistoryVisibility)
@pytest.mark.parametrize("joined_later", [True, False])
@pytest.mark.parametrize(
    "memberships", [[], ["leave", "ban"], ["invite"], ["leave", "invite"], ["join"], ["ban", "join", "invite"]]
)
def test_servers_see_what_any_of_their_users_sees(
    visibility: HistoryVisibility, memberships: list[str], joined_later: bool
) -> None:
    users = [_user(MESSAGE, visibility, one, joined_later) for one in [*memberships, None]]
    assert _server(MESSAGE, visibility, memberships, joined_later) == any(users)


def test_servers_see_changes() -> None:
    assert _server(_visibility_event("world_readable"), JOINED, [])
    assert _server(_visibility_event("joined"), WORLD, [])
    assert _server(ROOM.member(CAROL, "join"), JOINED, [])
    assert _server(ROOM.member(ALICE, "invite", CAROL), INVITED, [])
    assert not _server(ROOM.member(ALICE, "invite", CAROL), JOINED, [])
    assert not _server(ROOM.member(BOB, "join"), JOINED, [])
    assert not _server(ROOM.event("org.example.any", CAROL, {}, CAROL), JOINED, [])
