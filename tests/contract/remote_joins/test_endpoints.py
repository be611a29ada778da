"""What clients do in rooms of other servers, endpoint by endpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from matrixd.core.event import Event
from matrixd.core.event_signing import with_event_signature
from matrixd.core.filters import EMPTY_FILTER
from matrixd.core.streams import Stream
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.sync.invited import InvitedRooms
from matrixd.queries.sync.left import LeftRooms
from matrixd.queries.sync.request import SyncRequest
from matrixd.storage import events, room_members, rooms
from matrixd.storage.transaction import Transaction
from tests.support.database import WAIT_S, DatabasePlace
from tests.support.openapi import Specification
from tests.support.room_server import KEY, SERVER_NAME, RoomServer, User
from tests.support.rooms_elsewhere import Network, Resident, RoomElsewhere, refused

AWAY = RemoteError("far.org", FailureKind.TIMEOUT, "no answer")


@pytest.fixture
def far() -> Resident:
    """A server with rooms."""
    return Resident("far.org")


@pytest.fixture
def server(
    database: DatabasePlace, tmp_path: Path, specification: Specification, far: Resident
) -> Iterator[RoomServer]:
    """A server; its answers are checked against the specification."""
    made = RoomServer(database, tmp_path, specification=specification, network=Network(far, Resident("third.org")))
    yield made
    made.close()


@pytest.fixture
def alice(server: RoomServer) -> User:
    """A user."""
    return server.user("alice")


@pytest.fixture
def bob(server: RoomServer) -> User:
    """Another user."""
    return server.user("bob")


def room_of(far: Resident, version: str = "10", **more: Any) -> RoomElsewhere:
    """A room that far.org is in."""
    room = RoomElsewhere(version=version, **more)
    far.rooms[room.room_id] = room
    room.send(room.creator, "m.room.name", {"name": "Far"}, "")
    return room


def invite(server: RoomServer, room: RoomElsewhere, user: User) -> Event:
    """An invite as it comes from another server."""
    event = with_event_signature(room.invite(user.id), SERVER_NAME, KEY)
    state = [room.state[key].pdu for key in (("m.room.create", ""), ("m.room.name", ""))]
    server.run(server.out_of_band.store(event, state))
    return event


def membership(server: RoomServer, room_id: str, user: User) -> str | None:
    """The newest membership of a user."""

    def read(tx: Transaction) -> str | None:
        room_nid = rooms.nid(tx, room_id)
        member = None if room_nid is None else room_members.one(tx, room_nid, user.requester.user_nid)
        return None if member is None else member.membership

    return server.db.read(read)


def section(server: RoomServer, user: User, which: str) -> dict[str, bytes]:
    """What /sync says of invites or knocks."""
    index = server.run(server.frame.user_rooms.get(user.requester.user_nid))
    return server.run(InvitedRooms(server.db.database).sections(_request(user), index, 10**9, which))


def left(server: RoomServer, user: User, since: int) -> list[str]:
    """The rooms that /sync says the user has left since a position."""
    index = server.run(server.frame.user_rooms.get(user.requester.user_nid))
    request = _request(user, server, since)
    return [entry.room.room_id for entry, _, _ in server.run(LeftRooms(server.db.database).load(request, index, 10**9))]


def _request(user: User, server: RoomServer | None = None, since: int = 0) -> SyncRequest:
    viewer = Viewer(user.id, user.requester.user_nid, None)
    token = None if server is None else server.frame.feed.token.replace(Stream.EVENTS, since)
    return SyncRequest(viewer, user.requester.device_nid, token, EMPTY_FILTER, False, False)


class TestJoining:
    @pytest.mark.parametrize("parameter", ["via", "server_name"])
    def test_by_the_servers_that_the_client_names(
        self, server: RoomServer, far: Resident, alice: User, parameter: str
    ) -> None:
        room = room_of(far, "12")
        alice.post(f"/join/{quote(room.room_id)}?{parameter}=third.org&{parameter}=far.org", {"reason": "Hi"})
        assert membership(server, room.room_id, alice) == "join"
        assert far.sent[-1].content == {"membership": "join", "reason": "Hi"}

    def test_by_the_server_in_the_room_id(self, server: RoomServer, far: Resident, alice: User) -> None:
        room = room_of(far)
        alice.join(room.room_id)
        assert membership(server, room.room_id, alice) == "join"

    def test_by_the_server_that_invited(self, server: RoomServer, far: Resident, alice: User) -> None:
        room = room_of(far, "12", join_rule="invite")
        invite(server, room, alice)
        alice.join(room.room_id)
        assert membership(server, room.room_id, alice) == "join"
        assert section(server, alice, "invite") == {}

    def test_nobody_knows_who_is_in_it(self, far: Resident, alice: User) -> None:
        room = room_of(far, "12")
        assert alice.join(room.room_id, expect=404).errcode == "M_NOT_FOUND"

    def test_the_second_user_joins_here(self, server: RoomServer, far: Resident, alice: User, bob: User) -> None:
        room = room_of(far)
        alice.join(room.room_id)
        bob.join(room.room_id)
        assert far.asked == ["make_join", "send_join"]
        assert server.membership(room.room_id, bob) == "join"

    def test_another_user_joins_while_members_are_missing(
        self, server: RoomServer, far: Resident, alice: User, bob: User
    ) -> None:
        room = room_of(far)
        far.omits_members = True
        far.errors["state"] = AWAY
        alice.join(room.room_id)
        bob.join(room.room_id)
        alice.say(room.room_id, "hello")
        assert server.membership(room.room_id, bob) == "join"

    def test_an_invite_of_another_user_stands_while_members_are_missing(
        self, server: RoomServer, far: Resident, alice: User, bob: User
    ) -> None:
        room = room_of(far, join_rule="invite")
        invite(server, room, alice)
        invite(server, room, bob)
        far.omits_members = True
        far.errors["state"] = AWAY
        alice.join(room.room_id)
        assert list(section(server, bob, "invite")) == [room.room_id]
        bob.join(room.room_id)
        assert server.membership(room.room_id, bob) == "join"
        assert far.asked.count("make_join") == 1

    def test_again_when_all_have_left(self, server: RoomServer, far: Resident, alice: User) -> None:
        room = room_of(far)
        alice.join(room.room_id)
        alice.post(f"/rooms/{room.room_id}/leave")
        room.add(server.state(room.room_id)["m.room.member", alice.id])
        said = room.send(room.creator, "m.room.topic", {"topic": "While nobody was there"}, "")
        alice.join(room.room_id)
        assert far.asked == ["make_join", "send_join"] * 2
        assert server.state(room.room_id)["m.room.topic", ""].event_id == said.event_id

    def test_a_user_who_left_when_nobody_heard_it_stays_out(
        self, server: RoomServer, far: Resident, alice: User, bob: User
    ) -> None:
        room = room_of(far)
        alice.join(room.room_id)
        bob.join(room.room_id)
        room.add(server.state(room.room_id)["m.room.member", bob.id])
        for user in (alice, bob):
            user.post(f"/rooms/{room.room_id}/leave")
        room.add(server.state(room.room_id)["m.room.member", alice.id])
        alice.join(room.room_id)
        server.db.wait(Deferred.fromCoroutine(server.heads.find(room.room_id)))
        _until(server, lambda: server.state(room.room_id)["m.room.member", bob.id].membership == "leave")
        assert membership(server, room.room_id, bob) == "leave"

    def test_guests_may_not(self, server: RoomServer, far: Resident) -> None:
        room = room_of(far)
        guest = server.user("guest", "guest")
        assert guest.join(room.room_id, expect=403).errcode == "M_GUEST_ACCESS_FORBIDDEN"

    def test_what_the_other_server_says(self, far: Resident, alice: User) -> None:
        room = room_of(far)
        far.errors["make_join"] = refused("far.org", 403, "M_FORBIDDEN", "You are banned.")
        answer = alice.join(room.room_id, expect=403)
        assert answer.json == {"errcode": "M_FORBIDDEN", "error": "You are banned."}

    def test_too_often(
        self, database: DatabasePlace, tmp_path: Path, specification: Specification, far: Resident
    ) -> None:
        options = "rc_joins: {remote: {per_second: 0.001, burst_count: 1}}"
        server = RoomServer(database, tmp_path, options, specification, network=Network(far))
        alice = server.user("alice")
        alice.join(room_of(far).room_id)
        assert alice.join(room_of(far).room_id, expect=429).errcode == "M_LIMIT_EXCEEDED"
        server.close()


class TestRestrictedRooms:
    def test_another_server_vouches_when_nobody_here_can(
        self, server: RoomServer, far: Resident, alice: User, bob: User
    ) -> None:
        room = room_of(far, "10", join_rule="restricted")
        elsewhere = {"type": "m.room_membership", "room_id": "!unknown:far.org"}
        room.send(room.creator, "m.room.join_rules", {"join_rule": "restricted", "allow": [elsewhere]}, "")
        levels = {**room.state["m.room.power_levels", ""].content, "invite": 50}
        room.send(room.creator, "m.room.power_levels", levels, "")
        invite(server, room, alice)
        alice.join(room.room_id)
        bob.join(room.room_id)
        assert far.sent[-1].state_key == bob.id
        join = server.state(room.room_id)["m.room.member", bob.id]
        assert set(join.pdu["signatures"]) == {SERVER_NAME, "far.org"}
        assert server.membership(room.room_id, bob) == "join"

    def test_the_first_user_comes_in_with_the_other_servers_signature(
        self, server: RoomServer, far: Resident, alice: User
    ) -> None:
        room = room_of(far, "10", join_rule="restricted")
        alice.join(room.room_id)
        join = server.state(room.room_id)["m.room.member", alice.id]
        assert set(join.pdu["signatures"]) == {SERVER_NAME, "far.org"}


class TestInvitesFromOutside:
    def test_shown_by_what_came_with_them(self, server: RoomServer, far: Resident, alice: User) -> None:
        room = room_of(far, "12")
        event = invite(server, room, alice)
        shown = section(server, alice, "invite")[room.room_id].decode()
        assert '"name":"Far"' in shown
        assert '"signatures"' not in shown
        assert event.content["membership"] in shown

    @pytest.mark.parametrize("is_there", [True, False])
    def test_declined(self, server: RoomServer, far: Resident, alice: User, is_there: bool) -> None:
        room = room_of(far, "12")
        invite(server, room, alice)
        since = server.rows()[-1].pos
        if not is_there:
            far.errors["make_leave"] = AWAY
        alice.post(f"/rooms/{quote(room.room_id)}/leave", {"reason": "No"})
        assert membership(server, room.room_id, alice) == "leave"
        assert section(server, alice, "invite") == {}
        assert left(server, alice, since) == [room.room_id]
        assert (room.state["m.room.member", alice.id].membership == "leave") is is_there
        alice.post(f"/rooms/{quote(room.room_id)}/forget")
        assert server.count("stripped_state") == 0

    def test_declined_although_no_server_answers_in_time(
        self, server: RoomServer, far: Resident, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = room_of(far)
        invite(server, room, alice)

        async def never(*_: Any) -> Any:
            await Deferred()

        monkeypatch.setattr(server.network, "make_leave", never)
        answer = alice.start("POST", f"/rooms/{room.room_id}/leave", {})
        _until(server, lambda: bool(_clock(server).getDelayedCalls()))
        _clock(server).advance(21)
        assert server.db.wait(answer).status == 200
        assert membership(server, room.room_id, alice) == "leave"

    def test_declined_and_the_room_has_it_until_somebody_joins(
        self, server: RoomServer, far: Resident, alice: User, bob: User
    ) -> None:
        room = room_of(far)
        invite(server, room, alice)
        far.errors["make_leave"] = AWAY
        alice.post(f"/rooms/{room.room_id}/leave")
        bob.join(room.room_id)
        _until(server, lambda: server.state(room.room_id)["m.room.member", alice.id].membership == "leave")
        assert membership(server, room.room_id, alice) == "leave"
        assert section(server, alice, "invite") == {}

    def test_the_same_invite_twice_is_one(self, server: RoomServer, far: Resident, alice: User) -> None:
        room = room_of(far)
        event = invite(server, room, alice)
        assert server.run(server.out_of_band.store(event, [])) is None
        assert len(server.rows()) == 1

    def test_not_kept_where_we_are_in_the_room(
        self, server: RoomServer, far: Resident, alice: User, bob: User
    ) -> None:
        room = room_of(far)
        alice.join(room.room_id)
        event = with_event_signature(room.invite(bob.id), SERVER_NAME, KEY)
        assert server.run(server.out_of_band.store(event, [])) is None
        assert membership(server, room.room_id, bob) is None

    def test_an_account_that_ends_declines_them(
        self, server: RoomServer, far: Resident, alice: User, bob: User
    ) -> None:
        room, other = room_of(far), room_of(far)
        invite(server, room, alice)
        bob.join(other.room_id)
        alice.join(other.room_id)
        server.run(server.rooms.leaving.leave_all_rooms(alice.id))
        assert membership(server, room.room_id, alice) == "leave"
        assert server.membership(other.room_id, alice) == "leave"
        assert room.state["m.room.member", alice.id].membership == "leave"

    def test_leaving_a_room_that_one_never_had_to_do_with(self, far: Resident, alice: User) -> None:
        room = room_of(far)
        assert alice.post(f"/rooms/{room.room_id}/leave", {}, expect=403).errcode == "M_FORBIDDEN"


class TestKnocking:
    def test_through_another_server(self, server: RoomServer, far: Resident, alice: User) -> None:
        room = room_of(far, "12", join_rule="knock")
        alice.post(f"/knock/{quote(room.room_id)}?via=far.org", {"reason": "Please"})
        assert far.sent[-1].content == {"membership": "knock", "reason": "Please"}
        assert b'"name":"Far"' in section(server, alice, "knock")[room.room_id]
        assert membership(server, room.room_id, alice) == "knock"

    def test_once(self, far: Resident, alice: User) -> None:
        room = room_of(far, "12", join_rule="knock")
        for _ in range(2):
            alice.post(f"/knock/{quote(room.room_id)}?via=far.org", {})
        assert far.asked == ["make_knock", "send_knock"]

    def test_taken_back(self, server: RoomServer, far: Resident, alice: User) -> None:
        room = room_of(far, "12", join_rule="knock")
        alice.post(f"/knock/{quote(room.room_id)}?via=far.org", {})
        alice.post(f"/rooms/{quote(room.room_id)}/leave")
        assert far.sent[-1].membership == "leave"
        assert membership(server, room.room_id, alice) == "leave"

    def test_refused(self, far: Resident, alice: User) -> None:
        room = room_of(far)
        far.errors["make_knock"] = refused("far.org", 403, "M_FORBIDDEN", "Nobody knocks here.")
        answer = alice.post(f"/knock/{room.room_id}", {}, expect=403)
        assert answer.json["error"] == "Nobody knocks here."

    def test_then_invited(self, server: RoomServer, far: Resident, alice: User) -> None:
        room = room_of(far, "10", join_rule="knock")
        alice.post(f"/knock/{room.room_id}", {})
        invite(server, room, alice)
        assert section(server, alice, "knock") == {}
        assert list(section(server, alice, "invite")) == [room.room_id]
        alice.join(room.room_id)
        assert membership(server, room.room_id, alice) == "join"


class TestInvitingOthers:
    def test_their_server_signs(self, server: RoomServer, far: Resident, alice: User) -> None:
        room_id = alice.create_room(name="Ours", room_version="12")
        alice.post(f"/rooms/{quote(room_id)}/invite", {"user_id": "@eve:far.org", "reason": "Come"})
        event = server.state(room_id)["m.room.member", "@eve:far.org"]
        assert set(event.pdu["signatures"]) == {SERVER_NAME, "far.org"}
        assert event.content == {"membership": "invite", "reason": "Come"}
        types = [pdu["type"] for pdu in far.invite_states[-1]]
        assert types[:2] == ["m.room.create", "m.room.name"]
        assert all("signatures" in pdu for pdu in far.invite_states[-1])

    def test_of_version_1_in_the_old_way(self, server: RoomServer, far: Resident, alice: User) -> None:
        far.errors["invite"] = refused("far.org", 404, "M_UNRECOGNIZED", "What?")
        room_id = alice.create_room(room_version="1")
        alice.post(f"/rooms/{room_id}/invite", {"user_id": "@eve:far.org"})
        assert far.asked == ["invite", "invite_v1"]
        assert server.state(room_id)["m.room.member", "@eve:far.org"].membership == "invite"

    @pytest.mark.parametrize(
        ("error", "status", "errcode"),
        [
            (refused("far.org", 403, "M_FORBIDDEN", "No."), 403, "M_FORBIDDEN"),
            (refused("far.org", 403, "M_INVITE_BLOCKED", "No."), 403, "M_INVITE_BLOCKED"),
            (refused("far.org", 400, "M_INVALID_PARAM", "No."), 502, "M_UNKNOWN"),
            (AWAY, 502, "M_UNKNOWN"),
        ],
    )
    def test_refused(
        self, server: RoomServer, far: Resident, alice: User, error: Exception, status: int, errcode: str
    ) -> None:
        far.errors["invite"] = error
        room_id = alice.create_room()
        target = f"/rooms/{quote(room_id)}/invite"
        assert alice.post(target, {"user_id": "@eve:far.org"}, expect=status).errcode == errcode
        assert ("m.room.member", "@eve:far.org") not in server.state(room_id)

    def test_signed_wrongly(self, server: RoomServer, far: Resident, alice: User) -> None:
        far.signs_wrongly = True
        room_id = alice.create_room()
        alice.post(f"/rooms/{quote(room_id)}/invite", {"user_id": "@eve:far.org"}, expect=502)
        assert ("m.room.member", "@eve:far.org") not in server.state(room_id)

    def test_to_a_room_that_is_closed_to_others(self, far: Resident, alice: User) -> None:
        room_id = alice.create_room(creation_content={"m.federate": False})
        alice.post(f"/rooms/{quote(room_id)}/invite", {"user_id": "@eve:far.org"}, expect=403)
        assert far.asked == []

    def test_with_a_new_room(self, server: RoomServer, far: Resident, alice: User, bob: User) -> None:
        room_id = alice.create_room(invite=["@eve:far.org", bob.id, "@gone:nowhere.org"], is_direct=True)
        state = server.state(room_id)
        assert state["m.room.member", "@eve:far.org"].content == {"membership": "invite", "is_direct": True}
        assert state["m.room.member", bob.id].membership == "invite"
        assert ("m.room.member", "@gone:nowhere.org") not in state


def _clock(server: RoomServer) -> Clock:
    clock = server.frame.reactor
    assert isinstance(clock, Clock)
    return clock


def _until(server: RoomServer, is_so: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, "it never came to that"
        server.db.wait(server.db.database.write(lambda tx: None))


def test_stored_as_what_it_is(server: RoomServer, far: Resident, alice: User) -> None:
    event = invite(server, room_of(far), alice)
    stored = server.db.read(events.by_id, event.event_id)
    assert stored is not None
    assert stored.verdict == "out_of_band"
    assert stored.pos is not None
