"""Profiles: what may be set, what is shown, and member events that follow."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.services.profiles import Profiles
from matrixd.storage import profiles as stored
from matrixd.storage.rows import ProfileRow
from tests.support.database import OpenDatabase
from tests.support.kept import Kept


class Rooms:
    """Stands for the member events: notes for whom they were asked, and is done when told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.done: list[Deferred[None]] = []

    async def update(self, user_nid: int, user_id: str) -> None:
        self.asked.append(user_id)
        self.done.append(Deferred())
        await self.done[-1]


class Fixture:
    def __init__(self, db: OpenDatabase, **options: Any) -> None:
        self.kept = Kept(db)
        self.rooms = Rooms()
        self.background: list[Deferred[object]] = []
        self.profiles = Profiles(
            db.database, self.rooms.update, options.pop("may_set", {}), background=self._start, **options
        )
        self.nid, self.user_id = self.kept.user("alice")

    def _start(self, what: str, work: Any) -> None:
        self.background.append(Deferred.fromCoroutine(work))

    def set(self, field: str, value: object) -> None:
        self.kept.run(self.profiles.set(self.nid, self.user_id, field, {field: value}))

    def get(self) -> dict[str, Any]:
        return self.kept.run(self.profiles.get(self.user_id, None))

    def finish(self, index: int) -> None:
        self.rooms.done[index].callback(None)
        self.kept.db.wait(self.background[index])


def code_of(error: pytest.ExceptionInfo[MatrixError]) -> tuple[int, str]:
    return error.value.status, error.value.errcode


def test_fields_are_set_shown_and_removed(db: OpenDatabase) -> None:
    fixture = Fixture(db)
    assert fixture.get() == {}
    fixture.set("displayname", "Alice")
    fixture.set("org.example.pronouns", [{"subject": "she"}])
    fixture.set("m.tz", "Europe/Berlin")
    assert fixture.get() == {
        "displayname": "Alice", "org.example.pronouns": [{"subject": "she"}], "m.tz": "Europe/Berlin"
    }  # fmt: skip
    assert fixture.kept.run(fixture.profiles.get_field(fixture.user_id, "m.tz", None)) == {"m.tz": "Europe/Berlin"}
    fixture.kept.run(fixture.profiles.delete(fixture.nid, fixture.user_id, "m.tz"))
    fixture.kept.run(fixture.profiles.delete(fixture.nid, fixture.user_id, "m.tz"))
    fixture.set("displayname", "")
    assert fixture.get() == {"org.example.pronouns": [{"subject": "she"}]}
    with pytest.raises(MatrixError) as error:
        fixture.kept.run(fixture.profiles.get_field(fixture.user_id, "m.tz", None))
    assert code_of(error) == (404, "M_NOT_FOUND")


def test_an_unknown_user_has_no_profile(db: OpenDatabase) -> None:
    fixture = Fixture(db)
    with pytest.raises(MatrixError) as error:
        fixture.kept.run(fixture.profiles.get("@nobody:example.org", None))
    assert code_of(error) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("field", "body", "code"),
    [
        ("displayname", {}, "M_MISSING_PARAM"),
        ("displayname", {"displayname": None}, "M_BAD_JSON"),
        ("avatar_url", {"avatar_url": 7}, "M_BAD_JSON"),
        ("displayname", {"displayname": "x" * 257}, "M_INVALID_PARAM"),
        ("Bad Key", {"Bad Key": 1}, "M_INVALID_PARAM"),
        ("a" * 256, {"a" * 256: 1}, "M_KEY_TOO_LARGE"),
        ("org.example.large", {"org.example.large": "x" * 65536}, "M_PROFILE_TOO_LARGE"),
    ],
)
def test_what_cannot_be_set_is_refused(db: OpenDatabase, field: str, body: dict[str, Any], code: str) -> None:
    fixture = Fixture(db)
    with pytest.raises(MatrixError) as error:
        fixture.kept.run(fixture.profiles.set(fixture.nid, fixture.user_id, field, body))
    assert code_of(error) == (400, code)
    assert fixture.get() == {}


def test_the_limit_is_for_all_fields_together(db: OpenDatabase) -> None:
    fixture = Fixture(db)
    # {"org.example.a":"…","org.example.b":"…"} has 39 bytes around the two texts.
    fixture.set("org.example.a", "x" * 30000)
    fixture.set("org.example.b", "x" * (65535 - 39 - 30000))
    with pytest.raises(MatrixError) as error:
        fixture.set("org.example.b", "x" * (65536 - 39 - 30000))
    assert code_of(error) == (400, "M_PROFILE_TOO_LARGE")


def test_a_field_that_the_server_manages_is_refused_and_told(db: OpenDatabase) -> None:
    fixture = Fixture(db, may_set={"displayname": False, "avatar_url": True})
    with pytest.raises(MatrixError) as error:
        fixture.set("displayname", "Alice")
    assert code_of(error) == (403, "M_FORBIDDEN")
    assert fixture.profiles.capabilities() == {
        "m.profile_fields": {"enabled": True, "disallowed": ["displayname"]},
        "m.set_displayname": {"enabled": False},
        "m.set_avatar_url": {"enabled": True},
    }


def test_only_those_who_share_a_room_see_it_if_so_configured(db: OpenDatabase) -> None:
    fixture = Fixture(db, only_to_those_who_share_rooms=True)
    bob, bob_id = fixture.kept.user("bob")
    with pytest.raises(MatrixError) as error:
        fixture.kept.run(fixture.profiles.get(fixture.user_id, bob))
    assert code_of(error) == (403, "M_FORBIDDEN")
    room = fixture.kept.room("room")
    fixture.kept.join(room, fixture.nid, fixture.user_id)
    fixture.kept.join(room, bob, bob_id)
    assert fixture.kept.run(fixture.profiles.get(fixture.user_id, bob)) == {}


def test_member_events_follow_once_for_changes_in_a_row(db: OpenDatabase) -> None:
    fixture = Fixture(db)
    fixture.set("org.example.other", 1)
    assert fixture.rooms.asked == []
    fixture.set("displayname", "Alice")
    fixture.set("displayname", "Alicia")
    fixture.set("avatar_url", "mxc://example.org/a")
    fixture.set("displayname", "Alicia")
    assert fixture.rooms.asked == [fixture.user_id]
    assert len([row for row in db.announced if isinstance(row, ProfileRow)]) == 4
    fixture.finish(0)
    assert len(fixture.rooms.asked) == 2
    assert db.read(stored.awaiting_update) == [(fixture.nid, fixture.user_id)]
    fixture.finish(1)
    assert db.read(stored.awaiting_update) == []


def test_member_events_that_a_crash_prevented_are_sent_after_the_next_start(db: OpenDatabase) -> None:
    fixture = Fixture(db)
    fixture.set("displayname", "Alice")
    after = Fixture.__new__(Fixture)
    after.rooms, after.background = Rooms(), []
    after.profiles = Profiles(db.database, after.rooms.update, {}, background=after._start)
    fixture.kept.run(after.profiles.resume())
    assert after.rooms.asked == [fixture.user_id]
