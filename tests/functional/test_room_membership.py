"""Coming, going, and who may do what: join, invite, knock, kick, ban, power levels, guests."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.storage.engines.base import Mode
from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted, unique
from tests.support.database import DatabasePlace
from tests.support.exchange import Answer
from tests.support.server import ServerProcess


def forbidden(answer: Answer) -> None:
    assert answer.status == 403
    assert answer.errcode == "M_FORBIDDEN"


def levels(client: MatrixClient, room: str, **changes: Any) -> None:
    """Change the power levels."""
    content = client.state_content(room, "m.room.power_levels").json
    client.set_state(room, "m.room.power_levels", {**content, **changes})


def test_joining(alice: MatrixClient, bob: MatrixClient) -> None:
    private = alice.create_room(preset="private_chat")
    forbidden(bob.join(private, expect=403))
    forbidden(bob.post(f"/rooms/{quoted(private)}/join", expect=403))
    assert bob.join("!unknown:test", expect={403, 404}).errcode in ("M_FORBIDDEN", "M_NOT_FOUND")
    assert bob.join("#unknown:test", expect={403, 404}).errcode == "M_NOT_FOUND"
    public = alice.create_room(preset="public_chat")
    for _ in range(2):
        assert bob.post(f"/rooms/{quoted(public)}/join", {"reason": "curious"})["room_id"] == public
    assert bob.joined_rooms() == [public]
    member = alice.state_content(public, "m.room.member", bob.user_id)
    assert member["reason"] == "curious"
    alice.ban(public, bob.user_id)
    forbidden(bob.join(public, expect=403))
    assert bob.joined_rooms() == []


def test_inviting(alice: MatrixClient, bob: MatrixClient, new_user: NewUser, room: str) -> None:
    carol, dave = new_user(), new_user()
    levels(alice, room, invite=50)
    forbidden(bob.invite(room, carol.user_id, expect=403))
    forbidden(dave.invite(room, carol.user_id, expect=403))
    forbidden(alice.invite(room, bob.user_id, expect=403))
    alice.post(f"/rooms/{quoted(room)}/invite", {"user_id": carol.user_id, "reason": "come"})
    invite = carol.sync()["rooms"]["invite"][room]["invite_state"]["events"]
    (own,) = [event for event in invite if event.get("state_key") == carol.user_id]
    assert (own["content"]["membership"], own["content"]["reason"], own["sender"]) == ("invite", "come", alice.user_id)
    assert {"m.room.create", "m.room.join_rules"} <= {event["type"] for event in invite}
    carol.leave(room)
    forbidden(carol.join(room, expect=403))
    alice.ban(room, carol.user_id)
    forbidden(alice.invite(room, carol.user_id, expect=403))
    alice.unban(room, carol.user_id)
    alice.invite(room, carol.user_id)
    carol.join(room)
    third_party = {"id_server": "id.example", "id_access_token": "x", "medium": "email", "address": "a@b.example"}
    answer = alice.post(f"/rooms/{quoted(room)}/invite", third_party, expect={400, 403})
    assert answer.errcode


def test_leaving_and_forgetting(alice: MatrixClient, bob: MatrixClient, new_user: NewUser, room: str) -> None:
    stranger = new_user()
    assert bob.forget(room, expect=400).errcode == "M_UNKNOWN"
    bob.post(f"/rooms/{quoted(room)}/leave", {"reason": "late"})
    assert alice.state_content(room, "m.room.member", bob.user_id)["reason"] == "late"
    bob.leave(room)
    bob.forget(room)
    forbidden(bob.messages(room, expect=403))
    assert bob.sync(filter={"room": {"include_leave": True}}).json.get("rooms", {}).get("leave", {}) == {}
    assert stranger.leave(room, expect={403, 404}).errcode in ("M_FORBIDDEN", "M_NOT_FOUND")
    forbidden(bob.join(room, expect=403))
    alice.invite(room, bob.user_id)
    bob.join(room)
    assert bob.messages(room).status == 200


def test_knocking(alice: MatrixClient, bob: MatrixClient, new_user: NewUser) -> None:
    carol = new_user()
    alias = f"#{unique('knock')}:test"
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room = alice.create_room(initial_state=[rule], room_alias_name=alias[1:].partition(":")[0], name="Door")
    knocked = bob.post(f"/knock/{quoted(alias)}", {"reason": "let me in"})
    assert knocked["room_id"] == room
    state = bob.sync()["rooms"]["knock"][room]["knock_state"]["events"]
    assert "Door" in [event["content"].get("name") for event in state]
    assert alice.members(room)[bob.user_id] == "knock"
    forbidden(bob.join(room, expect=403))
    forbidden(bob.messages(room, expect=403))
    alice.invite(room, bob.user_id)
    bob.join(room)
    forbidden(bob.knock(room, expect=403))
    carol.knock(room)
    alice.kick(room, carol.user_id)
    carol.knock(room)
    carol.leave(room)
    alice.ban(room, carol.user_id)
    forbidden(carol.knock(room, expect=403))
    forbidden(carol.knock(alice.create_room(preset="private_chat"), expect=403))
    assert carol.knock("#unknown:test", expect=404).errcode == "M_NOT_FOUND"
    assert carol.knock("!unknown:test", expect={403, 404}).errcode in ("M_FORBIDDEN", "M_NOT_FOUND")


def test_kicking_and_banning(alice: MatrixClient, bob: MatrixClient, new_user: NewUser, room: str) -> None:
    carol, stranger = new_user(), new_user()
    alice.invite(room, carol.user_id)
    carol.join(room)
    for what in ("kick", "ban"):
        body = {"user_id": carol.user_id}
        forbidden(bob.post(f"/rooms/{quoted(room)}/{what}", body, expect=403))
        forbidden(stranger.post(f"/rooms/{quoted(room)}/{what}", body, expect=403))
        forbidden(bob.post(f"/rooms/{quoted(room)}/{what}", {"user_id": alice.user_id}, expect=403))
    forbidden(alice.kick(room, stranger.user_id, expect=403))
    levels(alice, room, users={bob.user_id: 50, carol.user_id: 50})
    forbidden(bob.kick(room, carol.user_id, expect=403))
    bob.ban(room, stranger.user_id)
    forbidden(stranger.join(room, expect=403))
    forbidden(carol.unban(room, bob.user_id, expect=403))
    carol.post(f"/rooms/{quoted(room)}/unban", {"user_id": stranger.user_id, "reason": "mistake"})
    assert alice.members(room)[stranger.user_id] == "leave"
    forbidden(alice.unban(room, carol.user_id, expect=403))
    alice.kick(room, carol.user_id)
    assert carol.joined_rooms() == []
    left = carol.sync(filter={"room": {"include_leave": True}})["rooms"]["leave"]
    assert room in left


def test_power_levels(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    said = alice.say(room, "hello")
    forbidden(bob.set_state(room, "m.room.topic", {"topic": "mine"}, expect=403))
    forbidden(bob.set_state(room, "m.room.power_levels", {"users": {bob.user_id: 100}}, expect=403))
    forbidden(bob.set_state(room, "org.example", {}, f"@x{alice.user_id[1:]}", expect=403))
    forbidden(bob.redact(room, said, expect=403))
    levels(alice, room, events_default=10)
    forbidden(bob.send(room, "hello", expect=403))
    levels(alice, room, users={bob.user_id: 50}, events={"m.room.topic": 60, "m.room.name": 50})
    bob.set_state(room, "m.room.name", {"name": "ours"})
    forbidden(bob.set_state(room, "m.room.topic", {"topic": "mine"}, expect=403))
    content = alice.state_content(room, "m.room.power_levels").json
    for changed in ({**content, "users": {bob.user_id: 90}}, {**content, "ban": 90}):
        forbidden(bob.set_state(room, "m.room.power_levels", changed, expect=403))
    assert bob.redact(room, said, "spam")["event_id"]
    redacted = alice.event(room, said)
    assert (redacted["content"], redacted["unsigned"]["redacted_because"]["content"]["reason"]) == ({}, "spam")
    alice.set_state(room, "m.room.tombstone", {"body": "gone", "replacement_room": alice.create_room()})


@pytest.mark.parametrize("version", ["6", "10", "11", "12"])
def test_who_may_redact(alice: MatrixClient, bob: MatrixClient, version: str) -> None:
    room = alice.create_room(preset="public_chat", room_version=version)
    bob.join(room)
    said = bob.say(room, "oops")
    txn = unique("t")
    first = bob.redact(room, said, txn_id=txn)["event_id"]
    assert bob.redact(room, said, txn_id=txn)["event_id"] == first
    assert alice.event(room, said)["content"] == {}
    assert alice.event(room, first)["content"]["redacts"] == said
    assert bob.redact(room, "$unknown", expect={400, 403, 404}).errcode
    other = alice.create_room(preset="public_chat")
    assert alice.redact(other, said, expect={400, 403, 404}).errcode


def test_transactions_are_idempotent(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    txn = unique("t")
    first = alice.say(room, "once", txn_id=txn)
    assert alice.say(room, "once", txn_id=txn) == first
    assert bob.say(room, "once", txn_id=txn) != first
    other = alice.another()
    other.login(alice.user_id)
    assert other.say(room, "once", txn_id=txn) != first
    echo = alice.sync(since=None)["rooms"]["join"][room]["timeline"]["events"]
    (own,) = [event for event in echo if event["event_id"] == first]
    assert own["unsigned"]["transaction_id"] == txn


def test_guests(alice: MatrixClient, guest: MatrixClient) -> None:
    assert guest.get("/account/whoami")["is_guest"] is True
    closed = alice.create_room(
        initial_state=[{"type": "m.room.guest_access", "content": {"guest_access": "forbidden"}}], preset="public_chat"
    )
    assert guest.join(closed, expect=403).errcode in ("M_GUEST_ACCESS_FORBIDDEN", "M_FORBIDDEN")
    room = alice.create_room(
        initial_state=[{"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}], preset="public_chat"
    )
    guest.post(f"/rooms/{quoted(room)}/join")
    said = guest.say(room, "hello")
    assert guest.sync()["rooms"]["join"][room]["timeline"]["events"][-1]["event_id"] == said
    guest.put(f"/profile/{quoted(guest.user_id)}/displayname", {"displayname": "visitor"})
    for method, path, body in (
        ("POST", "/createRoom", {}),
        ("PUT", f"/profile/{quoted(guest.user_id)}/avatar_url", {"avatar_url": "mxc://test/a"}),
        ("POST", f"/rooms/{quoted(room)}/invite", {"user_id": alice.user_id}),
        ("POST", "/account/password", {"new_password": "x"}),
        ("GET", "/joined_rooms", None),
        ("GET", "/pushrules/", None),
    ):
        answer = guest.request(method, path, json=body, expect=403)
        assert answer.errcode == "M_GUEST_ACCESS_FORBIDDEN", path
    alice.sync()
    alice.set_state(room, "m.room.guest_access", {"guest_access": "forbidden"})

    def has_left(answer: Any) -> bool:
        timeline = answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {"events": []})["events"]
        return any(e["content"].get("membership") == "leave" for e in timeline if e.get("state_key") == guest.user_id)

    assert has_left(alice.sync_until(lambda answer: answer if has_left(answer) else None))
    assert alice.members(room)[guest.user_id] == "leave"


def test_a_start_takes_guests_out_of_closed_rooms(empty_database: DatabasePlace) -> None:
    server = ServerProcess(empty_database).start()
    alice, visitor = server.new_client(), server.new_client()
    room = alice.create_room(preset="public_chat")
    visitor.join(room)
    # As after a crash between the closing of the room and the guest's leaving.
    connection = empty_database.engine().connect(Mode.WRITE)
    connection.begin(write=True)
    connection.execute("UPDATE accounts SET kind = 'guest' WHERE folded_id = ?", (visitor.user_id,))
    connection.commit()
    connection.close()
    assert alice.members(room)[visitor.user_id] == "join"
    server.kill()
    server.start()
    alice.sync_until(lambda _: alice.members(room)[visitor.user_id] == "leave")
    for client in (alice, visitor):
        client.close()
    server.stop()
