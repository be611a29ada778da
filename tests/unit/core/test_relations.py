"""core/relations: which relations are read, which are ignored, and what is bundled."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.event import Event
from matrixd.core.relations import (
    MAX_THREAD_HOPS,
    Relation,
    ThreadSummary,
    bundle,
    is_valid_edit,
    latest_edit,
    may_be_annotated,
    may_start_thread,
    relation_in,
    relation_of,
    reply_target,
    thread_of,
    thread_root,
)
from tests.unit.core.room_factory import ALICE, BOB, RoomFactory

ROOM = RoomFactory()


def related(rel_type: object, event_id: object, **more: Any) -> Event:
    return ROOM.event("m.room.message", ALICE, {"m.relates_to": {"rel_type": rel_type, "event_id": event_id}, **more})


class TestRelation:
    def test_read(self) -> None:
        assert relation_of(related("m.thread", "$a")) == Relation("m.thread", "$a")
        assert relation_in({"m.relates_to": {"rel_type": "org.example", "event_id": "$a", "key": "x"}}) == Relation(
            "org.example", "$a"
        )

    def test_annotation_key(self) -> None:
        relates_to = {"rel_type": "m.annotation", "event_id": "$a", "key": "👍"}
        assert relation_in({"m.relates_to": relates_to}) == Relation("m.annotation", "$a", "👍")
        assert relation_in({"m.relates_to": {**relates_to, "key": 1}}) == Relation("m.annotation", "$a")

    @pytest.mark.parametrize(
        "relates_to",
        [
            None,
            [],
            {},
            {"rel_type": "m.thread"},
            {"event_id": "$a"},
            {"rel_type": 1, "event_id": "$a"},
            {"rel_type": "", "event_id": "$a"},
            {"rel_type": "x" * 256, "event_id": "$a"},
            {"rel_type": "m.thread", "event_id": 1},
            {"rel_type": "m.thread", "event_id": "a"},
            {"rel_type": "m.thread", "event_id": "$" * 256},
        ],
    )
    def test_ignored(self, relates_to: object) -> None:
        assert relation_in({"m.relates_to": relates_to}) is None
        assert relation_in({}) is None

    def test_reply(self) -> None:
        event = ROOM.event("m.room.message", ALICE, {"m.relates_to": {"m.in_reply_to": {"event_id": "$a"}}})
        assert reply_target(event) == "$a"
        assert relation_of(event) is None

    @pytest.mark.parametrize(
        "relates_to", [None, {}, {"m.in_reply_to": "$a"}, {"m.in_reply_to": {"event_id": 1}}, {"m.in_reply_to": {}}]
    )
    def test_no_reply(self, relates_to: object) -> None:
        assert reply_target(ROOM.event("m.room.message", ALICE, {"m.relates_to": relates_to})) is None


class TestThreads:
    def chain(self, length: int) -> tuple[Event, dict[str, Event]]:
        """A reaction to a reaction to … a message in the thread of `$root`, `length` hops away from the root."""
        event = related("m.thread", "$root")
        known = {event.event_id: event}
        for _ in range(length - 1):
            event = related("m.annotation", event.event_id)
            known[event.event_id] = event
        return event, known

    @pytest.mark.parametrize("length", range(1, MAX_THREAD_HOPS + 1))
    def test_followed(self, length: int) -> None:
        event, known = self.chain(length)
        assert thread_of(event, known.get) == "$root"
        assert (thread_root(event) == "$root") == (length == 1)

    def test_not_followed_for_ever(self) -> None:
        event, known = self.chain(MAX_THREAD_HOPS + 1)
        assert thread_of(event, known.get) is None

    def test_main_timeline(self) -> None:
        plain = ROOM.event("m.room.message", ALICE)
        known = {plain.event_id: plain}
        assert thread_of(plain, known.get) is None
        assert thread_of(related("m.annotation", "$unknown"), known.get) is None
        assert thread_of(related("m.annotation", plain.event_id), known.get) is None

    def test_loop_ends(self) -> None:
        event = related("m.annotation", "$self")
        assert thread_of(event, lambda event_id: event) is None

    def test_other_room(self) -> None:
        elsewhere = RoomFactory(creator=BOB)
        foreign = elsewhere.event("m.room.message", BOB, {"m.relates_to": {"rel_type": "m.thread", "event_id": "$r"}})
        foreign = Event.from_stored(foreign.version, {**foreign.pdu, "room_id": "!other:x"}, "$foreign")
        assert thread_of(related("m.annotation", "$foreign"), lambda event_id: foreign) is None

    def test_may_start(self) -> None:
        assert may_start_thread(ROOM.event("m.room.message", ALICE))
        assert may_start_thread(
            ROOM.event("m.room.message", ALICE, {"m.relates_to": {"m.in_reply_to": {"event_id": "$a"}}})
        )
        assert not may_start_thread(related("m.thread", "$a"))
        assert not may_start_thread(related("m.annotation", "$a"))


def edit_of(original: Event, sender: str = ALICE, event_type: str = "m.room.message", **changes: Any) -> Event:
    content = {
        "m.relates_to": {"rel_type": "m.replace", "event_id": original.event_id},
        "m.new_content": {"body": "new"},
        **changes.pop("content", {}),
    }
    return ROOM.event(event_type, sender, content, **changes)


class TestEdits:
    ORIGINAL = ROOM.event("m.room.message", ALICE, {"body": "old"})

    def test_valid(self) -> None:
        assert is_valid_edit(self.ORIGINAL, edit_of(self.ORIGINAL))

    @pytest.mark.parametrize(
        "edit",
        [
            edit_of(ORIGINAL, BOB),
            edit_of(ORIGINAL, event_type="m.sticker"),
            edit_of(ORIGINAL, event_type="m.room.encrypted"),
            edit_of(ORIGINAL, state_key=""),
            edit_of(ORIGINAL, room_id="!other:x"),
            edit_of(ORIGINAL, content={"m.new_content": None}),
            edit_of(ORIGINAL, content={"m.relates_to": {"rel_type": "m.thread", "event_id": ORIGINAL.event_id}}),
            edit_of(ORIGINAL, content={"m.relates_to": {"rel_type": "m.replace", "event_id": "$other"}}),
            edit_of(ORIGINAL, content={"m.relates_to": None}),
        ],
    )
    def test_invalid(self, edit: Event) -> None:
        assert not is_valid_edit(self.ORIGINAL, edit)
        assert latest_edit(self.ORIGINAL, [edit]) is None

    def test_not_of_an_edit_nor_of_state(self) -> None:
        edit = edit_of(self.ORIGINAL)
        assert not is_valid_edit(edit, edit_of(edit))
        state = ROOM.event("m.room.message", ALICE, {}, "")
        assert not is_valid_edit(state, edit_of(state))
        in_thread = related("m.thread", "$root")
        assert is_valid_edit(in_thread, edit_of(in_thread))

    def test_encrypted_needs_no_visible_new_content(self) -> None:
        original = ROOM.event("m.room.encrypted", ALICE, {"ciphertext": "x"})
        relates_to = {"rel_type": "m.replace", "event_id": original.event_id}
        assert is_valid_edit(original, ROOM.event("m.room.encrypted", ALICE, {"m.relates_to": relates_to}))

    @settings(max_examples=50)
    @given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=6))
    def test_latest(self, edits: list[tuple[int, bool]]) -> None:
        events = [
            edit_of(self.ORIGINAL, ALICE if valid else BOB, origin_server_ts=timestamp) for timestamp, valid in edits
        ]
        mine = sorted((e for e in events if e.sender == ALICE), key=lambda e: (e.origin_server_ts, e.event_id))
        assert latest_edit(self.ORIGINAL, events) == (mine[-1] if mine else None)


def test_annotations() -> None:
    assert may_be_annotated(ROOM.event("m.room.message", ALICE))
    assert may_be_annotated(related("m.thread", "$a"))
    assert not may_be_annotated(related("m.annotation", "$a"))
    assert not may_be_annotated(related("m.replace", "$a"))


class TestBundle:
    EVENT = ROOM.event("m.room.message", ALICE)

    def test_all(self) -> None:
        made = bundle(
            self.EVENT,
            replacement=b'{"event_id":"$edit"}',
            thread=ThreadSummary(b'{"event_id":"$latest"}', 7, True),
            references=["$one", "$two"],
        )
        assert json.loads(made or b"") == {
            "m.replace": {"event_id": "$edit"},
            "m.thread": {"latest_event": {"event_id": "$latest"}, "count": 7, "current_user_participated": True},
            "m.reference": {"chunk": [{"event_id": "$one"}, {"event_id": "$two"}]},
        }

    def test_nothing(self) -> None:
        assert bundle(self.EVENT) is None

    def test_a_redacted_event_shows_no_edit(self) -> None:
        assert bundle(self.EVENT, is_redacted=True, replacement=b"{}") is None
        assert bundle(self.EVENT, is_redacted=True, replacement=b"{}", references=["$a"]) == (
            b'{"m.reference":{"chunk":[{"event_id":"$a"}]}}'
        )

    def test_state_events_get_none(self) -> None:
        assert bundle(ROOM.create, references=["$a"]) is None
