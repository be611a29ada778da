"""What users see of somebody who was erased, on both engines: who joins afterwards gets redacted copies."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.core.filters import parse_filter, parse_room_event_filter
from matrixd.queries.erased_users import ErasedUsers
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.members import MembersRequest
from matrixd.queries.relations import RelationsRequest
from matrixd.queries.sync.load import RoomAsk, load
from matrixd.queries.timeline_pages import PageRequest
from matrixd.storage import room_members, rooms
from tests.support.database import OpenDatabase
from tests.support.rooms import RoomWorld, user_id

GONE = user_id("gone")


@pytest.fixture
def world(db: OpenDatabase) -> RoomWorld:
    return RoomWorld(db)


@pytest.fixture
def room(world: RoomWorld) -> str:
    """A room where old was before gone was erased, and new came later."""
    room = world.room("gone", "old")
    world.set_state(room, "gone", "m.room.topic", {"topic": "secret"})
    world.member(room, "gone", "join", displayname="Secret name")
    said = world.send(room, "gone", "secret words")
    world.relate(room, "gone", "m.replace", said, **{"m.new_content": {"msgtype": "m.text", "body": "secret edit"}})
    root = world.send(room, "old", "thread")
    world.relate(room, "gone", "m.thread", root)
    world.erase("gone")
    world.member(room, "gone", "leave")
    world.member(room, "new", "join")
    return room


def history(world: RoomWorld, viewer: Viewer, room: str, **event_filter: Any) -> Any:
    request = PageRequest(True, None, None, 100, parse_room_event_filter(event_filter))
    return world.json(world.history.messages(viewer, room, request))


def of_gone(events: Any) -> list[dict[str, Any]]:
    return [event["content"] for event in events if event["sender"] == GONE and event["type"] == "m.room.message"]


def test_those_who_were_there_still_see_everything(world: RoomWorld, room: str) -> None:
    old = world.viewer("old")
    shown = history(world, old, room)["chunk"]
    assert all("body" in content for content in of_gone(shown))
    assert "secret edit" in str(shown)
    assert world.json(world.state.content(old, room, "m.room.topic", "")) == {"topic": "secret"}


def test_who_came_away_and_back_still_sees_everything(world: RoomWorld, room: str) -> None:
    world.member(room, "old", "leave")
    world.member(room, "old", "join")
    assert "secret words" in str(history(world, world.viewer("old"), room)["chunk"])


def test_who_came_later_sees_redacted_copies(world: RoomWorld, room: str) -> None:
    new = world.viewer("new")
    answer = history(world, new, room)
    assert of_gone(answer["chunk"]) == [{}, {}, {}]
    assert "ecret" not in str(answer)
    (topic,) = (event for event in answer["chunk"] if event["type"] == "m.room.topic")
    assert topic["content"] == {}
    assert "redacted_because" not in topic["unsigned"]
    (said,) = (event for event in answer["chunk"] if event["content"].get("body") == "thread")
    assert said["unsigned"]["m.relations"]["m.thread"]["latest_event"]["content"] == {}


def test_single_events_contexts_and_relations_are_redacted_too(world: RoomWorld, room: str) -> None:
    new, old = world.viewer("new"), world.viewer("old")
    secret = next(event for event in history(world, old, room)["chunk"] if "secret words" in str(event["content"]))
    event_id = secret["event_id"]
    assert world.json(world.history.event(new, room, event_id))["content"] == {}
    assert world.json(world.history.event(old, room, event_id))["content"] != {}
    everything = parse_room_event_filter({})
    assert "ecret" not in str(world.json(world.history.context(new, room, event_id, 20, everything)))
    children = RelationsRequest(None, None, False, True, None, None, 10)
    relations = world.json(world.history.relations(new, room, event_id, children))
    assert [event["content"] for event in relations["chunk"]] == [{}]


def test_state_and_members_are_redacted_and_memberships_stay(world: RoomWorld, room: str) -> None:
    new = world.viewer("new")
    state = world.json(world.state.everything(new, room))
    assert "ecret" not in str(state)
    assert world.json(world.state.content(new, room, "m.room.topic", "")) == {}
    assert world.json(world.state.event(new, room, "m.room.topic", ""))["content"] == {}
    members = world.json(world.members.events(new, room, MembersRequest()))["chunk"]
    found = {event["state_key"]: event["content"]["membership"] for event in members}
    assert found == {GONE: "leave", user_id("old"): "join", user_id("new"): "join"}
    lazy = history(world, new, room, types=["m.room.message"], lazy_load_members=True)
    assert "ecret" not in str(lazy["state"])


def test_what_a_state_event_replaced_is_redacted_too(world: RoomWorld) -> None:
    room = world.room("admin", "gone")
    world.set_state(room, "admin", "m.room.power_levels", {"state_default": 0})
    world.set_state(room, "gone", "m.room.topic", {"topic": "secret"})
    world.erase("gone")
    world.member(room, "new", "join")
    world.set_state(room, "admin", "m.room.topic", {"topic": "open"})
    for name, before in (("admin", {"topic": "secret"}), ("new", {})):
        (topic,) = history(world, world.viewer(name), room, types=["m.room.topic"])["chunk"][:1]
        assert topic["content"] == {"topic": "open"}
        assert topic["unsigned"]["prev_content"] == before


def test_those_who_never_joined_see_redacted_copies(world: RoomWorld) -> None:
    room = world.room("admin", "gone", visibility="world_readable")
    world.send(room, "gone", "secret")
    peeking = world.viewer("peeking")
    assert "secret" in str(history(world, peeking, room))
    world.erase("gone")
    assert "secret" not in str(history(world, peeking, room))


def test_nobody_else_is_redacted(world: RoomWorld, room: str) -> None:
    world.send(room, "old", "still here")
    assert "still here" in str(history(world, world.viewer("new"), room))


def test_sync_reads_the_same(world: RoomWorld, room: str) -> None:
    for name, is_hidden in (("old", False), ("new", True)):
        viewer = world.viewer(name)
        room_nid = world.db.read(rooms.nid, room)
        assert room_nid is not None
        member = world.db.read(room_members.one, room_nid, viewer.user_nid)
        assert member is not None
        ask = RoomAsk(
            room_nid, viewer, -1, world.newest(), 50, parse_filter({}).room.timeline, member.pos, None,
            True, False, False, False,
        )  # fmt: skip
        loaded = world.db.read(load, [ask])
        shown = world.client_events.assemble(loaded.histories, loaded.rooms[0].timeline, loaded.details)
        assert (b"secret" not in b"".join(shown)) == is_hidden
        topic = loaded.rooms[0].state["m.room.topic", ""]
        assert (loaded.state_details.as_shown(topic).event.content == {}) == is_hidden


def test_erasures_outlive_a_restart(world: RoomWorld, room: str) -> None:
    position = world.erased_users.positions[GONE]
    again = ErasedUsers(world.db.database, world.feed)
    assert again.positions == {}
    world.run(again.load())
    assert again.positions == {GONE: position}


def test_an_erased_sender_hides_no_errors(world: RoomWorld, room: str) -> None:
    with pytest.raises(MatrixError, match="no state"):
        world.run(world.state.content(world.viewer("new"), room, "m.room.name", ""))
