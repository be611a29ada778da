"""History visibility in every read: what those see who joined, left, were invited or banned, or never came."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.conftest import NewUser
from tests.support.client import MatrixClient, quoted

# Reader -> the messages seen, by the room's visibility. "late" is joined now, but came after "before" and the invite.
SEEN: dict[str, dict[str, str | None]] = {
    "world_readable": {"late": "before invited joined after", "gone": "before invited joined after",
                       "invited": "before invited joined after", "banned": "before invited joined after",
                       "stranger": "before invited joined after"},
    "shared": {"late": "before invited joined after", "gone": "before invited joined",
               "invited": None, "banned": "before invited joined", "stranger": None},
    "invited": {"late": "invited joined after", "gone": "invited joined",
                "invited": None, "banned": "invited joined", "stranger": None},
    "joined": {"late": "joined after", "gone": "joined", "invited": None, "banned": "joined", "stranger": None},
}  # fmt: skip


class Scene:
    """A room of alice in which others come and go between four messages."""

    def __init__(self, alice: MatrixClient, new_user: NewUser, visibility: str) -> None:
        content = {"history_visibility": visibility}
        initial = [{"type": "m.room.history_visibility", "state_key": "", "content": content}]
        self.alice = alice
        self.room = alice.create_room(preset="private_chat", initial_state=initial)
        self.readers = {name: new_user() for name in ("late", "gone", "invited", "banned", "stranger")}
        self.said = {"before": alice.say(self.room, "before")}
        for name in ("late", "gone", "invited", "banned"):
            alice.invite(self.room, self.readers[name].user_id)
        self.said["invited"] = alice.say(self.room, "invited")
        for name in ("late", "gone", "banned"):
            self.readers[name].join(self.room)
        self.said["joined"] = alice.say(self.room, "joined")
        alice.set_state(self.room, "m.room.topic", {"topic": "then"})
        self.readers["gone"].leave(self.room)
        alice.ban(self.room, self.readers["banned"].user_id)
        self.said["after"] = alice.say(self.room, "after")
        alice.set_state(self.room, "m.room.topic", {"topic": "now"})

    def named(self, events: list[dict[str, Any]]) -> set[str]:
        """Which of the messages are among the events."""
        names = {event_id: name for name, event_id in self.said.items()}
        return {names[event["event_id"]] for event in events if event["event_id"] in names}

    def messages(self, reader: MatrixClient) -> set[str]:
        """What /messages shows in both directions."""
        back = self.named(reader.messages(self.room, limit=100)["chunk"])
        assert self.named(reader.messages(self.room, "f", limit=100)["chunk"]) == back
        return back

    def events(self, reader: MatrixClient) -> set[str]:
        """What /event shows, and no other way to one event shows more or less."""
        seen = set()
        for name, event_id in self.said.items():
            answer = reader.event(self.room, event_id, expect={200, 404})
            assert reader.get(f"/events/{quoted(event_id)}", expect={200, 404}).status == answer.status
            relations = f"/_matrix/client/v1/rooms/{quoted(self.room)}/relations/{quoted(event_id)}"
            assert reader.get(relations, expect={200, 404}).status == answer.status
            around = reader.get(f"/rooms/{quoted(self.room)}/context/{quoted(event_id)}", expect={200, 403, 404})
            assert (around.status == 200) == (answer.status == 200)
            if answer.status == 200:
                seen.add(name)
        return seen

    def contexts(self, reader: MatrixClient, name: str) -> set[str]:
        """What /context shows around a message."""
        path = f"/rooms/{quoted(self.room)}/context/{quoted(self.said[name])}"
        answer = reader.get(path, query={"limit": 100})
        return self.named([answer["event"], *answer["events_before"], *answer["events_after"]])


@pytest.mark.parametrize("visibility", list(SEEN))
def test_every_read_keeps_to_the_history_visibility(alice: MatrixClient, new_user: NewUser, visibility: str) -> None:
    scene = Scene(alice, new_user, visibility)
    for name, wanted in SEEN[visibility].items():
        reader, base = scene.readers[name], f"/rooms/{quoted(scene.room)}"
        if wanted is None:
            assert reader.messages(scene.room, expect=403).errcode == "M_FORBIDDEN", name
            for path in ("state", "state/m.room.topic/", "members", "joined_members", "initialSync", "aliases"):
                assert reader.get(f"{base}/{path}", expect=403).errcode == "M_FORBIDDEN", (name, path)
            assert scene.events(reader) == set(), name
            continue
        names = set(wanted.split())
        assert scene.messages(reader) == names, name
        assert scene.events(reader) == names, name
        assert scene.contexts(reader, "joined") == names, name
        assert scene.named(reader.get(f"{base}/initialSync?limit=100", validate=False)["messages"]["chunk"]) >= (
            names - {"after"}
        ), name
        topic = {"late": "now", "gone": "then", "banned": "then"}.get(name, "now")
        assert reader.state_content(scene.room, "m.room.topic")["topic"] == topic, name
        assert {event["content"]["topic"] for event in reader.state(scene.room) if "topic" in event["content"]} == {
            topic
        }
        members = reader.members(scene.room)
        assert members[alice.user_id] == "join", name
        assert reader.get(f"{base}/joined_members", expect={200, 403}).status == (200 if name == "late" else 403), name


def test_sync_keeps_to_the_history_visibility(alice: MatrixClient, new_user: NewUser) -> None:
    for visibility in ("shared", "invited", "joined"):
        scene = Scene(alice, new_user, visibility)
        section = scene.readers["late"].sync(filter={"room": {"timeline": {"limit": 50}}})["rooms"]["join"][scene.room]
        wanted = set((SEEN[visibility]["late"] or "").split())
        assert scene.named(section["timeline"]["events"]) == wanted
        gone = {"room": {"include_leave": True, "timeline": {"limit": 50}}}
        section = scene.readers["gone"].sync(filter=gone)["rooms"]["leave"][scene.room]
        assert "after" not in scene.named(section["timeline"]["events"])
        invited = scene.readers["invited"].sync()["rooms"]
        assert "join" not in invited
        assert set(invited["invite"][scene.room]["invite_state"]) == {"events"}
        assert "rooms" not in scene.readers["stranger"].sync().json
