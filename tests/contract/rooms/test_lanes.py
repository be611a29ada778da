"""The way of events: lanes, heads and the persister, on both engines."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.services.room_lanes import Draft
from matrixd.storage import rooms, transactions
from matrixd.storage.transaction import Transaction
from tests.support.database import DatabasePlace
from tests.support.room_server import RoomServer, User


def text(sender: User, body: str = "hello", **more: Any) -> Draft:
    return Draft(sender.id, "m.room.message", {"msgtype": "m.text", "body": body}, **more)


def a_room(server: RoomServer, user: User, version: str = "12") -> str:
    return user.create_room(room_version=version)


@pytest.mark.parametrize("version", list(ROOM_VERSIONS))
def test_events_of_every_version_form_one_line(server: RoomServer, alice: User, version: str) -> None:
    room_id = a_room(server, alice, version)
    server.db.wait(gatherResults([server.start(server.lanes.send(room_id, [text(alice, str(n))])) for n in range(20)]))
    found = server.events(room_id)
    assert [event.prev_events for event in found[1:]] == [(event.event_id,) for event in found[:-1]]
    assert [event.depth for event in found] == list(range(1, len(found) + 1))
    assert [event.content["body"] for event in found[-20:]] == [str(n) for n in range(20)]


def test_the_database_has_what_the_head_has(server: RoomServer, alice: User, bob: User) -> None:
    room_id = alice.create_room(invite=[bob.id])
    alice.say(room_id, "hello")

    def read(tx: Transaction) -> rooms.Room:
        room = rooms.by_id(tx, room_id)
        assert room is not None
        return room

    room = server.db.read(read)
    head = server.run(server.heads.get(room_id))
    assert room.extremities == tuple(event.event_id for event in head.extremities)
    assert (room.depth, room.unread) == (head.depth, head.unread)
    assert (room.joined_count, room.invited_count) == (head.joined_count, head.invited_count) == (1, 1)
    assert room.last_pos == server.rows()[-1].pos == room.bump_pos


def test_a_server_that_starts_again_goes_on_where_it_ended(server: RoomServer, alice: User) -> None:
    room_id = a_room(server, alice)
    last = alice.say(room_id, "before")
    again = server.restarted()
    sent = again.run(again.lanes.send(room_id, [text(alice, "after")]))
    assert again.events(room_id)[0].prev_events == (last,)
    assert sent[0].event_id == again.events(room_id)[0].event_id
    again.close()


def test_what_is_sent_together_is_stored_whole_or_not_at_all(server: RoomServer, alice: User) -> None:
    room_id = a_room(server, alice)
    before = server.count("events")
    forbidden = Draft("@eve:test.example", "m.room.message", {})
    with pytest.raises(RuleViolation):
        server.run(server.lanes.send(room_id, [text(alice, "one"), forbidden]))
    assert server.count("events") == before
    head = server.run(server.heads.get(room_id))
    assert head.depth == len(server.events(room_id))
    alice.say(room_id, "two")
    found = server.events(room_id)
    assert found[-1].prev_events == (found[-2].event_id,)


def test_an_optional_event_that_is_forbidden_is_left_out(server: RoomServer, alice: User, bob: User) -> None:
    room_id = a_room(server, alice)
    optional = Draft(bob.id, "m.room.topic", {"topic": "mine"}, state_key="", is_optional=True)
    server.run(server.lanes.send(room_id, [optional, text(alice)]))
    assert ("m.room.topic", "") not in server.state(room_id)
    assert server.events(room_id)[-1].content["body"] == "hello"


def test_a_failed_unit_takes_what_was_built_on_it_down_and_that_is_built_again(
    server: RoomServer, alice: User
) -> None:
    room_id = a_room(server, alice)
    nid = alice.requester.device_nid
    server.run(server.lanes.send(room_id, [text(alice, "first", device_nid=nid, txn_id="used")]))
    # In one batch: the second fails in the database, the third was built on it.
    waiting = [
        server.start(server.lanes.send(room_id, [draft]))
        for draft in (text(alice, "a"), text(alice, "b", device_nid=nid, txn_id="used"), text(alice, "c"))
    ]
    sent = server.db.wait(gatherResults(waiting))
    found = server.events(room_id)
    assert [event.content.get("body") for event in found[-3:]] == ["first", "a", "c"]
    assert sent[1][0].event_id == found[-3].event_id
    assert [event.prev_events for event in found[1:]] == [(event.event_id,) for event in found[:-1]]
    assert server.db.read(transactions.event_id, nid, "used") == found[-3].event_id


def test_a_fault_in_one_room_does_not_touch_another(server: RoomServer, alice: User) -> None:
    mine, other = a_room(server, alice), a_room(server, alice)
    nid = alice.requester.device_nid
    server.run(server.lanes.send(mine, [text(alice, device_nid=nid, txn_id="used")]))
    waiting = [
        server.start(server.lanes.send(room_id, [draft]))
        for n in range(5)
        for room_id, draft in (
            (mine, text(alice, f"bad{n}", device_nid=nid, txn_id="used")),
            (other, text(alice, f"good{n}")),
        )
    ]
    server.db.wait(gatherResults(waiting))
    assert [event.content["body"] for event in server.events(other)[-5:]] == [f"good{n}" for n in range(5)]
    assert "bad" not in str([event.content for event in server.events(mine)])


def test_state_that_would_change_nothing_is_not_sent(server: RoomServer, alice: User) -> None:
    room_id = a_room(server, alice)
    first = alice.set_state(room_id, "org.example", {"number": 1})["event_id"]
    assert alice.set_state(room_id, "org.example", {"number": 1})["event_id"] == first
    assert alice.set_state(room_id, "org.example", {"number": True})["event_id"] != first


def test_a_refused_check_stops_the_event(server: RoomServer, alice: User) -> None:
    room_id = a_room(server, alice)

    def check(_head: object) -> None:
        raise MatrixError(418, "M_UNKNOWN", "no")

    with pytest.raises(MatrixError, match="no"):
        server.run(server.lanes.send(room_id, [text(alice, check=check)]))
    assert server.events(room_id)[-1].type != "m.room.message"


def test_a_room_whose_storing_fails_is_not_there(server: RoomServer, alice: User) -> None:
    events_before = server.count("events")

    def fail(_tx: Transaction, _room_id: str) -> None:
        raise MatrixError(400, "M_ROOM_IN_USE", "taken")

    version = ROOM_VERSIONS["11"]
    drafts = [Draft(alice.id, "m.room.create", {"room_version": "11"}, state_key="")]
    with pytest.raises(MatrixError, match="taken"):
        server.run(server.lanes.create(version, "!new:test.example", drafts, fail))
    assert server.count("events") == events_before
    assert server.count("rooms") == 0
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        server.run(server.lanes.send("!new:test.example", [text(alice)]))


def test_a_room_that_the_rules_forbid_is_not_there(server: RoomServer, alice: User) -> None:
    drafts = [Draft(alice.id, "m.room.create", {"room_version": "11"}, state_key=""), text(alice)]
    with pytest.raises(RuleViolation):
        server.run(server.lanes.create(ROOM_VERSIONS["11"], "!new:test.example", drafts))
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        server.run(server.lanes.send("!new:test.example", [text(alice)]))


def test_a_cache_without_room_does_not_fork_a_room(database: DatabasePlace, tmp_path: Any) -> None:
    server = RoomServer(database, tmp_path, budget_bytes=1)
    alice = server.user("alice")
    room_id = a_room(server, alice)
    server.db.wait(gatherResults([server.start(server.lanes.send(room_id, [text(alice, str(n))])) for n in range(30)]))
    found = server.events(room_id)
    assert [event.prev_events for event in found[1:]] == [(event.event_id,) for event in found[:-1]]
    server.close()


def test_sending_to_a_hot_room_reads_no_database(
    server: RoomServer, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = a_room(server, alice)
    alice.say(room_id, "warm")

    def no_reading(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a read")

    monkeypatch.setattr(server.db.database, "read", no_reading)
    alice.say(room_id, "hot")
    assert server.events(room_id)[-1].content["body"] == "hot"


@pytest.mark.parametrize("version", ["1", "2", "3", "10", "11", "12"])
def test_a_redaction_prunes_the_stored_event_and_the_head(server: RoomServer, alice: User, version: str) -> None:
    room_id = a_room(server, alice, version)
    topic = alice.set_state(room_id, "m.room.topic", {"topic": "secret"})["event_id"]
    alice.redact(room_id, topic, reason="oops")
    assert server.state(room_id)["m.room.topic", ""].content == {}
    head = server.run(server.heads.get(room_id, [("m.room.topic", "")]))
    current = head.state(("m.room.topic", ""))
    assert current is not None
    assert current.content == {}
    row = server.rows()[-1]
    assert row.event.redacts == topic
    assert row.redacted is not None
    assert row.redacted.event_id == topic
