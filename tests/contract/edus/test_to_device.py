"""Messages to devices: from clients and from other servers, in the inbox, in sync, and gone."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from matrixd.core.errors import MatrixError
from matrixd.core.filters import EMPTY_FILTER
from matrixd.core.streams import Stream, StreamToken
from matrixd.queries import to_device as to_device_queries
from matrixd.queries.authentication import Requester
from matrixd.queries.event_visibility import Viewer
from matrixd.queries.sync.request import SyncRequest
from matrixd.queries.sync.to_device import ToDeviceNews
from matrixd.queries.to_device import ToDeviceInbox
from matrixd.services import to_device as service
from matrixd.services import to_device_delivery
from matrixd.services.receiving import direct_to_device
from matrixd.services.receiving.direct_to_device import DirectToDeviceEdus
from matrixd.services.receiving.users_in_sight import UsersInSight
from matrixd.services.to_device import DeliveredMessages, ToDevice
from matrixd.storage import devices, to_device
from matrixd.storage.to_device import Load
from matrixd.util.lru import CacheBudget
from tests.contract.edus.world import FAR, ROB, World
from tests.support.kept import SERVER


class Inbox:
    """Alice with a phone and a laptop."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        database = world.kept.db.database
        self.phone = world.kept.write(devices.create, world.alice, "PHONE", None, 0)
        self.laptop = world.kept.write(devices.create, world.alice, "LAPTOP", None, 0)
        self.reads = ToDeviceInbox(database, world.kept.feed, CacheBudget(100_000))
        self.news = ToDeviceNews(self.reads)
        monkeypatch.setattr(service, "in_background", world.in_background)
        self.delivered = DeliveredMessages(database, self.reads)
        numbers = itertools.count(1)
        self.service = ToDevice(database, world.outbox, world, SERVER, lambda: f"m{next(numbers)}")
        self.edus = DirectToDeviceEdus(database, world, SERVER)

    def send(self, messages: Any, txn_id: str = "1", event_type: str = "t") -> None:
        alice = Requester(self.world.alice_id, self.world.alice, "PHONE", self.phone, b"")
        self.world.kept.run(self.service.send(alice, event_type, txn_id, messages))

    def receive(self, messages: Any, message_id: Any = "a", **other: Any) -> list[str]:
        content = {"sender": ROB, "type": "t", "message_id": message_id, "messages": messages, **other}
        return self.world.receive(self.edus, content)

    def sync(self, device_nid: int, since: StreamToken | None = None) -> tuple[list[Any], StreamToken]:
        """The messages that a sync gives, and its token."""
        now = self.world.kept.feed.token
        viewer = Viewer(self.world.alice_id, self.world.alice, device_nid, frozenset(), {})
        request = SyncRequest(viewer, device_nid, since, EMPTY_FILTER, False, False)
        if since is not None:
            self.delivered.received(self.world.alice, device_nid, since[Stream.TO_DEVICE])
            self.world.kept.flush()
        index = self.world.kept.run(self.world.index.get(self.world.alice))
        parts, end = self.world.kept.run(self.news.members(request, index, now))
        assert [name for name, _ in parts] in ([], [b"to_device"])
        assert end.replace(Stream.TO_DEVICE, 0) == now.replace(Stream.TO_DEVICE, 0)
        return [event["content"].get("n") for _, body in parts for event in json.loads(body)["events"]], end

    def stored(self) -> int:
        return int(self.world.kept.db.read(lambda tx: tx.one("SELECT count(*) FROM to_device_inbox"))[0])  # type: ignore[index]

    def loads(self) -> dict[tuple[int, str], Load]:
        return self.world.kept.db.read(to_device.loads, [self.phone, self.laptop])


@pytest.fixture
def inbox(world: World, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    return Inbox(world, monkeypatch)


def test_a_message_is_given_until_the_device_says_that_it_has_it(inbox: Inbox) -> None:
    empty, begin = inbox.sync(inbox.phone)
    assert empty == []
    inbox.send({inbox.world.alice_id: {"PHONE": {"n": 1}, "NOWHERE": {"n": 2}}, f"@nobody:{SERVER}": {"*": {}}})
    for _ in range(2):
        got, after = inbox.sync(inbox.phone, begin)
        assert got == [1]
    assert inbox.sync(inbox.laptop, begin)[0] == []
    assert inbox.stored() == 1
    assert inbox.sync(inbox.phone, after) == ([], after)
    assert inbox.stored() == 0
    assert inbox.loads() == {}
    # A first sync of a device that lost its token has nothing to lose.
    assert inbox.sync(inbox.phone)[0] == []


def test_all_devices_of_a_user(inbox: Inbox) -> None:
    inbox.send({inbox.world.alice_id: {"*": {"n": 1}, "LAPTOP": {"n": 2}}})
    assert inbox.sync(inbox.phone)[0] == [1]
    assert inbox.sync(inbox.laptop)[0] == [2]


def test_a_transaction_is_sent_once(inbox: Inbox) -> None:
    for n in range(3):
        inbox.send({inbox.world.alice_id: {"PHONE": {"n": n}}, ROB: {"*": {"n": n}}})
    assert inbox.sync(inbox.phone)[0] == [0]
    assert len(inbox.world.stored()) == 1
    inbox.send({inbox.world.alice_id: {"PHONE": {"n": 7}}}, event_type="other")
    assert inbox.sync(inbox.phone)[0] == [0, 7]


def test_messages_to_other_servers_wait_in_the_outbox(inbox: Inbox) -> None:
    other = "@olga:other.example"
    of_far = {ROB: {"X": {"n": 1}, "*": {"n": 2}}, f"@ria:{FAR}": {"*": {"f": 1.5}}}
    inbox.send({**of_far, other: {"O": {}}, f"@e:{FAR}": {}})
    expected = {"sender": inbox.world.alice_id, "type": "t", "message_id": "m1", "messages": of_far}
    assert inbox.world.stored() == [("m.direct_to_device", expected)]
    assert [content["messages"] for _, content in inbox.world.stored("other.example")] == [{other: {"O": {}}}]
    assert inbox.stored() == 0


def test_many_messages_to_another_server_are_several_edus(inbox: Inbox) -> None:
    inbox.send({ROB: {f"D{n}": {"n": n, "long": "x" * 25_000} for n in range(5)}})
    contents = [content for _, content in inbox.world.stored()]
    assert [list(content["messages"][ROB]) for content in contents] == [["D0", "D1"], ["D2", "D3"], ["D4"]]
    assert [content["message_id"] for content in contents] == ["m1", "m2", "m3"]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ({"alice": {"*": {}}}, (400, "M_INVALID_PARAM")),
        ({"@alice:example.org": {"": {}}}, (400, "M_INVALID_PARAM")),
        ({"@alice:example.org": {"a\nb": {}}}, (400, "M_INVALID_PARAM")),
        ({"@alice:example.org": {"PHONE": 7}}, (400, "M_BAD_JSON")),
        ({"@alice:example.org": {"PHONE": {"n": float("nan")}}}, (400, "M_BAD_JSON")),
        ({"@alice:example.org": {"PHONE": {"n": "x" * 70_000}}}, (413, "M_TOO_LARGE")),
        ({"@rob:far.example": {"PHONE": {"n": "x" * 70_000}}}, (413, "M_TOO_LARGE")),
        ({"@alice:example.org": {f"D{n}": {} for n in range(5001)}}, (413, "M_TOO_LARGE")),
    ],
)
@pytest.mark.parametrize("engine_name", ["sqlite3"])
def test_wrong_messages_are_refused(inbox: Inbox, messages: Any, expected: tuple[int, str]) -> None:
    with pytest.raises(MatrixError) as error:
        inbox.send(messages)
    assert (error.value.status, error.value.errcode) == expected
    for txn_id, event_type in (("", "t"), ("1", ""), ("1", "x" * 256)):
        with pytest.raises(MatrixError):
            inbox.send({}, txn_id, event_type)
    assert inbox.stored() == 0


def test_an_answer_has_so_many_messages_and_the_next_goes_on(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_device_queries, "LIMIT", 2)
    for n in range(5):
        inbox.send({inbox.world.alice_id: {"PHONE": {"n": n}}}, txn_id=str(n))
    first, at = inbox.sync(inbox.phone)
    second, at = inbox.sync(inbox.phone, at)
    third, at = inbox.sync(inbox.phone, at)
    assert (first, second, third) == ([0, 1], [2, 3], [4])
    assert at[Stream.TO_DEVICE] == inbox.world.kept.feed.token[Stream.TO_DEVICE]
    assert inbox.sync(inbox.phone, at)[0] == []
    assert inbox.stored() == 0


def test_what_memory_says_is_what_is_stored(inbox: Inbox) -> None:
    for n in range(3):
        inbox.send({inbox.world.alice_id: {"*": {"n": n}}}, txn_id=str(n))
    _, at = inbox.sync(inbox.phone)
    inbox.send({inbox.world.alice_id: {"*": {"n": 3}}}, txn_id="3")
    assert inbox.sync(inbox.phone, at)[0] == [3]
    fresh = ToDeviceInbox(inbox.world.kept.db.database, inbox.world.kept.feed, CacheBudget(100_000))
    for device_nid in (inbox.phone, inbox.laptop):
        assert inbox.world.kept.run(inbox.reads.newest(device_nid)) == inbox.world.kept.run(fresh.newest(device_nid))


def test_messages_die_with_the_device(inbox: Inbox) -> None:
    inbox.send({inbox.world.alice_id: {"*": {"n": 1}}})
    inbox.world.kept.write(to_device.delete_of_devices, inbox.world.alice, [inbox.phone])
    assert inbox.stored() == 1
    assert set(inbox.loads()) == {(inbox.laptop, "")}


# --- Of other servers


def test_messages_of_other_servers_come_once(inbox: Inbox) -> None:
    for _ in range(2):
        assert inbox.receive({inbox.world.alice_id: {"PHONE": {"n": 1}}}) == []
    inbox.receive({inbox.world.alice_id: {"*": {"n": 2}}}, message_id="b")
    assert inbox.sync(inbox.phone)[0] == [1, 2]
    # Another server counts by itself.
    messages = {inbox.world.alice_id: {"*": {"n": 3}}}
    content = {"sender": "@o:other.example", "type": "t", "message_id": "a", "messages": messages}
    inbox.world.receive(inbox.edus, content, origin="other.example")
    assert inbox.sync(inbox.phone)[0] == [1, 2, 3]
    world = inbox.world
    in_sight = UsersInSight(world.kept.db.database, world.kept.feed, world, world.timer, lambda: None)
    world.timer.advance(8 * 24 * 3600)
    world.kept.run(in_sight.forget())
    inbox.receive({inbox.world.alice_id: {"PHONE": {"n": 4}}})
    assert inbox.sync(inbox.phone)[0] == [1, 2, 3, 4]


def test_wrong_messages_of_other_servers_cost_the_others_nothing(inbox: Inbox) -> None:
    good = {inbox.world.alice_id: {"PHONE": {"n": 1}}}
    bad: list[Any] = [
        {"sender": inbox.world.alice_id}, {"sender": "rob"}, {"sender": 7}, {"type": ""}, {"type": "x" * 300},
        {"type": None}, {"message_id": "x" * 300}, {"message_id": "\0"}, {"message_id": 7}, {"messages": []},
        {"messages": {inbox.world.alice_id: 7}}, {"messages": {inbox.world.alice_id: {"PHONE": 7}}},
        {"messages": {inbox.world.alice_id: {"": {}}}},
        {"messages": {inbox.world.alice_id: {"PHONE": {"n": "x" * 70_000}}}},
        {"messages": {inbox.world.alice_id: {f"D{n}": {} for n in range(direct_to_device.MAX_MESSAGES + 1)}}},
    ]  # fmt: skip
    contents = [
        {"sender": ROB, "type": "t", "message_id": f"m{n}", "messages": good, **wrong} for n, wrong in enumerate(bad)
    ]
    last = {"sender": ROB, "type": "t", "message_id": "last", "messages": {**good, ROB: {"*": {}}, "": {"*": {}}}}
    assert len(inbox.world.receive(inbox.edus, *contents, {}, last)) == len(bad) + 1
    assert inbox.sync(inbox.phone)[0] == [1]
    assert inbox.stored() == 1


def test_no_server_fills_the_inbox(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_device_delivery, "MAX_OF_SERVER", Load(2, 1000))
    monkeypatch.setattr(to_device_delivery, "MAX_OF_DEVICE", Load(4, 1500))
    for n in range(4):
        refusals = inbox.receive({inbox.world.alice_id: {"PHONE": {"n": n}}}, message_id=str(n))
        assert len(refusals) == (n >= 2)
    inbox.receive({inbox.world.alice_id: {"LAPTOP": {"n": 9, "long": "x" * 1000}}}, message_id="long")
    for n in range(4, 8):
        inbox.send({inbox.world.alice_id: {"PHONE": {"n": n}}}, txn_id=str(n))
    got, at = inbox.sync(inbox.phone)
    assert got == [0, 1, 4, 5]
    assert inbox.sync(inbox.laptop)[0] == []
    assert inbox.sync(inbox.phone, at)[0] == []
    assert inbox.receive({inbox.world.alice_id: {"PHONE": {"n": 8}}}, message_id="8") == []
    assert inbox.sync(inbox.phone, at)[0] == [8]
