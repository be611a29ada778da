"""Typing, receipts and presence of other servers: what is taken, what is refused, and how long it lasts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from matrixd.queries.presence import Presence as PresenceQueries
from matrixd.queries.receipts import Receipts as ReceiptQueries
from matrixd.queries.typing import Typing as TypingQueries
from matrixd.services import remote_presence, typing
from matrixd.services.receipts import Receipts
from matrixd.services.receiving import presence as presence_edus
from matrixd.services.receiving import receipts as receipt_edus
from matrixd.services.receiving.edus import MAX_EDUS, Edus, Refuse
from matrixd.services.receiving.presence import PresenceEdus
from matrixd.services.receiving.receipts import ReceiptEdus
from matrixd.services.receiving.typing import TypingEdus
from matrixd.services.remote_presence import RemotePresence
from matrixd.services.typing import Typing
from matrixd.storage.engines.base import Unavailable
from matrixd.storage.rows import PresenceRow
from tests.contract.edus.world import FAR, ROB, World

# --- Typing


class TypingWorld:
    def __init__(self, world: World) -> None:
        self.world = world
        self.service = Typing(world.kept.db.database, world.kept.feed, world.timer)
        self.edus = TypingEdus(world.kept.db.database, self.service, world.acls)
        self.queries = TypingQueries(world.kept.feed)
        world.join_remote(world.room)

    def types(self, user_id: str = ROB, typing: Any = True, room_id: Any = "!room") -> list[str]:
        return self.world.receive(self.edus, {"room_id": room_id, "user_id": user_id, "typing": typing})

    def shown(self) -> list[str]:
        found = self.queries.between([self.world.room], None, self.world.kept.feed.token)
        return found[self.world.room]["user_ids"] if found else []


def test_who_types_elsewhere_is_shown_for_a_minute(world: World) -> None:
    here = TypingWorld(world)
    assert here.types() == []
    world.timer.advance(40)
    assert here.types() == []
    world.timer.advance(59)
    assert here.shown() == [ROB]
    world.timer.advance(1)
    assert here.shown() == []
    here.types()
    here.types(typing=False)
    assert here.shown() == []


def test_typing_of_others_is_refused(world: World) -> None:
    here = TypingWorld(world)
    stranger = f"@eve:{FAR}"
    world.remote(stranger)
    for user_id in (world.alice_id, stranger, "@nobody:far.example", "rob", ""):
        assert len(here.types(user_id)) == 1
    for room_id in ("!other", "room", "!a\0b", "", "!" + "x" * 300):
        assert len(here.types(room_id=room_id)) == 1
    for wrong_room, is_typing in ((7, True), ("!room", "yes"), ("!room", 1), (None, True)):
        assert len(here.types(room_id=wrong_room, typing=is_typing)) == 1
    world.acls.denied.add(("!room", FAR))
    assert "ACL" in here.types()[0]
    assert here.shown() == []


def test_other_servers_cannot_hide_who_types_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typing, "MAX_REMOTE_IN_ROOM", 1)
    here = TypingWorld(world)
    second = f"@second:{FAR}"
    world.join_remote(world.room, second)
    here.types()
    here.types(second)
    world.kept.run(here.service.set(world.alice, world.alice_id, "!room", True))
    assert here.shown() == [ROB, world.alice_id]


# --- Receipts


class ReceiptWorld:
    def __init__(self, world: World) -> None:
        self.world = world
        service = Receipts(world.kept.db.database, world)
        self.edus = ReceiptEdus(service, world.acls, world.kept.feed, world.in_background)
        self.queries = ReceiptQueries(world.kept.db.database, world.kept.feed)
        world.join_remote(world.room)
        self.events = [self.event() for _ in range(2)]

    def event(self, thread_id: str | None = None) -> str:
        row = self.world.kept.event(self.world.room, self.world.alice, self.world.alice_id, thread_id=thread_id)
        return row.event.event_id

    def reads(self, event_id: Any, user_id: str = ROB, **data: Any) -> list[str]:
        receipt = {"event_ids": [event_id], "data": {"ts": 5, **data}}
        return self.world.receive(self.edus, {"!room": {"m.read": {user_id: receipt}}})

    def seen(self) -> dict[str, Any]:
        now = self.world.kept.feed.token
        read = self.queries.between(self.world.alice, [self.world.room], None, now)
        return self.world.kept.run(read).get(self.world.room, {})


def test_a_receipt_of_another_server_moves_forward(world: World) -> None:
    here = ReceiptWorld(world)
    assert here.reads(here.events[1]) == []
    assert here.reads(here.events[0]) == []
    assert here.seen() == {here.events[1]: {"m.read": {ROB: {"ts": 5}}}}
    root = here.events[0]
    threaded = here.event(root)
    assert here.reads(threaded, thread_id=root, ts=10**15) == []
    assert here.seen()[threaded] == {"m.read": {ROB: {"ts": world.now_ms(), "thread_id": root}}}


def test_wrong_receipts_cost_the_others_nothing(world: World) -> None:
    here = ReceiptWorld(world)
    good = {"event_ids": [here.events[0]], "data": {"ts": 1}}
    wrong: list[Any] = [
        None, 7, [], {}, {"event_ids": [], "data": {"ts": 1}}, {"event_ids": ["a", "b"], "data": {"ts": 1}},
        {"event_ids": ["no event"], "data": {"ts": 1}}, {"event_ids": [here.events[1]], "data": 1},
        {"event_ids": [here.events[1]], "data": {"ts": "now"}}, {"event_ids": [here.events[1]], "data": {"ts": -1}},
        {"event_ids": [here.events[1]], "data": {"ts": 2**70}},
        {"event_ids": [here.events[1]], "data": {"ts": 1, "thread_id": "$of nothing"}},
    ]  # fmt: skip
    by_user = {f"@u{number}:{FAR}": receipt for number, receipt in enumerate(wrong)}
    for user_id in by_user:
        world.join_remote(world.room, user_id)
    contents: list[Mapping[str, Any]] = [
        {"!room": {"m.read": {**by_user, world.alice_id: good, f"@not_in:{FAR}": good, "": good, ROB: good}}},
        {"!room": {"m.read": 7, "m.read.private": {ROB: good}}, "!unknown": {"m.read": {ROB: good}}, "x": {}, "!y": 7},
    ]
    assert len(world.receive(here.edus, *contents)) >= len(wrong) + 4
    assert here.seen() == {here.events[0]: {"m.read": {ROB: {"ts": 1}}}}


def test_private_receipts_are_none_of_our_business(world: World) -> None:
    here = ReceiptWorld(world)
    receipt = {"event_ids": [here.events[0]], "data": {"ts": 1}}
    world.receive(here.edus, {"!room": {"m.read.private": {ROB: receipt}, "m.read": {}}})
    assert here.seen() == {}


def test_receipts_obey_the_acl(world: World) -> None:
    here = ReceiptWorld(world)
    world.acls.denied.add(("!room", FAR))
    assert "ACL" in here.reads(here.events[0])[0]
    assert here.seen() == {}


def test_a_receipt_may_come_before_its_event(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_edus, "MAX_EARLY", 2)
    here = ReceiptWorld(world)
    soon = f"$e{int(here.events[-1][2:]) + 1}"
    for event_id in ("$never1", soon, "$never2"):
        assert here.reads(event_id) == []
    assert here.seen() == {}
    assert here.event() == soon
    world.kept.flush()
    assert here.seen() == {soon: {"m.read": {ROB: {"ts": 5}}}}


def test_of_a_great_many_receipts_the_first_are_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_edus, "MAX_RECEIPTS", 2)
    here = ReceiptWorld(world)
    second, third = f"@second:{FAR}", f"@third:{FAR}"
    for user_id in (second, third):
        world.join_remote(world.room, user_id)
    receipt = {"event_ids": [here.events[0]], "data": {"ts": 1}}
    many = {"!room": {"m.read": {ROB: receipt, second: receipt, third: receipt}}}
    assert "more than 2" in world.receive(here.edus, many, many)[0]
    assert set(here.seen()[here.events[0]]["m.read"]) == {ROB, second}


def test_of_a_great_many_rooms_the_first_are_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_edus, "MAX_ROOMS", 2)
    here = ReceiptWorld(world)
    good = {"m.read": {ROB: {"event_ids": [here.events[0]], "data": {"ts": 1}}}}
    empty: dict[str, Any] = {"!a": {"m.read": {}}, "!b": {"m.read": {}}}
    assert "2 rooms" in world.receive(here.edus, {**empty, "!room": good})[0]
    assert here.seen() == {}


# --- Presence


class PresenceWorld:
    def __init__(self, world: World) -> None:
        self.world = world
        self.service = RemotePresence(world.kept.db.database, world.kept.feed, world, world.timer)
        self.edus = PresenceEdus(self.service)
        self.queries = PresenceQueries(world.kept.db.database, world.kept.feed, world.index, world)
        self.announced: list[PresenceRow] = []
        world.kept.feed.subscribe(PresenceRow, self.announced.append)
        world.join_remote(world.room)

    def says(self, *updates: Any) -> list[str]:
        return self.world.receive(self.edus, {"push": list(updates)})

    def seen(self, user_nid: int) -> list[dict[str, Any]]:
        return self.world.kept.run(self.queries.between(user_nid, None, self.world.kept.feed.token))


ONLINE = {"user_id": ROB, "presence": "online", "last_active_ago": 3000, "currently_active": True, "status_msg": "hi"}


@pytest.mark.parametrize("in_memory", [True, False])
def test_presence_of_other_servers_is_seen_by_who_shares_a_room(world: World, in_memory: bool) -> None:
    here = PresenceWorld(world)
    carol, _ = world.kept.user("carol")
    if in_memory:
        for user_nid in (world.alice, carol):
            world.kept.run(world.index.get(user_nid))
    assert here.says(ONLINE) == []
    content = {"presence": "online", "last_active_ago": 3000, "currently_active": True, "status_msg": "hi"}
    assert here.seen(world.alice) == [{"type": "m.presence", "sender": ROB, "content": content}]
    assert here.seen(carol) == []
    found = here.service.find(world.remote())
    assert found is not None
    assert found.room_nids == (world.room,)
    assert here.says(ONLINE) == []
    assert len(here.announced) == 1


def test_presence_that_is_not_said_again_is_over(world: World) -> None:
    here = PresenceWorld(world)
    here.says(ONLINE)
    world.timer.advance(remote_presence.TIMEOUT_S - 1)
    assert [row.state for row in here.announced] == ["online"]
    here.says(ONLINE)
    world.timer.advance(remote_presence.TIMEOUT_S - 1)
    assert [row.state for row in here.announced] == ["online"]
    world.timer.advance(1)
    assert [row.state for row in here.announced] == ["online", "offline"]
    assert here.service.find(world.remote()) is None
    assert world.timer.getDelayedCalls() == []


def test_wrong_presence_costs_the_others_nothing(world: World) -> None:
    here = PresenceWorld(world)
    wrong: list[Any] = [
        None, 7, {},
        *({**ONLINE, **wrong} for wrong in (
            {"user_id": world.alice_id}, {"user_id": "rob"}, {"presence": "busy"}, {"last_active_ago": -1},
            {"last_active_ago": "1"}, {"status_msg": "x" * 5000}, {"status_msg": 7}, {"currently_active": "yes"},
        )),
    ]  # fmt: skip
    assert len(here.says(*wrong, ONLINE)) == len(wrong)
    assert [row.user_id for row in here.announced] == [ROB]
    assert len(world.receive(here.edus, {"push": 7}, {})) == 2


def test_of_a_great_many_users_the_first_are_looked_at(world: World) -> None:
    here = PresenceWorld(world)
    assert len(here.says(ONLINE, *([7] * 1_000_000))) == presence_edus.MAX_UPDATES
    assert [row.user_id for row in here.announced] == [ROB]


def test_nothing_is_kept_of_who_shares_no_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    here = PresenceWorld(world)
    eve = f"@eve:{FAR}"
    world.remote(eve)
    assert here.says({**ONLINE, "user_id": eve}, {**ONLINE, "user_id": f"@unknown:{FAR}"}) == []
    world.join_remote(world.room, eve)
    world.join_remote(world.room, eve, "leave")
    here.says({**ONLINE, "user_id": eve})
    assert here.announced == []
    # In a large room nobody is told who is there.
    monkeypatch.setattr(remote_presence, "MAX_MEMBERS", 1)
    here.says(ONLINE)
    assert here.announced == []


def test_as_many_users_are_remembered_as_there_is_room_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_presence, "MAX_USERS", 1)
    here = PresenceWorld(world)
    second = f"@second:{FAR}"
    world.join_remote(world.room, second)
    here.says(ONLINE)
    here.says({**ONLINE, "user_id": second})
    assert [(row.user_id, row.state) for row in here.announced] == [
        (ROB, "online"), (second, "online"), (ROB, "offline")
    ]  # fmt: skip
    assert [row.pos for row in here.announced] == [1, 2, 3]


# --- All types together


class Collects:
    """Takes EDUs, and fails if it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.got: list[Mapping[str, Any]] = []
        self.error = error

    async def receive(self, origin: str, contents: Sequence[Mapping[str, Any]], refuse: Refuse) -> None:
        if self.error is not None:
            raise self.error
        self.got += contents
        for content in contents:
            if content.get("bad"):
                refuse("it is bad")


def edu(edu_type: Any, content: Any) -> dict[str, Any]:
    return {"edu_type": edu_type, "content": content}


def test_one_type_does_not_cost_the_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    good, broken, away = Collects(), Collects(ValueError("a fault")), Collects(Unavailable("no disk"))
    edus = Edus({"a": broken, "b": away, "c": good}, world)
    with pytest.raises(Unavailable):
        world.kept.run(edus.receive(FAR, [edu("a", {}), edu("b", {}), edu("c", {"x": 1}), edu("d", {}), edu("c", {})]))
    assert good.got == [{"x": 1}, {}]
    assert "a fault" in caplog.text


def test_what_is_wrong_is_logged_once_for_each_server(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    good = Collects()
    edus = Edus({"c": good}, world)
    junk: list[object] = [None, 7, [], {}, edu(7, {}), edu("c", []), edu("c", {"bad": True}), edu("c", {"n": 1})]
    for _ in range(3):
        world.kept.run(edus.receive(FAR, junk))
    assert len(good.got) == 6
    assert len(caplog.records) == 1
    assert FAR in caplog.text
    world.kept.run(edus.receive("other.example", junk))
    world.timer.advance(3601)
    world.kept.run(edus.receive(FAR, junk))
    assert len(caplog.records) == 3


def test_more_edus_than_there_may_be_are_not_looked_at(world: World) -> None:
    good = Collects()
    edus = Edus({"c": good}, world)
    world.kept.run(edus.receive(FAR, [edu("c", {"n": n}) for n in range(1_000_000)]))
    assert len(good.got) == MAX_EDUS
