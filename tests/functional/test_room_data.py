"""What users keep and tell in rooms: account data, tags, receipts, read markers, typing."""

from __future__ import annotations

from typing import Any

from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted


def of_room(client: MatrixClient, room: str, section: str) -> dict[str, Any]:
    """The events of a room's section in the next sync, by type."""
    joined = client.sync().json.get("rooms", {}).get("join", {}).get(room, {})
    return {event["type"]: event["content"] for event in joined.get(section, {"events": []})["events"]}


def test_account_data_of_a_room(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    base = f"/user/{quoted(alice.user_id)}/rooms/{quoted(room)}/account_data"
    alice.sync()
    alice.put(f"{base}/org.example", {"colour": "red"})
    assert alice.get(f"{base}/org.example").json == {"colour": "red"}
    assert of_room(alice, room, "account_data") == {"org.example": {"colour": "red"}}
    assert alice.get(f"{base}/org.none", expect=404).errcode == "M_NOT_FOUND"
    for client, path in ((bob, base), (bob, base.replace("account_data", "tags"))):
        path = f"{path}/org.example" if "account_data" in path else path
        assert client.get(path, expect=403).errcode == "M_FORBIDDEN"
    assert bob.put(f"{base}/org.example", {}, expect=403).errcode == "M_FORBIDDEN"
    assert alice.put(f"{base}/m.fully_read", {"event_id": "$x"}, expect=405).errcode == "M_BAD_JSON"
    wrong = alice.put(f"/user/{quoted(alice.user_id)}/rooms/room/account_data/x", {}, validate=False, expect=400)
    assert wrong.errcode == "M_INVALID_PARAM"


def test_tags(alice: MatrixClient, bob: MatrixClient, room: str) -> None:
    base = f"/user/{quoted(alice.user_id)}/rooms/{quoted(room)}/tags"
    alice.sync()
    assert alice.get(base).json == {"tags": {}}
    alice.put(f"{base}/m.favourite", {"order": 0.25})
    alice.put(f"{base}/u.work", {})
    wanted = {"m.favourite": {"order": 0.25}, "u.work": {}}
    assert alice.get(base).json == {"tags": wanted}
    assert of_room(alice, room, "account_data") == {"m.tag": {"tags": wanted}}
    alice.delete(f"{base}/u.work")
    alice.delete(f"{base}/u.unknown")
    assert of_room(alice, room, "account_data") == {"m.tag": {"tags": {"m.favourite": {"order": 0.25}}}}
    for method in ("PUT", "DELETE"):
        assert bob.request(method, f"{base}/u.x", body=b"{}", validate=False, expect=403).errcode == "M_FORBIDDEN"


def test_receipts_and_read_markers(alice: MatrixClient, bob: MatrixClient, new_user: NewUser, room: str) -> None:
    carol = new_user()
    said = [alice.say(room, f"{number}") for number in range(3)]
    for client in (alice, bob):
        client.sync()
    receipt = f"/rooms/{quoted(room)}/receipt"
    bob.post(f"{receipt}/m.read/{quoted(said[0])}", {"thread_id": "main"})
    (seen,) = of_room(alice, room, "ephemeral").values()
    assert seen[said[0]]["m.read"][bob.user_id]["thread_id"] == "main"
    bob.sync()
    bob.post(f"{receipt}/m.read.private/{quoted(said[1])}")
    assert of_room(alice, room, "ephemeral") == {}
    assert list(of_room(bob, room, "ephemeral")["m.receipt"]) == [said[1]]
    bob.post(f"/rooms/{quoted(room)}/read_markers", {"m.fully_read": said[2], "m.read": said[2]})
    answer = bob.sync()["rooms"]["join"][room]
    assert {"type": "m.fully_read", "content": {"event_id": said[2]}} in answer["account_data"]["events"]
    assert answer["unread_notifications"]["notification_count"] == 0
    assert carol.post(f"{receipt}/m.read/{quoted(said[0])}", expect=403).errcode == "M_FORBIDDEN"
    assert carol.post(f"/rooms/{quoted(room)}/read_markers", {"m.read": said[0]}, expect=403).errcode == "M_FORBIDDEN"
    other = alice.create_room()
    elsewhere = alice.post(f"/rooms/{quoted(other)}/receipt/m.read/{quoted(said[0])}", expect={400, 404})
    assert elsewhere.errcode


def test_typing(alice: MatrixClient, bob: MatrixClient, new_user: NewUser, room: str) -> None:
    path = f"/rooms/{quoted(room)}/typing/{quoted(bob.user_id)}"
    alice.sync()
    bob.put(path, {"typing": True, "timeout": 30000})
    assert of_room(alice, room, "ephemeral") == {"m.typing": {"user_ids": [bob.user_id]}}
    bob.put(path, {"typing": False})
    assert of_room(alice, room, "ephemeral") == {"m.typing": {"user_ids": []}}
    assert alice.put(path, {"typing": True}, expect=403).errcode == "M_FORBIDDEN"
    carol = new_user()
    stranger = f"/rooms/{quoted(room)}/typing/{quoted(carol.user_id)}"
    assert carol.put(stranger, {"typing": True}, expect=403).errcode == "M_FORBIDDEN"
