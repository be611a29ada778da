"""Rooms over HTTP: two people make, enter, name, leave and replace rooms; every answer is checked."""

from __future__ import annotations

import threading

from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted


def test_two_people_meet_and_part(alice: MatrixClient, bob: MatrixClient) -> None:
    room = alice.create_room(preset="private_chat", name="Two", invite=[bob.user_id])
    assert bob.post(f"/join/{quoted(room)}", {})["room_id"] == room
    assert bob.get("/joined_rooms")["joined_rooms"] == [room]
    assert alice.say(room, "hello") != bob.say(room, "hello")
    bob.post(f"/rooms/{quoted(room)}/leave", {})
    assert bob.put(f"/rooms/{quoted(room)}/send/m.room.message/1", {}, expect=403).errcode == "M_FORBIDDEN"
    bob.post(f"/rooms/{quoted(room)}/forget", {})
    assert bob.get("/joined_rooms")["joined_rooms"] == []


def test_moderation(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    for what, back in (("kick", "invite"), ("ban", "unban")):
        alice.post(f"/rooms/{quoted(room)}/{what}", {"user_id": bob.user_id, "reason": "noise"})
        alice.post(f"/rooms/{quoted(room)}/{back}", {"user_id": bob.user_id})
        bob.post(f"/rooms/{quoted(room)}/join", {}, expect=200 if back == "invite" else 403)


def test_an_alias_leads_to_the_room_that_took_the_place_of_another(alice: MatrixClient, new_user: NewUser) -> None:
    carol = new_user()
    name = "replaced-" + alice.user_id[1:].partition(":")[0]
    old = alice.create_room(preset="public_chat", room_alias_name=name, room_version="10")
    new = alice.post(f"/rooms/{quoted(old)}/upgrade", {"new_version": "12"})["replacement_room"]
    alias = f"#{name}:{alice.user_id.partition(':')[2]}"
    assert alice.get(f"/directory/room/{quoted(alias)}")["room_id"] == new
    assert carol.post(f"/join/{quoted(alias)}", {})["room_id"] == new


def test_older_clients_send_without_a_transaction_id(alice: MatrixClient, room: str) -> None:
    path = f"/rooms/{quoted(room)}/send/m.room.message"
    message = {"msgtype": "m.text", "body": "hello"}
    sent = [alice.post(path, message, documented=False)["event_id"] for _ in range(2)]
    newest = alice.messages(room, limit=2)["chunk"]
    assert [event["event_id"] for event in newest] == sent[::-1]
    redact = alice.post(f"/rooms/{quoted(room)}/send/m.room.redaction", {"redacts": sent[0]}, documented=False)
    assert alice.event(room, sent[0])["unsigned"]["redacted_because"]["event_id"] == redact["event_id"]


def test_senders_at_the_same_time_lose_nothing(alice: MatrixClient, new_user: NewUser) -> None:
    room = alice.create_room(preset="public_chat")
    senders = [new_user() for _ in range(4)]
    for sender in senders:
        sender.post(f"/join/{quoted(room)}", {})
    sent: list[str] = []

    def talk(sender: MatrixClient) -> None:
        sent.extend(sender.say(room, f"message {n}") for n in range(20))

    threads = [threading.Thread(target=talk, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(sent)) == 80
