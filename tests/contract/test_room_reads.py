"""What users read of rooms, on both engines: visibility, pages, contexts, state, members, relations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.core.filters import EventFilter, parse_room_event_filter
from matrixd.core.streams import RoomToken
from matrixd.queries import history_tokens
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.members import MembersRequest
from matrixd.queries.relations import RelationsRequest
from matrixd.queries.timeline_pages import PageRequest
from tests.support.database import OpenDatabase
from tests.support.rooms import RoomWorld, txn_key, user_id

EVERYTHING = EventFilter()


@pytest.fixture
def world(db: OpenDatabase) -> RoomWorld:
    return RoomWorld(db)


def page(
    world: RoomWorld,
    viewer: Viewer,
    room: str,
    direction: str = "b",
    start: str | None = None,
    end: str | None = None,
    limit: int = 100,
    **event_filter: Any,
) -> Any:
    request = PageRequest(
        direction == "b",
        history_tokens.parsed(start, "from", world.newest()),
        history_tokens.parsed(end, "to", world.newest()),
        limit,
        parse_room_event_filter(event_filter) if event_filter else EVERYTHING,
    )
    return world.json(world.history.messages(viewer, room, request))


def pages(world: RoomWorld, viewer: Viewer, room: str, direction: str, limit: int) -> Iterator[dict[str, Any]]:
    start = None
    for _ in range(100):
        answer = page(world, viewer, room, direction, start, limit=limit)
        yield from answer["chunk"]
        start = answer.get("end")
        if start is None:
            return
    raise AssertionError("pages without end")


def ids(events: Any) -> list[str]:
    return [event["event_id"] for event in events]


def children(world: RoomWorld, viewer: Viewer, room: str, event: str, **wanted: Any) -> Any:
    given = {
        "rel_type": None, "event_type": None, "recurse": False, "backwards": True, "start": None, "end": None,
        "limit": 50, **wanted,
    }  # fmt: skip
    return world.json(world.history.relations(viewer, room, event, RelationsRequest(**given)))


def seen(world: RoomWorld, viewer: Viewer, room: str, event: str) -> Any:
    return world.json(world.history.event(viewer, room, event))


def is_seen(world: RoomWorld, viewer: Viewer, room: str, event: str) -> bool:
    try:
        seen(world, viewer, room, event)
    except MatrixError as error:
        if (error.status, error.errcode) != (404, "M_NOT_FOUND"):
            raise
        return False
    return True


def relations_of(world: RoomWorld, viewer: Viewer, room: str, event: str) -> Any:
    return seen(world, viewer, room, event)["unsigned"].get("m.relations", {})


class TestPages:
    @pytest.mark.parametrize("limit", [1, 3, 7, 100])
    def test_pages_hold_every_event_once_in_both_directions(self, world: RoomWorld, limit: int) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        other = world.room("alice")
        for number in range(9):
            world.send(room, "alice", f"{number}")
            world.send(other, "alice", f"{number}")
        backwards = list(pages(world, alice, room, "b", limit))
        forwards = list(pages(world, alice, room, "f", limit))
        assert ids(forwards) == ids(backwards)[::-1]
        assert len(set(ids(forwards))) == 13
        assert [event["content"]["body"] for event in forwards[-9:]] == [str(number) for number in range(9)]
        assert {event["room_id"] for event in forwards} == {room}

    def test_backwards_an_empty_page_is_the_last(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        whole = page(world, alice, room, limit=4)
        assert len(whole["chunk"]) == 4
        nothing = page(world, alice, room, start=whole["end"])
        assert nothing["chunk"] == []
        assert "end" not in nothing

    def test_forwards_an_empty_page_is_the_last(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        end = page(world, alice, room, "f", limit=4)["end"]
        assert "end" not in page(world, alice, room, "f", end)
        message = world.send(room, "alice", "later")
        assert ids(page(world, alice, room, "f", end)["chunk"]) == [message]

    def test_a_sync_token_begins_where_the_sync_ended(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        first = world.send(room, "alice", "first")
        token = f"s{world.newest()}_0_0"
        second = world.send(room, "alice", "second")
        assert ids(page(world, alice, room, "b", token, limit=1)["chunk"]) == [first]
        assert ids(page(world, alice, room, "f", token)["chunk"]) == [second]

    def test_to_ends_a_page(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        before = str(RoomToken(None, world.newest()))
        sent = [world.send(room, "alice", f"{number}") for number in range(4)]
        middle = page(world, alice, room, limit=2)["end"]
        assert ids(page(world, alice, room, "b", end=before)["chunk"]) == sent[::-1]
        assert ids(page(world, alice, room, "b", middle, before)["chunk"]) == sent[1::-1]
        assert ids(page(world, alice, room, "f", before, middle)["chunk"]) == sent[:2]

    def test_a_token_of_another_room_is_refused(self, world: RoomWorld) -> None:
        room, other, alice = world.room("alice"), world.room("alice"), world.viewer("alice")
        for _ in range(5):
            world.send(other, "alice", "hello")
        token = page(world, alice, other, limit=2)["end"]
        with pytest.raises(MatrixError) as caught:
            page(world, alice, room, start=token)
        assert (caught.value.status, caught.value.errcode) == (400, "M_INVALID_PARAM")
        assert "'from'" in caught.value.error

    def test_a_token_from_the_future_is_refused(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        for token in (f"s{world.newest() + 1}", f"t5-{world.newest() + 1}", "nonsense"):
            with pytest.raises(MatrixError) as caught:
                page(world, alice, room, end=token)
            assert caught.value.errcode == "M_INVALID_PARAM"

    def test_filters_by_type_sender_and_url(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        alice = world.viewer("alice")
        plain = world.send(room, "alice", "plain")
        image = world.send(room, "bob", {"msgtype": "m.image", "body": "x", "url": "mxc://x/y"})
        other = world.send(room, "bob", {}, "org.example.other")
        assert ids(page(world, alice, room, types=["m.room.message"])["chunk"]) == [image, plain]
        assert ids(page(world, alice, room, types=["m.room.message"], limit=1)["chunk"]) == [image]
        assert ids(page(world, alice, room, contains_url=True)["chunk"]) == [image]
        assert ids(page(world, alice, room, senders=[user_id("bob")], not_types=["m.room.*"])["chunk"]) == [other]
        assert page(world, alice, room, types=[])["chunk"] == []

    def test_lazy_loading_tells_the_senders(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob", "carol")
        world.member(room, "bob", "join", displayname="Bob")
        world.send(room, "bob", "hello")
        answer = page(world, world.viewer("alice"), room, limit=1, lazy_load_members=True)
        assert [(event["state_key"], event["content"].get("displayname")) for event in answer["state"]] == [
            (user_id("bob"), "Bob")
        ]
        assert "state" not in page(world, world.viewer("alice"), room, limit=1)

    def test_who_has_left_reads_up_to_there(self, world: RoomWorld) -> None:
        room, bob = world.room("alice", "bob"), world.viewer("bob")
        last = world.send(room, "alice", "before")
        token = f"s{world.newest()}"
        left = world.member(room, "bob", "leave")
        after = world.send(room, "alice", "after")
        assert ids(page(world, bob, room, limit=2)["chunk"]) == [left, last]
        assert ids(page(world, bob, room, "f", token)["chunk"]) == [left]
        assert page(world, bob, room, "f", f"s{world.newest()}")["chunk"] == []
        assert not is_seen(world, bob, room, after)
        world.set_state(room, "alice", "m.room.history_visibility", {"history_visibility": "world_readable"})
        now = world.send(room, "alice", "for all")
        assert ids(page(world, bob, room, limit=1)["chunk"]) == [now]
        assert not is_seen(world, bob, room, after)

    def test_a_stranger_may_not_look_into_a_room(self, world: RoomWorld) -> None:
        room, eve = world.room("alice"), world.viewer("eve")
        for place in (room, "!nowhere:example.org"):
            with pytest.raises(MatrixError) as caught:
                page(world, eve, place)
            assert (caught.value.status, caught.value.errcode) == (403, "M_FORBIDDEN")

    def test_the_world_reads_what_is_for_the_world(self, world: RoomWorld) -> None:
        room, eve = world.room("alice"), world.viewer("eve")
        hidden = world.send(room, "alice", "hidden")
        world.set_state(room, "alice", "m.room.history_visibility", {"history_visibility": "world_readable"})
        shown = world.send(room, "alice", "shown")
        found = ids(page(world, eve, room)["chunk"])
        assert shown in found
        assert hidden not in found


class TestVisibility:
    @pytest.mark.parametrize(
        ("visibility", "before", "after_invite"),
        [("shared", True, True), ("invited", False, True), ("joined", False, False), ("world_readable", True, True)],
    )
    def test_what_a_new_member_sees(
        self, world: RoomWorld, visibility: str, before: bool, after_invite: bool
    ) -> None:
        room, bob = world.room("alice", visibility=visibility), world.viewer("bob")
        first = world.send(room, "alice", "before")
        world.member(room, "bob", "invite", by="alice")
        second = world.send(room, "alice", "after the invite")
        world.member(room, "bob", "join")
        third = world.send(room, "alice", "after the join")
        found = ids(page(world, bob, room)["chunk"])
        assert [first in found, second in found, third in found] == [before, after_invite, True]
        assert [is_seen(world, bob, room, event) for event in (first, second, third)] == [before, after_invite, True]

    def test_who_comes_back_sees_both_stays_and_not_the_time_between(self, world: RoomWorld) -> None:
        room, bob = world.room("alice", "bob", visibility="joined"), world.viewer("bob")
        first = world.send(room, "alice", "first stay")
        world.member(room, "bob", "leave")
        between = world.send(room, "alice", "between")
        world.member(room, "bob", "join")
        second = world.send(room, "alice", "second stay")
        assert [is_seen(world, bob, room, event) for event in (first, between, second)] == [True, False, True]
        found = ids(page(world, bob, room)["chunk"])
        assert [event in found for event in (first, between, second)] == [True, False, True]

    def test_ignored_users_are_not_heard_but_their_state_is(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        alice = world.viewer("alice", ignored=["bob"])
        said = world.send(room, "bob", "hello")
        joined = world.json(world.state.event(alice, room, "m.room.member", user_id("bob")))["event_id"]
        found = ids(page(world, alice, room)["chunk"])
        assert said not in found
        assert joined in found
        assert not is_seen(world, alice, room, said)

    def test_membership_says_what_the_reader_was(self, world: RoomWorld) -> None:
        room = world.room("alice")
        bob = world.viewer("bob")
        before = world.send(room, "alice", "before")
        world.member(room, "bob", "invite", by="alice")
        invited = world.send(room, "alice", "invited")
        joined = world.member(room, "bob", "join")
        after = world.send(room, "alice", "after")
        found = {event["event_id"]: event["unsigned"]["membership"] for event in page(world, bob, room)["chunk"]}
        assert [found[event] for event in (before, invited, joined, after)] == ["leave", "invite", "join", "join"]
        assert seen(world, bob, room, after)["unsigned"]["membership"] == "join"


class TestUnsigned:
    def test_age_and_transaction_id_of_the_device_that_sent_it(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        event = world.send(room, "alice", "hello", device_nid=7, txn_id=txn_key("m1\n2"))
        world.clock.ms += 250
        mine = seen(world, world.viewer("alice", device_nid=7), room, event)["unsigned"]
        assert mine["transaction_id"] == "m1\n2"
        assert mine["age"] == 250
        assert "transaction_id" not in seen(world, world.viewer("alice", device_nid=8), room, event)["unsigned"]
        assert "transaction_id" not in seen(world, world.viewer("bob", device_nid=7), room, event)["unsigned"]

    def test_state_says_what_it_replaced(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        old = world.set_state(room, "alice", "m.room.name", {"name": "old"})
        new = world.set_state(room, "alice", "m.room.name", {"name": "new"})
        for name in ("alice", "bob"):
            unsigned = seen(world, world.viewer(name), room, new)["unsigned"]
            assert (unsigned["prev_content"], unsigned["replaces_state"]) == ({"name": "old"}, old)
        assert "replaces_state" not in seen(world, world.viewer("alice"), room, old)["unsigned"]

    def test_prev_content_only_for_who_may_see_it(self, world: RoomWorld) -> None:
        hidden, shared = world.room("alice", visibility="joined"), world.room("alice")
        for room in (hidden, shared):
            old = world.set_state(room, "alice", "m.room.name", {"name": "old"})
            world.member(room, "bob", "join")
            new = world.set_state(room, "alice", "m.room.name", {"name": "new"})
            unsigned = seen(world, world.viewer("bob"), room, new)["unsigned"]
            assert unsigned["replaces_state"] == old
            assert ("prev_content" in unsigned) is (room == shared)

    def test_a_redacted_event_says_why(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        event = world.send(room, "alice", "secret")
        assert seen(world, alice, room, event)["content"]["body"] == "secret"
        redaction = world.redact(room, "alice", event)
        found = seen(world, alice, room, event)
        assert found["content"] == {}
        because = found["unsigned"]["redacted_because"]
        assert (because["event_id"], because["redacts"], because["room_id"]) == (redaction, event, room)

    def test_rows_of_the_feed_look_the_same(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        alice = world.viewer("alice", device_nid=7)
        world.set_state(room, "alice", "m.room.name", {"name": "old"})
        row = world.sent(
            room, "alice", {"name": "new"}, "m.room.name", state_key="", device_nid=7, txn_id=txn_key("x")
        )
        direct = world.client_events.render_row(alice, row, with_room_id=True)
        assert direct == world.run(world.history.event(alice, room, row.event.event_id))
        leave = world.sent(room, "bob", {"membership": "leave"}, "m.room.member", state_key=user_id("bob"))
        assert b'"membership":"leave","' in world.client_events.render_row(world.viewer("bob"), leave)

    def test_what_was_redacted_does_not_come_back_from_memory(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        name = world.sent(room, "alice", {"name": "secret"}, "m.room.name", state_key="")
        after = world.sent(room, "alice", {"name": "public"}, "m.room.name", state_key="")
        for row in (name, after):
            assert b"secret" in world.client_events.render_row(alice, row)
        world.redact(room, "alice", name.event.event_id)
        for event in (name, after):
            assert b"secret" not in world.run(world.history.event(alice, room, event.event.event_id))


class TestAggregations:
    def test_the_latest_valid_edit_is_bundled(self, world: RoomWorld) -> None:
        room, alice = world.room("alice", "bob"), world.viewer("alice")
        event = world.send(room, "alice", "original")
        world.relate(room, "alice", "m.replace", event, **{"m.new_content": {"body": "first"}})
        latest = world.relate(room, "alice", "m.replace", event, **{"m.new_content": {"body": "second"}})
        world.relate(room, "bob", "m.replace", event, **{"m.new_content": {"body": "forged"}})
        world.relate(room, "alice", "m.replace", event)
        assert relations_of(world, alice, room, event)["m.replace"]["event_id"] == latest
        world.redact(room, "alice", latest)
        edit = relations_of(world, alice, room, event)["m.replace"]
        assert edit["content"]["m.new_content"] == {"body": "first"}
        world.redact(room, "alice", event)
        assert "m.replace" not in relations_of(world, alice, room, event)

    def test_a_thread_is_summed_up_for_its_reader(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob", "carol")
        root = world.send(room, "alice", "root")
        world.relate(room, "bob", "m.thread", root)
        latest = world.relate(room, "bob", "m.thread", root)
        edit = world.relate(room, "bob", "m.replace", latest, **{"m.new_content": {"body": "edited"}})
        for name, took_part in (("alice", True), ("bob", True), ("carol", False)):
            thread = relations_of(world, world.viewer(name), room, root)["m.thread"]
            assert (thread["count"], thread["current_user_participated"]) == (2, took_part)
            assert thread["latest_event"]["event_id"] == latest
            assert thread["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit

    def test_ignored_and_redacted_children_do_not_count(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        root = world.send(room, "alice", "root")
        first = world.relate(room, "alice", "m.thread", root)
        second = world.relate(room, "alice", "m.thread", root)
        world.relate(room, "bob", "m.thread", root)
        thread = relations_of(world, world.viewer("alice", ignored=["bob"]), room, root)["m.thread"]
        assert (thread["count"], thread["latest_event"]["event_id"]) == (2, second)
        world.redact(room, "alice", second)
        thread = relations_of(world, world.viewer("alice", ignored=["bob"]), room, root)["m.thread"]
        assert (thread["count"], thread["latest_event"]["event_id"]) == (1, first)

    def test_references_are_listed_and_those_of_other_rooms_not(self, world: RoomWorld) -> None:
        room, other, alice = world.room("alice"), world.room("alice"), world.viewer("alice")
        event = world.send(room, "alice", "event")
        found = [world.relate(room, "alice", "m.reference", event) for _ in range(3)]
        for rel_type in ("m.reference", "m.thread"):
            world.relate(other, "alice", rel_type, event)
        world.relate(other, "alice", "m.replace", event, **{"m.new_content": {"body": "forged"}})
        relations = relations_of(world, alice, room, event)
        assert relations == {"m.reference": {"chunk": [{"event_id": event_id} for event_id in found]}}

    def test_only_children_that_the_reader_may_see_count(self, world: RoomWorld) -> None:
        room, bob = world.room("alice", "bob", visibility="joined"), world.viewer("bob")
        root = world.send(room, "alice", "root")
        first = world.relate(room, "alice", "m.thread", root)
        world.member(room, "bob", "leave")
        world.relate(room, "alice", "m.thread", root)
        thread = relations_of(world, bob, room, root)["m.thread"]
        assert (thread["count"], thread["latest_event"]["event_id"]) == (1, first)
        world.member(room, "bob", "join")
        last = world.relate(room, "alice", "m.thread", root)
        thread = relations_of(world, bob, room, root)["m.thread"]
        assert (thread["count"], thread["latest_event"]["event_id"]) == (2, last)

    def test_state_gets_no_aggregations(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        name = world.set_state(room, "alice", "m.room.name", {"name": "x"})
        world.relate(room, "alice", "m.thread", name)
        assert relations_of(world, alice, room, name) == {}


class TestRelations:
    def test_children_by_type_in_pages(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        event = world.send(room, "alice", "event")
        thread = [world.relate(room, "alice", "m.thread", event) for _ in range(5)]
        content = {"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": "x"}}
        reaction = world.send(room, "alice", content, "m.reaction")
        assert ids(children(world, alice, room, event)["chunk"]) == [reaction, *thread[::-1]]
        assert ids(children(world, alice, room, event, event_type="m.reaction")["chunk"]) == [reaction]
        first = children(world, alice, room, event, rel_type="m.thread", limit=3)
        assert ids(first["chunk"]) == thread[:1:-1]
        token = RoomToken.parse(first["next_batch"])
        second = children(world, alice, room, event, rel_type="m.thread", limit=3, start=token)
        assert ids(second["chunk"]) == thread[1::-1]
        assert "next_batch" not in second
        assert "recursion_depth" not in second
        assert second["prev_batch"] == first["next_batch"]
        forwards = children(world, alice, room, event, rel_type="m.thread", backwards=False, limit=2)
        assert ids(forwards["chunk"]) == thread[:2]
        token = RoomToken.parse(forwards["next_batch"])
        rest = children(world, alice, room, event, rel_type="m.thread", backwards=False, start=token)
        assert ids(rest["chunk"]) == thread[2:]

    def test_indirect_relations(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        chain = [world.send(room, "alice", "event")]
        for _ in range(4):
            chain.append(world.relate(room, "alice", "m.reference", chain[-1]))
        answer = children(world, alice, room, chain[0], recurse=True)
        assert ids(answer["chunk"]) == chain[3:0:-1]
        assert answer["recursion_depth"] == 3
        assert ids(children(world, alice, room, chain[0])["chunk"]) == [chain[1]]

    def test_an_event_that_is_not_to_be_seen_is_not_found(self, world: RoomWorld) -> None:
        room = world.room("alice")
        event = world.send(room, "alice", "event")
        for viewer, event_id in ((world.viewer("eve"), event), (world.viewer("alice"), "$nothing")):
            with pytest.raises(MatrixError) as caught:
                children(world, viewer, room, event_id)
            assert (caught.value.status, caught.value.errcode) == (404, "M_NOT_FOUND")

    def test_threads_come_by_their_newest_event(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        roots = [world.send(room, name, "root") for name in ("alice", "bob", "bob")]
        for root in roots:
            world.relate(room, "bob", "m.thread", root)
        world.relate(room, "alice", "m.thread", roots[1])

        def listed(name: str, **wanted: Any) -> Any:
            given = {"before": None, "limit": 10, "only_own": False, **wanted}
            ignored = given.pop("ignored", ())
            before, limit = given.pop("before"), given.pop("limit")
            viewer = world.viewer(name, ignored=ignored)
            return world.json(world.history.threads(viewer, room, before, limit, **given))

        assert ids(listed("alice")["chunk"]) == [roots[1], roots[2], roots[0]]
        assert ids(listed("alice", only_own=True)["chunk"]) == [roots[1], roots[0]]
        first = listed("alice", limit=1)
        rest = listed("alice", before=RoomToken.parse(first["next_batch"]))
        assert ids(first["chunk"] + rest["chunk"]) == [roots[1], roots[2], roots[0]]
        assert "next_batch" not in rest
        ignoring = listed("alice", ignored=["bob"])["chunk"]
        assert ids(ignoring) == [roots[1]]
        assert ignoring[0]["content"] == {}
        # What one reader does not want to see is there for all others.
        assert all(event["content"]["body"] == "root" for event in listed("bob")["chunk"])


class TestContext:
    def test_around_an_event(self, world: RoomWorld) -> None:
        room, alice = world.room("alice", "bob"), world.viewer("alice")
        sent = [world.send(room, "alice", f"{number}") for number in range(7)]
        world.set_state(room, "alice", "m.room.name", {"name": "later"})
        context = world.json(world.history.context(alice, room, sent[3], 4, EVERYTHING))
        assert ids(context["events_before"]) == [sent[2], sent[1]]
        assert context["event"]["event_id"] == sent[3]
        assert ids(context["events_after"]) == [sent[4], sent[5]]
        assert ids(page(world, alice, room, "b", context["start"], limit=1)["chunk"]) == [sent[0]]
        assert ids(page(world, alice, room, "f", context["end"], limit=1)["chunk"]) == [sent[6]]
        assert "m.room.name" not in {event["type"] for event in context["state"]}
        assert {event["state_key"] for event in context["state"] if event["type"] == "m.room.member"} == {
            user_id("alice"), user_id("bob"),
        }  # fmt: skip

    def test_lazy_loading_and_limit_zero(self, world: RoomWorld) -> None:
        room, alice = world.room("alice", "bob"), world.viewer("alice")
        event = world.send(room, "alice", "hello")
        lazy = parse_room_event_filter({"lazy_load_members": True})
        context = world.json(world.history.context(alice, room, event, 0, lazy))
        assert (context["events_before"], context["events_after"]) == ([], [])
        assert [e["state_key"] for e in context["state"] if e["type"] == "m.room.member"] == [user_id("alice")]
        assert "m.room.create" in {e["type"] for e in context["state"]}

    def test_who_may_not_see(self, world: RoomWorld) -> None:
        room, other = world.room("alice"), world.room("alice")
        event = world.send(room, "alice", "hello")
        cases = [("eve", room, 403, "M_FORBIDDEN"), ("alice", other, 404, "M_NOT_FOUND")]
        for name, place, status, errcode in cases:
            with pytest.raises(MatrixError) as caught:
                world.run(world.history.context(world.viewer(name), place, event, 10, EVERYTHING))
            assert (caught.value.status, caught.value.errcode) == (status, errcode)


class TestState:
    def test_now_and_as_of_leaving(self, world: RoomWorld) -> None:
        room, bob = world.room("alice", "bob"), world.viewer("bob")
        world.set_state(room, "alice", "m.room.name", {"name": "then"})
        world.member(room, "bob", "leave")
        world.set_state(room, "alice", "m.room.name", {"name": "now"})
        world.set_state(room, "alice", "m.room.topic", {"topic": "new"})
        then = {(e["type"], e["state_key"]): e["content"] for e in world.json(world.state.everything(bob, room))}
        assert then["m.room.name", ""] == {"name": "then"}
        assert then["m.room.member", user_id("bob")] == {"membership": "leave"}
        assert ("m.room.topic", "") not in then
        assert world.json(world.state.content(bob, room, "m.room.name", "")) == {"name": "then"}
        alice = world.viewer("alice")
        assert world.json(world.state.content(alice, room, "m.room.name", "")) == {"name": "now"}
        event = world.json(world.state.event(alice, room, "m.room.name", ""))
        assert (event["room_id"], event["unsigned"]["prev_content"]) == (room, {"name": "then"})

    def test_a_ban_after_leaving_changes_nothing(self, world: RoomWorld) -> None:
        room, bob = world.room("alice", "bob"), world.viewer("bob")
        world.member(room, "bob", "leave")
        world.set_state(room, "alice", "m.room.name", {"name": "later"})
        world.member(room, "bob", "ban", by="alice")
        with pytest.raises(MatrixError) as caught:
            world.run(world.state.content(bob, room, "m.room.name", ""))
        assert (caught.value.status, caught.value.errcode) == (404, "M_NOT_FOUND")

    def test_an_invite_does_not_open_the_state(self, world: RoomWorld) -> None:
        room, bob = world.room("alice"), world.viewer("bob")
        world.member(room, "bob", "invite", by="alice")
        for name in (bob, world.viewer("eve")):
            with pytest.raises(MatrixError) as caught:
                world.run(world.state.everything(name, room))
            assert (caught.value.status, caught.value.errcode) == (403, "M_FORBIDDEN")


class TestMembers:
    def members(self, world: RoomWorld, name: str, room: str, **wanted: Any) -> dict[str, str]:
        answer = world.json(world.members.events(world.viewer(name), room, MembersRequest(**wanted)))
        return {event["state_key"].partition(":")[0][1:]: event["content"]["membership"] for event in answer["chunk"]}

    def test_by_membership_and_moment(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        then = RoomToken(None, world.newest())
        world.member(room, "carol", "invite", by="alice")
        world.member(room, "dave", "join")
        world.member(room, "bob", "leave")
        assert self.members(world, "alice", room) == {
            "alice": "join", "bob": "leave", "carol": "invite", "dave": "join",
        }  # fmt: skip
        assert self.members(world, "alice", room, membership="join") == {"alice": "join", "dave": "join"}
        assert self.members(world, "alice", room, not_membership="join") == {"bob": "leave", "carol": "invite"}
        assert self.members(world, "alice", room, membership="invite", not_membership="leave") == {
            "alice": "join", "carol": "invite", "dave": "join",
        }  # fmt: skip
        assert self.members(world, "alice", room, at=then) == {"alice": "join", "bob": "join"}
        assert self.members(world, "alice", room, at=then, membership="leave") == {}

    def test_who_has_left_sees_the_members_of_then(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        world.member(room, "bob", "leave")
        world.member(room, "carol", "join")
        now = RoomToken(None, world.newest())
        for wanted in ({}, {"at": now}):
            assert self.members(world, "bob", room, **wanted) == {"alice": "join", "bob": "leave"}
        assert self.members(world, "bob", room, membership="join") == {"alice": "join"}

    def test_joined_members_with_profiles(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        world.member(room, "bob", "join", displayname="Bob", avatar_url="mxc://x/y")
        world.member(room, "carol", "invite", by="alice")
        assert world.json(world.members.joined(world.viewer("alice"), room)) == {
            "joined": {user_id("alice"): {}, user_id("bob"): {"display_name": "Bob", "avatar_url": "mxc://x/y"}}
        }
        world.member(room, "bob", "leave")
        for name in ("bob", "eve"):
            with pytest.raises(MatrixError) as caught:
                world.run(world.members.joined(world.viewer(name), room))
            assert (caught.value.status, caught.value.errcode) == (403, "M_FORBIDDEN")


class TestTimestamps:
    def test_the_nearest_event_in_each_direction(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        first = world.sent(room, "alice", "first").event
        second = world.sent(room, "alice", "second").event
        between = first.origin_server_ts + 1

        def nearest(ts: int, backwards: bool) -> object:
            return world.run(world.jumps.nearest(alice, room, ts, backwards))["event_id"]

        assert nearest(between, True) == first.event_id
        assert nearest(between, False) == second.event_id
        assert nearest(second.origin_server_ts, False) == nearest(second.origin_server_ts, True) == second.event_id
        with pytest.raises(MatrixError) as caught:
            nearest(second.origin_server_ts + 1, False)
        assert (caught.value.status, caught.value.errcode) == (404, "M_NOT_FOUND")

    def test_every_moment_among_many_rooms(self, world: RoomWorld) -> None:
        room, other, alice = world.room("alice"), world.room("alice"), world.viewer("alice")
        times = {}
        for number in range(20):
            event = world.sent(room, "alice", f"{number}").event
            times[event.origin_server_ts] = event.event_id
            for _ in range(number % 3):
                world.send(other, "alice", "elsewhere")
        listed = sorted(times)
        for ts in range(listed[0], listed[-1] + 1, 500):
            after, before = min(t for t in listed if t >= ts), max(t for t in listed if t <= ts)
            assert world.run(world.jumps.nearest(alice, room, ts, False))["event_id"] == times[after]
            assert world.run(world.jumps.nearest(alice, room, ts, True))["event_id"] == times[before]

    def test_clocks_that_differ(self, world: RoomWorld) -> None:
        room, alice = world.room("alice"), world.viewer("alice")
        early = world.clock.ms - 500
        for _ in range(5):
            world.send(room, "alice", "on time")
        late = world.send(room, "alice", "from a slow clock", origin_server_ts=early)
        assert world.run(world.jumps.nearest(alice, room, early, True))["event_id"] == late

    def test_only_what_the_reader_may_see(self, world: RoomWorld) -> None:
        room, bob = world.room("alice", visibility="joined"), world.viewer("bob")
        hidden = world.sent(room, "alice", "hidden").event.origin_server_ts
        world.member(room, "bob", "join")
        first = world.sent(room, "alice", "shown").event
        found = world.run(world.jumps.nearest(bob, room, hidden, False))
        assert found == {"event_id": first.event_id, "origin_server_ts": first.origin_server_ts}


class TestInitialSync:
    def test_of_a_member_and_of_who_has_left(self, world: RoomWorld) -> None:
        room = world.room("alice", "bob")
        first = world.send(room, "alice", "first")
        left = world.member(room, "bob", "leave")
        last = world.send(room, "alice", "last")
        answer = world.json(world.snapshot.answer(world.viewer("alice"), room, 2))
        assert (answer["membership"], answer["visibility"]) == ("join", "private")
        assert ids(answer["messages"]["chunk"]) == [left, last]
        before = page(world, world.viewer("alice"), room, "b", answer["messages"]["start"], limit=1)
        assert ids(before["chunk"]) == [first]
        answer = world.json(world.snapshot.answer(world.viewer("bob"), room, 2))
        assert answer["membership"] == "leave"
        assert ids(answer["messages"]["chunk"]) == [first, left]
