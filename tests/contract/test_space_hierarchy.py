"""The tree of a space as users see it, on both engines: order, who may see what, pages, other servers' rooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.core.versions import ROOM_VERSIONS
from matrixd.queries import space_hierarchy
from matrixd.queries.space_hierarchy import HierarchyRequest, SpaceHierarchy
from matrixd.queries.user_rooms import UserRoomsIndex
from matrixd.services.room_lanes import Draft
from matrixd.util.lru import CacheBudget
from tests.support.database import OpenDatabase
from tests.support.rooms import RoomWorld, user_id


class SpaceWorld(RoomWorld):
    """Rooms, spaces, and other servers that say what the test tells them to."""

    def __init__(self, db: OpenDatabase) -> None:
        super().__init__(db)
        self.told: dict[str, Mapping[str, Any]] = {}
        self.asked: list[tuple[str, tuple[str, ...], bool]] = []
        self.hierarchy = self.hierarchies()

    def hierarchies(self) -> SpaceHierarchy:
        """The query, as after a restart."""
        budget = CacheBudget(2**24)
        return SpaceHierarchy(
            self.db.database, UserRoomsIndex(self.db.database, self.feed, budget), self.clock, budget, self._ask
        )

    async def _ask(self, room_id: str, servers: Sequence[str], suggested_only: bool) -> Mapping[str, Any] | None:
        self.asked.append((room_id, tuple(servers), suggested_only))
        return self.told.get(room_id)

    def page(self, name: str, room: str, **request: Any) -> dict[str, Any]:
        """A page of what a user sees."""
        user_nid = self.viewer(name).user_nid
        return self.run(self.hierarchy.page(user_nid, HierarchyRequest(room, **request)))

    def tree(self, name: str, room: str, **request: Any) -> list[str]:
        """The IDs of all rooms that a user sees."""
        page = self.page(name, room, **request)
        found = [entry["room_id"] for entry in page["rooms"]]
        if "next_batch" in page:
            found += self.tree(name, room, **{**request, "since": page["next_batch"]})
        return found

    def error(self, name: str, room: str, **request: Any) -> tuple[int, str]:
        """What a user is refused with."""
        with pytest.raises(MatrixError) as caught:
            self.page(name, room, **request)
        return caught.value.status, caught.value.errcode

    def space(self, rule: str = "public", **state: Any) -> str:
        """A new space of alice."""
        return self.made({"type": "m.space"}, rule, **state)

    def made(self, create: Mapping[str, Any] | None = None, rule: str = "public", **state: Any) -> str:
        """A new room of alice; `state` has contents by the end of their type's name."""
        alice = user_id("alice")
        drafts = [
            Draft(alice, "m.room.create", {"room_version": "11", **(create or {})}, ""),
            Draft(alice, "m.room.member", {"membership": "join"}, alice),
            Draft(alice, "m.room.join_rules", {"join_rule": rule, **state.pop("join_rules", {})}, ""),
            *(Draft(alice, f"m.room.{name}", content, "") for name, content in state.items()),
        ]
        self._tick()
        room_id, _ = self.run(self.lanes.create(ROOM_VERSIONS["11"], f"!r{self.clock.ms}:example.org", drafts))
        return room_id

    def child(self, space: str, room: str, **content: Any) -> None:
        """List a room in a space."""
        self.set_state(space, "alice", "m.space.child", {"via": ["example.org"], **content}, room)


def remote(room_id: str, children: Sequence[str] = (), **summary: Any) -> dict[str, Any]:
    """What another server says of a room."""
    return {
        "room_id": room_id, "num_joined_members": 3, "world_readable": False, "guest_can_join": False,
        "join_rule": "public", **summary,
        "children_state": [
            {"type": "m.space.child", "state_key": child, "content": {"via": ["far.example"]},
             "sender": "@f:far.example", "origin_server_ts": number}
            for number, child in enumerate(children)
        ],
    }  # fmt: skip


def answer(room: dict[str, Any], children: Sequence[dict[str, Any]] = (), hidden: Sequence[str] = ()) -> dict[str, Any]:
    """An answer to `/hierarchy` of another server."""
    return {"room": room, "children": list(children), "inaccessible_children": list(hidden)}


FAR, FAR_ROOM, FAR_SPACE, FAR_SECRET = "!far:far.example", "!room:far.example", "!space:far.example", "!no:far.example"


@pytest.fixture
def world(db: OpenDatabase) -> SpaceWorld:
    return SpaceWorld(db)


def test_the_tree_is_walked_depth_first_in_the_order_of_children(world: SpaceWorld) -> None:
    root, inner, first, second, third = world.space(), world.space(), world.made(), world.made(), world.made()
    world.child(root, second)
    world.child(root, inner, order="b")
    world.child(root, first, order="a")
    world.child(inner, third)
    world.child(inner, root)
    world.child(first, second)
    assert world.tree("alice", root) == [root, first, inner, third, second]
    assert world.tree("alice", root, limit=2) == [root, first, inner, third, second]
    assert world.tree("alice", root, max_depth=1) == [root, first, inner, second]
    assert world.tree("alice", root, max_depth=0) == [root]
    entries = {entry["room_id"]: entry for entry in world.page("alice", root)["rooms"]}
    assert [child["state_key"] for child in entries[root]["children_state"]] == [first, inner, second]
    assert entries[first]["children_state"] == []
    child = entries[inner]["children_state"][0]
    assert child.keys() == {"type", "state_key", "content", "sender", "origin_server_ts"}
    assert (entries[root]["room_type"], entries[root]["room_version"]) == ("m.space", "11")


def test_what_is_no_child_is_left_out(world: SpaceWorld) -> None:
    root, room, other = world.space(), world.made(), world.made()
    world.child(root, room, suggested=True)
    world.child(root, other)
    world.child(root, "no room")
    assert world.tree("alice", root, suggested_only=True) == [root, room]
    world.set_state(root, "alice", "m.space.child", {}, room)
    world.set_state(root, "alice", "m.space.child", {"via": "example.org"}, other)
    assert world.tree("alice", root) == [root]


def test_who_may_see_which_room(world: SpaceWorld) -> None:
    root, club = world.space(), world.made(rule="invite")
    rooms = {
        "public": world.made(), "invite": world.made(rule="invite"), "knock": world.made(rule="knock"),
        "readable": world.made(rule="invite", history_visibility={"history_visibility": "world_readable"}),
        "restricted": world.made(
            rule="restricted", join_rules={"allow": [{"type": "m.room_membership", "room_id": club}]}
        ),
        "banned": world.made(),
    }  # fmt: skip
    for room in rooms.values():
        world.child(root, room)
    world.member(rooms["banned"], "bob", "ban", by="alice")

    def seen(name: str) -> set[str]:
        shown = set(world.tree(name, root))
        return {label for label, room in rooms.items() if room in shown}

    assert seen("alice") == set(rooms)
    assert seen("bob") == {"public", "knock", "readable"}
    world.member(rooms["invite"], "bob", "invite", by="alice")
    world.member(club, "bob", "invite", by="alice")
    world.member(club, "bob", "join")
    assert seen("bob") == {"public", "knock", "readable", "invite", "restricted"}
    assert world.error("bob", rooms["banned"]) == (403, "M_FORBIDDEN")
    assert world.error("carol", rooms["invite"]) == (403, "M_FORBIDDEN")
    assert world.error("carol", "!unknown:example.org") == (403, "M_FORBIDDEN")


def test_tokens(world: SpaceWorld) -> None:
    root = world.space()
    rooms = [world.made() for _ in range(5)]
    for room in rooms:
        world.child(root, room)
    page = world.page("alice", root, limit=2, max_depth=3)
    token = page["next_batch"]
    assert [entry["room_id"] for entry in page["rooms"]] == [root, rooms[0]]
    following = world.page("alice", root, limit=2, since=token)
    assert [entry["room_id"] for entry in following["rooms"]] == rooms[1:3]
    assert world.page("alice", root, limit=2, since=token) == following
    world.hierarchy = world.hierarchies()
    assert world.page("alice", root, limit=2, since=token, max_depth=3) == following
    last = world.page("alice", root, limit=2, since=following["next_batch"])
    assert ([entry["room_id"] for entry in last["rooms"]], "next_batch" in last) == (rooms[3:], False)
    invalid = (400, "M_INVALID_PARAM")
    assert world.error("alice", root, since=token, max_depth=2) == invalid
    assert world.error("alice", root, since=token, suggested_only=True) == invalid
    for wrong in ("", "x", "h1", "h999999_1_0", "h1_999_0", "h-1_1_0"):
        assert world.error("alice", root, since=wrong) == invalid


def test_rooms_of_other_servers(world: SpaceWorld) -> None:
    root, known = world.space(), world.made()
    world.child(root, FAR, via=["far.example", "near.example"])
    told = [
        remote(FAR_ROOM), remote(FAR_SPACE, room_type="m.space"), remote(known, name="a lie"),
        remote("!closed:far.example", join_rule="invite"),
    ]  # fmt: skip
    listed = [FAR_ROOM, FAR_SPACE, known, FAR_SECRET, "!closed:far.example"]
    world.told[FAR] = answer(remote(FAR, listed, room_type="m.space", name="Far"), told, [FAR_SECRET])
    world.told[FAR_SPACE] = answer(remote(FAR_SPACE, ["!deep:far.example"], room_type="m.space"))
    found = world.page("bob", root)["rooms"]
    assert [entry["room_id"] for entry in found] == [root, FAR, FAR_ROOM, FAR_SPACE, known]
    assert [entry.get("name") for entry in found] == [None, "Far", None, None, None]
    assert [room_id for room_id, _, _ in world.asked] == [FAR, FAR_SPACE, "!deep:far.example"]
    assert world.asked[0] == (FAR, ("far.example", "near.example"), False)
    world.page("carol", root)
    assert len(world.asked) == 3, "what others say is kept"
    world.clock.ms += 100_000
    world.page("carol", root)
    assert [room_id for room_id, _, _ in world.asked[3:]] == ["!deep:far.example"], "and that nobody answered, shorter"


def test_a_remote_room_may_be_the_first(world: SpaceWorld) -> None:
    world.told[FAR] = answer(remote(FAR, [FAR_ROOM], room_type="m.space"))
    assert world.tree("bob", FAR) == [FAR]
    assert world.asked[0] == (FAR, ("far.example",), False)
    world.told[FAR_ROOM] = answer(remote(FAR_ROOM))
    world.clock.ms += 100_000
    assert world.tree("bob", FAR) == [FAR, FAR_ROOM]


@pytest.mark.parametrize(
    "wrong",
    [
        None, [], {}, {"room": 5}, answer(remote(FAR_ROOM)), answer({**remote(FAR), "num_joined_members": "x"}),
        answer({**remote(FAR), "world_readable": None}),
    ],
)  # fmt: skip
def test_nonsense_of_others_is_no_answer(world: SpaceWorld, wrong: Any) -> None:
    root = world.space()
    world.child(root, FAR)
    world.told[FAR] = wrong
    assert world.tree("bob", root) == [root]


def test_nonsense_in_an_answer_is_left_out(world: SpaceWorld) -> None:
    room = {**remote(FAR, [FAR_ROOM], room_type="m.space"), "name": 5, "topic": "t" * 100_000, "more": "x"}
    room["children_state"] += [5, {"type": "m.space.child", "state_key": FAR_SPACE}, {"type": "x"}]
    world.told[FAR] = {"room": room, "children": [5, {"room_id": FAR_ROOM}, remote(FAR_ROOM)], "more": 1}
    found = world.page("bob", FAR)["rooms"]
    assert [entry["room_id"] for entry in found] == [FAR, FAR_ROOM]
    assert {"name", "topic", "more"} & found[0].keys() == set()
    assert len(found[0]["children_state"]) == 1


def test_few_are_asked_for_one_page(world: SpaceWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_hierarchy, "_MAX_ASKED", 2)
    root, last = world.space(), world.made()
    far = [f"!{number}:far.example" for number in range(5)]
    for room in (*far, last):
        world.child(root, room)
    page = world.page("alice", root)
    assert ([entry["room_id"] for entry in page["rooms"]], len(world.asked)) == ([root], 2)
    assert world.tree("alice", root) == [root, last]
    assert len(world.asked) == 5


def test_summaries(world: SpaceWorld) -> None:
    encryption = {"algorithm": "m.megolm.v1.aes-sha2"}
    room = world.made(name={"name": "Room"}, topic={"topic": "Topic"}, encryption=encryption)
    summary = world.run(world.hierarchy.summary(world.viewer("bob").user_nid, room, []))
    assert summary == {
        "room_id": room, "name": "Room", "topic": "Topic", "num_joined_members": 1, "world_readable": False,
        "guest_can_join": False, "join_rule": "public", "encryption": "m.megolm.v1.aes-sha2", "room_version": "11",
        "membership": "leave",
    }  # fmt: skip
    assert world.run(world.hierarchy.summary(world.viewer("alice").user_nid, room, []))["membership"] == "join"
    world.told[FAR] = answer(remote(FAR, name="Far"))
    summary = world.run(world.hierarchy.summary(world.viewer("bob").user_nid, FAR, ["via.example"]))
    assert (summary["name"], "children_state" in summary) == ("Far", False)
    assert world.asked == [(FAR, ("via.example", "far.example"), False)]
    with pytest.raises(MatrixError) as caught:
        world.run(world.hierarchy.summary(world.viewer("bob").user_nid, FAR_SECRET, []))
    assert (caught.value.status, caught.value.errcode) == (404, "M_NOT_FOUND")
