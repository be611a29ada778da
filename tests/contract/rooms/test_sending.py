"""Sending events, transaction IDs, annotations, redactions and state, on both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from matrixd.storage import transactions
from tests.support.database import DatabasePlace
from tests.support.room_server import RoomServer, User


@pytest.fixture
def room(alice: User, bob: User) -> str:
    """A room of alice with bob in it."""
    room_id = alice.create_room(preset="public_chat")
    bob.join(room_id)
    return room_id


MESSAGE = {"msgtype": "m.text", "body": "hello"}


def test_a_retry_gets_the_same_event(server: RoomServer, alice: User, room: str) -> None:
    path = alice.send_path(room, txn_id="once")
    first = alice.put(path, MESSAGE)["event_id"]
    assert alice.put(path, MESSAGE)["event_id"] == first
    waiting = [alice.start("PUT", alice.send_path(room, txn_id="twice"), MESSAGE) for _ in range(4)]
    assert len({answer["event_id"] for answer in server.db.wait(gatherResults(waiting))}) == 1
    assert sum(event.type == "m.room.message" for event in server.events(room)) == 2
    row = server.rows()[-1]
    assert row.txn_id is not None
    assert transactions.client_txn_id(row.txn_id) == "twice"


def test_a_retry_after_a_restart_gets_the_same_event(server: RoomServer, alice: User, room: str) -> None:
    path = alice.send_path(room, txn_id="once")
    first = alice.put(path, MESSAGE)["event_id"]
    again = server.restarted()
    same = User(again, alice.requester, alice.token)
    assert same.put(path, MESSAGE)["event_id"] == first
    assert again.events(room) == []
    same.room_post(room, "leave")
    third = again.restarted()
    assert User(third, alice.requester, alice.token).put(path, MESSAGE)["event_id"] == first
    third.close()


def test_the_first_thing_after_a_restart_may_be_a_redaction(server: RoomServer, alice: User, room: str) -> None:
    said = alice.say(room, "not for long")
    again = server.restarted()
    User(again, alice.requester, alice.token).redact(room, said)
    again.close()


def test_a_transaction_belongs_to_its_endpoint_room_and_device(server: RoomServer, alice: User, room: str) -> None:
    other = alice.create_room()
    phone = server.user("alice")
    ids = [
        alice.put(alice.send_path(room, txn_id="t"), MESSAGE)["event_id"],
        alice.put(alice.send_path(room, "org.example", txn_id="t"), MESSAGE)["event_id"],
        alice.put(alice.send_path(other, txn_id="t"), MESSAGE)["event_id"],
        phone.put(phone.send_path(room, txn_id="t"), MESSAGE)["event_id"],
    ]
    ids.append(alice.redact(room, ids[0], txn_id="t")["event_id"])
    assert len(set(ids)) == 5
    assert alice.redact(room, ids[0], txn_id="t")["event_id"] == ids[-1]


@pytest.mark.parametrize("txn_id", ["%00", "x" * 300])
def test_transaction_ids_that_cannot_be_kept(alice: User, room: str, txn_id: str) -> None:
    answer = alice.put(f"/rooms/{room}/send/m.room.message/{txn_id}", MESSAGE, expect=400)
    assert answer.errcode == "M_INVALID_PARAM"


def test_strangers_and_unknown_rooms_look_the_same(server: RoomServer, room: str) -> None:
    carol = server.user("carol")
    unknown = "!unknown:test.example"
    for target in (room, unknown):
        assert carol.send(target, MESSAGE, expect=403).errcode == "M_FORBIDDEN"
        assert carol.set_state(target, "m.room.topic", {"topic": "x"}, expect=403).errcode == "M_FORBIDDEN"
        assert carol.set_state(target, "m.room.power_levels", {"ban": "x"}, expect=403).errcode == "M_FORBIDDEN"
        assert carol.redact(target, "$event", expect=403).errcode == "M_FORBIDDEN"
        carol.invite(target, carol, expect=403)
        for what in ("kick", "ban", "unban"):
            carol.room_post(target, what, 403, user_id="@alice:test.example")


@pytest.mark.parametrize("version", ["1", "5", "6", "12"])
def test_floats_and_large_integers(alice: User, version: str) -> None:
    room = alice.create_room(room_version=version)
    is_strict = version in ("6", "12")
    for number in (1.5, 2**60):
        answer = alice.send(room, {"a": {"b": number}}, "org.example", expect=400 if is_strict else 200)
        if is_strict:
            assert answer.errcode == "M_BAD_JSON"
            assert "content.a.b" in answer["error"]


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        (b"{", 400, "M_NOT_JSON"),
        (b"[]", 400, "M_BAD_JSON"),
        (b'"x"', 400, "M_BAD_JSON"),
        (b'{"a":"\\ud800"}', 400, "M_NOT_JSON"),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", 400, "M_BAD_JSON"),
        (b'{"a":"' + b"x" * 70_000 + b'"}', 413, "M_TOO_LARGE"),
    ],
)
def test_bodies_that_no_event_can_have(
    server: RoomServer, alice: User, room: str, body: bytes, status: int, errcode: str
) -> None:
    before = server.count("events")
    assert alice.send(room, body, expect=status).errcode == errcode
    assert alice.put(f"/rooms/{room}/state/org.example", body, expect=status).errcode == errcode
    assert server.count("events") == before


def test_nul_is_kept_in_contents_and_refused_in_keys(server: RoomServer, alice: User, room: str) -> None:
    alice.send(room, {"body": "a\0b", "m.relates_to": {"rel_type": "x\0", "event_id": "$a"}})
    assert server.state(room)
    assert server.events(room)[-1].content["body"] == "a\0b"
    assert alice.send(room, {}, "a\0", expect=400).errcode == "M_INVALID_PARAM"
    assert alice.set_state(room, "a\0", {}, expect=400).errcode == "M_INVALID_PARAM"
    assert alice.set_state(room, "a", {}, "b\0", expect=400).errcode == "M_INVALID_PARAM"
    assert alice.set_state(room, "a", {}, "b" * 256, expect=413).errcode == "M_TOO_LARGE"
    assert alice.send(room, {}, "a" * 256, expect=413).errcode == "M_TOO_LARGE"


def reaction(target: str, key: str) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": target, "key": key}}


def test_the_same_annotation_is_not_sent_twice(server: RoomServer, alice: User, bob: User, room: str) -> None:
    target = alice.say(room, "hello")
    first = alice.send(room, reaction(target, "+"), "m.reaction", txn_id="r")["event_id"]
    assert alice.send(room, reaction(target, "+"), "m.reaction", txn_id="r")["event_id"] == first
    answer = alice.send(room, reaction(target, "+"), "m.reaction", expect=400)
    assert answer.errcode == "M_DUPLICATE_ANNOTATION"
    alice.send(room, reaction(target, "-"), "m.reaction")
    bob.send(room, reaction(target, "+"), "m.reaction")
    alice.redact(room, first)
    alice.send(room, reaction(target, "+"), "m.reaction")
    other = alice.say(room, "again")
    waiting = [
        bob.start("PUT", bob.send_path(room, "m.reaction"), reaction(other, "+")) for _ in range(3)
    ]
    assert sorted(answer.status for answer in server.db.wait(gatherResults(waiting))) == [200, 400, 400]


def test_a_thread_begins_at_an_event_without_relation(alice: User, room: str) -> None:
    root = alice.say(room, "root")

    def in_thread(event_id: str) -> dict[str, Any]:
        return {**MESSAGE, "m.relates_to": {"rel_type": "m.thread", "event_id": event_id}}

    reply = alice.send(room, in_thread(root))["event_id"]
    alice.send(room, in_thread(root))
    assert alice.send(room, in_thread(reply), expect=400).errcode == "M_UNKNOWN"


@pytest.mark.parametrize("version", ["1", "3", "10", "11", "12"])
def test_redactions(server: RoomServer, alice: User, version: str) -> None:
    bob, admin = server.user("bob"), server.user("admin", admin=True)
    room, elsewhere = (alice.create_room(room_version=version, preset="public_chat") for _ in range(2))
    bob.join(room)
    admin.join(room)
    mine, theirs = bob.say(room, "mine"), alice.say(room, "theirs")
    bob.redact(room, mine, reason="oops")
    redaction = server.events(room)[-1]
    assert redaction.redacts == mine
    assert redaction.content["reason"] == "oops"
    assert ("redacts" in redaction.content) is (version in ("11", "12"))
    assert bob.redact(room, theirs, expect=403).errcode == "M_FORBIDDEN"
    assert bob.redact(room, alice.say(elsewhere, "x"), expect=400).errcode == "M_INVALID_PARAM"
    assert bob.redact(room, "$nothing:test.example", expect=400).errcode == "M_INVALID_PARAM"
    assert bob.redact(room, "nothing", expect=400).errcode == "M_INVALID_PARAM"
    assert bob.redact(room, mine, expect=400, reason=5).errcode == "M_BAD_JSON"
    alice.redact(room, bob.say(room, "rude"))
    admin.redact(room, bob.say(room, "rude again"))
    # Through /send, whatever the version.
    last = bob.say(room, "last")
    bob.send(room, {"redacts": last, "reason": "x"}, "m.room.redaction")
    assert server.events(room)[-1].redacts == last
    assert bob.send(room, {"reason": "x"}, "m.room.redaction", expect=400).errcode == "M_BAD_JSON"


def test_what_is_never_redacted(server: RoomServer, alice: User, room: str) -> None:
    acl = alice.set_state(room, "m.room.server_acl", {"allow": ["*"]})["event_id"]
    alice.redact(room, acl, expect=403)
    alice.redact(room, server.events(room)[0].event_id, expect=403)


@pytest.mark.parametrize(
    ("event_type", "content", "status", "errcode"),
    [
        ("m.room.create", {"room_version": "12"}, 403, "M_FORBIDDEN"),
        ("m.room.power_levels", {"ban": "x"}, 400, "M_BAD_JSON"),
        ("m.room.power_levels", {"events": []}, 400, "M_BAD_JSON"),
        ("m.room.power_levels", {"users": {"bob": 1}}, 400, "M_BAD_JSON"),
        ("m.room.power_levels", {"users": {"@bob:test.example": True}}, 400, "M_BAD_JSON"),
        ("m.room.server_acl", {"allow": []}, 403, "M_FORBIDDEN"),
        ("m.room.server_acl", {"allow": ["*"], "deny": ["*.example"]}, 403, "M_FORBIDDEN"),
        ("m.room.server_acl", {"allow": "*"}, 400, "M_BAD_JSON"),
        ("m.room.join_rules", {"join_rule": 1}, 400, "M_BAD_JSON"),
        ("m.room.canonical_alias", {"alias": "#no:test.example"}, 400, "M_BAD_ALIAS"),
        ("m.room.canonical_alias", {"alias": "#no:elsewhere.example"}, 400, "M_BAD_ALIAS"),
        ("m.room.canonical_alias", {"alias": "%no"}, 400, "M_INVALID_PARAM"),
        ("m.room.canonical_alias", {"alias": 1}, 400, "M_BAD_JSON"),
        ("m.room.canonical_alias", {"alt_aliases": "#no"}, 400, "M_BAD_JSON"),
        ("m.room.canonical_alias", {"alt_aliases": ["#no:test.example"]}, 400, "M_BAD_ALIAS"),
    ],
)
def test_state_that_is_of_no_use_or_does_harm(
    alice: User, room: str, event_type: str, content: dict[str, Any], status: int, errcode: str
) -> None:
    assert alice.set_state(room, event_type, content, expect=status).errcode == errcode


def test_an_acl_may_deny_this_server_by_its_name(alice: User, room: str) -> None:
    alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["other.example", "TEST.example"]})


def test_an_acl_may_say_of_ip_literals_what_counts_as_nothing(alice: User, room: str) -> None:
    # "Defaults to `true` if missing or otherwise not a boolean."
    alice.set_state(room, "m.room.server_acl", {"allow": ["*"], "allow_ip_literals": "false"})


def test_state_with_and_without_a_key(server: RoomServer, alice: User, bob: User, room: str) -> None:
    alice.put(f"/rooms/{room}/state/m.room.topic", {"topic": "one"})
    alice.put(f"/rooms/{room}/state/m.room.topic/", {"topic": "two"})
    assert server.state(room)["m.room.topic", ""].content == {"topic": "two"}
    alice.put(f"/rooms/{room}/state/org.example/a%2Fb", {})
    assert ("org.example", "a/b") in server.state(room)
    bob.set_state(room, "m.room.topic", {"topic": "mine"}, expect=403)
    alice.set_state(room, "org.example", {}, bob.id, expect=403)
    alice.set_state(room, "m.room.tombstone", {"replacement_room": room, "body": ""}, expect=400)
    alice.send(room, {"replacement_room": room}, "m.room.tombstone", expect=400)


def test_the_time_is_an_application_services_to_choose(server: RoomServer, alice: User, room: str) -> None:
    alice.put(alice.send_path(room) + "?ts=5", MESSAGE)
    assert server.events(room)[-1].origin_server_ts == server.clock.now_ms()


LIMITS = """
rc_message: {per_second: 0.001, burst_count: 3}
rc_admin_redaction: {per_second: 0.001, burst_count: 4}
"""


@pytest.mark.parametrize("engine_name", ["sqlite3"])
def test_who_cleans_up_has_a_limit_of_its_own(database: DatabasePlace, tmp_path: Path) -> None:
    server = RoomServer(database, tmp_path, LIMITS)
    alice, bob = server.user("alice"), server.user("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    said = [bob.send(room, {"body": text})["event_id"] for text in "ab"]
    bob.redact(room, said[0])
    # Messages and redactions of ordinary users share a limit.
    assert bob.redact(room, said[1], expect=429).errcode == "M_LIMIT_EXCEEDED"
    for _ in range(3):
        alice.send(room, {"body": "spam?"})
    for _ in range(4):
        alice.redact(room, said[1])
    assert alice.redact(room, said[1], expect=429).errcode == "M_LIMIT_EXCEEDED"
    server.close()
