"""Who may join, invite, leave, kick, ban, unban and knock, in each room version."""

from typing import Any

import pytest

from matrixd.core.auth import membership_of
from tests.unit.core.room_factory import ALICE, BOB, CAROL, DAVE, VERSIONS, RoomFactory, versions

EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS)
MEMBERSHIPS = ("join", "invite", "leave", "ban", "knock", None)


def _room(version: str, **levels: Any) -> RoomFactory:
    """ALICE has 100 (or created the room, in 12), BOB and DAVE have 50, CAROL is unknown."""
    users = {BOB: 50, DAVE: 50} if version == "12" else {ALICE: 100, BOB: 50, DAVE: 50}
    return RoomFactory(version).joined(ALICE, BOB).power(users, **levels)


def _with(room: RoomFactory, user_id: str, membership: str | None) -> RoomFactory:
    return room if membership is None else room.with_member(user_id, membership)


@pytest.mark.parametrize("content", [{}, {"membership": None}, {"membership": 1}, {"membership": "odd"}])
@EVERY_VERSION
def test_memberships_that_are_none(version: str, content: dict[str, Any]) -> None:
    room = _room(version)
    expected = "MEMBER_UNKNOWN_MEMBERSHIP" if content else "MEMBER_INCOMPLETE"
    assert room.verdict(room.event("m.room.member", BOB, content, BOB)) == expected


@EVERY_VERSION
def test_membership_of_nobody(version: str) -> None:
    room = _room(version)
    assert room.verdict(room.event("m.room.member", BOB, {"membership": "join"})) == "MEMBER_INCOMPLETE"


def test_unreadable_membership_counts_as_leave() -> None:
    room = _room("1").put(_room("1").event("m.room.member", CAROL, {}, CAROL))
    assert membership_of(room.state, CAROL) == "leave"
    assert membership_of(room.state, "@nobody:one.example") == "leave"
    assert membership_of(room.state, BOB) == "join"


class TestJoin:
    @EVERY_VERSION
    def test_creator_enters_the_empty_room(self, version: str) -> None:
        room = RoomFactory(version)
        join = room.event("m.room.member", ALICE, {"membership": "join"}, ALICE, prev_events=[room.create.event_id])
        assert room.verdict(join) is None

    @EVERY_VERSION
    def test_nobody_else_does(self, version: str) -> None:
        room = RoomFactory(version)
        join = room.event("m.room.member", BOB, {"membership": "join"}, BOB, prev_events=[room.create.event_id])
        assert room.verdict(join) == "JOIN_NOT_INVITED"
        later = room.event("m.room.member", ALICE, {"membership": "join"}, ALICE)
        assert room.verdict(later) == "JOIN_NOT_INVITED"

    @pytest.mark.parametrize("version", versions(until=10))
    def test_creator_is_whom_the_creation_names_until_10(self, version: str) -> None:
        room = RoomFactory(version, creator=BOB)
        first = [room.create.event_id]
        for user_id, expected in ((BOB, None), (ALICE, "JOIN_NOT_INVITED")):
            join = room.event("m.room.member", user_id, {"membership": "join"}, user_id, prev_events=first)
            assert room.verdict(join) == expected

    def test_additional_creators_need_an_invite(self) -> None:
        room = RoomFactory("12", additional_creators=[CAROL])
        join = room.event("m.room.member", CAROL, {"membership": "join"}, CAROL, prev_events=[room.create.event_id])
        assert room.verdict(join) == "JOIN_NOT_INVITED"

    @EVERY_VERSION
    def test_everybody_joins_for_themselves(self, version: str) -> None:
        room = _room(version).join_rule("public")
        assert room.verdict(room.member(ALICE, "join", CAROL)) == "JOIN_FOR_OTHER_USER"

    @pytest.mark.parametrize("membership", MEMBERSHIPS)
    @EVERY_VERSION
    def test_public(self, version: str, membership: str | None) -> None:
        room = _with(_room(version).join_rule("public"), CAROL, membership)
        assert room.verdict(room.member(CAROL, "join")) == ("JOIN_BANNED" if membership == "ban" else None)

    @pytest.mark.parametrize("join_rule", ["invite", "knock", None])
    @pytest.mark.parametrize("membership", MEMBERSHIPS)
    @EVERY_VERSION
    def test_invite_and_knock(self, version: str, membership: str | None, join_rule: str | None) -> None:
        room = _with(_room(version), CAROL, membership)
        if join_rule is not None:
            room.join_rule(join_rule)
        expected: str | None
        if membership == "ban":
            expected = "JOIN_BANNED"
        elif join_rule == "knock" and version in versions(until=6):
            expected = "JOIN_UNKNOWN_RULE"
        else:
            expected = None if membership in ("invite", "join") else "JOIN_NOT_INVITED"
        assert room.verdict(room.member(CAROL, "join")) == expected

    @pytest.mark.parametrize(("join_rule", "since"), [("restricted", 8), ("knock_restricted", 10)])
    @pytest.mark.parametrize("membership", MEMBERSHIPS)
    @EVERY_VERSION
    def test_restricted(self, version: str, membership: str | None, join_rule: str, since: int) -> None:
        room = _with(_room(version).join_rule(join_rule), CAROL, membership)
        if membership == "ban":
            expected = vouched = "JOIN_BANNED"
        elif version not in versions(since=since):
            expected = vouched = "JOIN_UNKNOWN_RULE"
        else:
            expected, vouched = ("" if membership in ("invite", "join") else "JOIN_NOT_AUTHORISED"), ""
        assert (room.verdict(room.member(CAROL, "join")) or "") == expected
        join = room.member(CAROL, "join", join_authorised_via_users_server=BOB)
        assert (room.verdict(join) or "") == vouched

    @pytest.mark.parametrize("authoriser", [DAVE, "@nobody:one.example", None, 17, [BOB]])
    @pytest.mark.parametrize("version", versions(since=8))
    def test_authoriser_is_in_the_room(self, version: str, authoriser: Any) -> None:
        room = _room(version).join_rule("restricted")
        join = room.member(CAROL, "join", join_authorised_via_users_server=authoriser)
        assert room.verdict(join) == "JOIN_NOT_AUTHORISED"

    @pytest.mark.parametrize("version", versions(since=8))
    def test_authoriser_could_invite(self, version: str) -> None:
        room = _room(version, invite=51).join_rule("restricted")
        for authoriser, expected in ((BOB, "JOIN_NOT_AUTHORISED"), (ALICE, None)):
            join = room.member(CAROL, "join", join_authorised_via_users_server=authoriser)
            assert room.verdict(join) == expected

    @EVERY_VERSION
    def test_missing_join_rule_is_invite(self, version: str) -> None:
        room = _room(version).with_state("m.room.join_rules", {})
        assert room.verdict(room.member(CAROL, "join")) == "JOIN_NOT_INVITED"
        assert room.with_member(CAROL, "invite").verdict(room.member(CAROL, "join")) is None

    @pytest.mark.parametrize("join_rule", ["private", "odd", 17, None, []])
    @EVERY_VERSION
    def test_unknown_join_rules_let_nobody_in(self, version: str, join_rule: Any) -> None:
        room = _room(version).join_rule(join_rule).with_member(CAROL, "invite")
        assert room.verdict(room.member(CAROL, "join")) == "JOIN_UNKNOWN_RULE"


class TestInvite:
    @pytest.mark.parametrize("membership", MEMBERSHIPS)
    @EVERY_VERSION
    def test_those_outside_are_invited(self, version: str, membership: str | None) -> None:
        room = _with(_room(version), CAROL, membership)
        expected = "INVITE_ALREADY_MEMBER" if membership in ("join", "ban") else None
        assert room.verdict(room.member(BOB, "invite", CAROL)) == expected

    @pytest.mark.parametrize("membership", MEMBERSHIPS)
    @EVERY_VERSION
    def test_members_invite(self, version: str, membership: str | None) -> None:
        room = _with(_room(version), DAVE, membership)
        expected = None if membership == "join" else "SENDER_NOT_JOINED"
        assert room.verdict(room.member(DAVE, "invite", CAROL)) == expected

    @EVERY_VERSION
    def test_with_the_level_for_it(self, version: str) -> None:
        room = _room(version, invite=51)
        assert room.verdict(room.member(BOB, "invite", CAROL)) == "INVITE_LEVEL"
        assert room.verdict(room.member(ALICE, "invite", CAROL)) is None


class TestLeave:
    @pytest.mark.parametrize("membership", MEMBERSHIPS)
    @EVERY_VERSION
    def test_own(self, version: str, membership: str | None) -> None:
        room = _with(_room(version), CAROL, membership)
        may = {"join", "invite"} | ({"knock"} if version in versions(since=7) else set())
        expected = None if membership in may else "LEAVE_NOT_MEMBER"
        assert room.verdict(room.member(CAROL, "leave")) == expected

    @pytest.mark.parametrize("membership", MEMBERSHIPS)
    @EVERY_VERSION
    def test_members_kick_whoever_has_less_power(self, version: str, membership: str | None) -> None:
        room = _with(_room(version), CAROL, membership)
        assert room.verdict(room.member(BOB, "leave", CAROL)) is None
        assert room.verdict(room.member(DAVE, "leave", CAROL)) == "SENDER_NOT_JOINED"

    @EVERY_VERSION
    def test_kick_level(self, version: str) -> None:
        room = _room(version, kick=51).joined(CAROL)
        assert room.verdict(room.member(BOB, "leave", CAROL)) == "KICK_LEVEL"
        assert room.verdict(room.member(ALICE, "leave", CAROL)) is None

    @EVERY_VERSION
    def test_nobody_kicks_an_equal(self, version: str) -> None:
        room = _room(version).joined(DAVE)
        assert room.verdict(room.member(BOB, "leave", DAVE)) == "KICK_TARGET_LEVEL"
        assert room.verdict(room.member(BOB, "leave", ALICE)) == "KICK_TARGET_LEVEL"
        assert room.verdict(room.member(ALICE, "leave", DAVE)) is None

    @EVERY_VERSION
    def test_unban_takes_both_levels(self, version: str) -> None:
        room = _room(version, ban=51).with_member(CAROL, "ban")
        assert room.verdict(room.member(BOB, "leave", CAROL)) == "UNBAN_LEVEL"
        assert room.verdict(room.member(ALICE, "leave", CAROL)) is None
        room = _room(version, ban=50, kick=51).with_member(CAROL, "ban")
        assert room.verdict(room.member(BOB, "leave", CAROL)) == "KICK_LEVEL"


class TestBan:
    @pytest.mark.parametrize("membership", MEMBERSHIPS)
    @EVERY_VERSION
    def test_members_ban_whoever_has_less_power(self, version: str, membership: str | None) -> None:
        room = _with(_room(version), CAROL, membership)
        assert room.verdict(room.member(BOB, "ban", CAROL)) is None
        assert room.verdict(room.member(DAVE, "ban", CAROL)) == "SENDER_NOT_JOINED"

    @EVERY_VERSION
    def test_ban_level(self, version: str) -> None:
        room = _room(version, ban=51)
        assert room.verdict(room.member(BOB, "ban", CAROL)) == "BAN_LEVEL"
        assert room.verdict(room.member(ALICE, "ban", CAROL)) is None

    @EVERY_VERSION
    def test_nobody_bans_an_equal(self, version: str) -> None:
        room = _room(version).joined(DAVE)
        assert room.verdict(room.member(BOB, "ban", DAVE)) == "BAN_TARGET_LEVEL"
        assert room.verdict(room.member(BOB, "ban", ALICE)) == "BAN_TARGET_LEVEL"
        assert room.verdict(room.member(ALICE, "ban", DAVE)) is None

    def test_creators_cannot_be_sent_away(self) -> None:
        room = RoomFactory("12", additional_creators=[CAROL]).joined(ALICE, BOB, CAROL).power({BOB: 2**53 - 1})
        for membership, rule in (("leave", "KICK_TARGET_LEVEL"), ("ban", "BAN_TARGET_LEVEL")):
            assert room.verdict(room.member(BOB, membership, ALICE)) == rule
            assert room.verdict(room.member(ALICE, membership, CAROL)) == rule
            assert room.verdict(room.member(CAROL, membership, BOB)) is None


class TestKnock:
    @EVERY_VERSION
    def test_is_no_membership_before_7(self, version: str) -> None:
        room = _room(version).join_rule("knock")
        expected = None if version in versions(since=7) else "MEMBER_UNKNOWN_MEMBERSHIP"
        assert room.verdict(room.member(CAROL, "knock")) == expected

    @pytest.mark.parametrize("join_rule", ["public", "invite", "restricted", "odd", 17, None])
    @pytest.mark.parametrize("version", versions(since=7))
    def test_rooms_that_take_none(self, version: str, join_rule: Any) -> None:
        room = _room(version)
        if join_rule is not None:
            room.join_rule(join_rule)
        assert room.verdict(room.member(CAROL, "knock")) == "KNOCK_JOIN_RULE"

    @pytest.mark.parametrize("version", versions(since=7))
    def test_knock_restricted(self, version: str) -> None:
        room = _room(version).join_rule("knock_restricted")
        expected = None if version in versions(since=10) else "KNOCK_JOIN_RULE"
        assert room.verdict(room.member(CAROL, "knock")) == expected

    @pytest.mark.parametrize("version", versions(since=7))
    def test_everybody_knocks_for_themselves(self, version: str) -> None:
        room = _room(version).join_rule("knock")
        assert room.verdict(room.member(ALICE, "knock", CAROL)) == "KNOCK_FOR_OTHER_USER"

    @pytest.mark.parametrize("membership", MEMBERSHIPS)
    @pytest.mark.parametrize("version", versions(since=7))
    def test_only_from_outside(self, version: str, membership: str | None) -> None:
        room = _with(_room(version).join_rule("knock"), CAROL, membership)
        expected = "KNOCK_MEMBERSHIP" if membership in ("ban", "invite", "join") else None
        assert room.verdict(room.member(CAROL, "knock")) == expected
