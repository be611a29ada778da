"""What other servers are told of users here: typing, receipts, presence, devices."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.config.ratelimits import RateLimit
from matrixd.services import remote_presence
from matrixd.services.presence import Presence
from matrixd.services.receipts import Receipts, RemoteReceipt
from matrixd.services.remote_presence import TIMEOUT_S
from matrixd.services.sending_edus import device_lists as device_lists_out
from matrixd.services.sending_edus import presence as presence_out
from matrixd.services.sending_edus.device_lists import DeviceListsOut
from matrixd.services.sending_edus.presence import PresenceOut
from matrixd.services.sending_edus.receipts import ReceiptsOut
from matrixd.services.sending_edus.room_ids import RoomIds
from matrixd.services.sending_edus.typing import TypingOut
from matrixd.services.typing import Typing
from matrixd.storage import device_list_changes, devices
from matrixd.storage.rows import DeviceListRow
from matrixd.util.ratelimit import RateLimiter
from tests.contract.edus.world import FAR, ROB, World

OTHER = "@olga:other.example"

# --- Typing


class TypingOutWorld:
    def __init__(self, world: World) -> None:
        self.world = world
        self.service = Typing(world.kept.db.database, world.kept.feed, world.timer)
        ids = RoomIds(world.kept.db.database, world.index)
        TypingOut(
            world.kept.feed, world.outbox, world.room_servers, ids, world.timer, world.is_local, world.in_background
        )
        world.join_remote(world.room)

    def types(self, is_typing: bool = True, timeout_ms: int = 100_000) -> None:
        world = self.world
        world.kept.run(self.service.set(world.alice, world.alice_id, "!room", is_typing, timeout_ms))

    def told(self) -> list[bool]:
        found = []
        for edu in self.world.sink.sent:
            assert (edu.destinations, edu.type) == ((FAR,), "m.typing")
            assert (edu.content["room_id"], edu.content["user_id"]) == ("!room", self.world.alice_id)
            assert edu.key == f"!room {self.world.alice_id}"
            found.append(edu.content["typing"])
        self.world.sink.sent.clear()
        return found


@pytest.mark.parametrize("in_memory", [True, False])
def test_other_servers_are_told_who_types(world: World, in_memory: bool) -> None:
    out = TypingOutWorld(world)
    if in_memory:
        world.kept.run(world.index.get(world.alice))
    out.types()
    out.types()
    assert out.told() == [True]
    out.types(False)
    assert out.told() == [False]
    # What another server told us goes nowhere.
    out.service.set_remote(world.room, ROB, True)
    assert out.told() == []


def test_who_types_on_is_told_of_again(world: World) -> None:
    out = TypingOutWorld(world)
    out.types(timeout_ms=70_000)
    told = []
    for _ in range(10):
        told += out.told()
        world.advance(10)
    assert told == [True, True, True, False]
    assert world.timer.getDelayedCalls() == []


def test_nobody_is_told_where_nobody_else_is(world: World) -> None:
    out = TypingOutWorld(world)
    world.join_remote(world.room, membership="leave")
    out.types()
    assert out.told() == []


# --- Receipts


def test_public_receipts_are_told(world: World) -> None:
    service = Receipts(world.kept.db.database, world)
    ids = RoomIds(world.kept.db.database, world.index)
    ReceiptsOut(
        world.kept.feed, world.outbox, world.room_servers, ids, world.timer, world.is_local, world.in_background
    )
    world.join_remote(world.room)
    world.join_remote(world.room, OTHER)
    root = world.kept.event(world.room, world.remote(), ROB).event.event_id
    second = world.kept.event(world.room, world.remote(), ROB).event.event_id
    threaded = world.kept.event(world.room, world.remote(), ROB, thread_id=root).event.event_id

    def read(event_id: str, receipt_type: str = "m.read", thread_id: str | None = None) -> None:
        world.kept.run(service.send(world.alice, world.alice_id, "!room", receipt_type, event_id, thread_id))

    read(second, "m.read.private")
    read(root)
    read(second)
    read(threaded, thread_id=root)
    world.kept.run(service.send_remote([RemoteReceipt("!room", ROB, second, None, 1)]))
    world.advance(1)
    servers = (FAR, "other.example")
    assert [(edu.destinations, edu.type) for edu in world.sink.sent] == [(servers, "m.receipt")] * 2
    ts = round(1_000_000.0 * 1000)
    contents = [edu.content["!room"]["m.read"][world.alice_id] for edu in world.sink.sent]
    assert contents == [
        {"event_ids": [second], "data": {"ts": ts}},
        {"event_ids": [threaded], "data": {"ts": ts, "thread_id": root}},
    ]
    assert len({edu.key for edu in world.sink.sent}) == 2
    assert world.timer.getDelayedCalls() == []


# --- Presence


class PresenceOutWorld:
    def __init__(self, world: World) -> None:
        self.world = world
        database, feed = world.kept.db.database, world.kept.feed
        rate = RateLimiter(RateLimit(1e6, 1e6))
        self.service = Presence(database, feed, world, world.timer, "all", rate, world.in_background)
        PresenceOut(
            feed, world.outbox, world.room_servers, world.index, world, world.timer, world.is_local,
            world.in_background,
        )  # fmt: skip
        world.join_remote(world.room)

    def put(self, state: Any, status_msg: str | None = None) -> None:
        world = self.world
        world.kept.run(self.service.put(world.alice, world.alice_id, 1, state, status_msg))

    def told(self) -> list[tuple[tuple[str, ...], str]]:
        found = []
        for edu in self.world.sink.sent:
            assert edu.type == "m.presence"
            assert edu.key == self.world.alice_id
            (update,) = edu.content["push"]
            assert update["user_id"] == self.world.alice_id
            assert isinstance(update["last_active_ago"], int)
            found.append((edu.destinations, update["presence"]))
        self.world.sink.sent.clear()
        return found


def test_presence_is_told_to_who_shares_a_room(world: World) -> None:
    out = PresenceOutWorld(world)
    out.put("unavailable")
    out.put("online", "hello")
    assert out.told() == []
    world.advance(2)
    assert world.sink.sent[0].content["push"][0]["status_msg"] == "hello"
    assert out.told() == [((FAR,), "online")]
    world.advance(40)
    assert out.told() == [((FAR,), "offline")]


def test_large_rooms_make_nobody_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_out, "MAX_MEMBERS", 2)
    out = PresenceOutWorld(world)
    second = world.kept.room("second")
    world.kept.join(second, world.alice, world.alice_id)
    world.join_remote(second, OTHER)
    world.join_remote(world.room, f"@third:{FAR}")
    out.put("online")
    world.advance(2)
    assert out.told() == [(("other.example",), "online")]
    assert remote_presence.MAX_MEMBERS > 2


def test_who_stays_is_told_of_again_before_others_think_them_gone(world: World) -> None:
    out = PresenceOutWorld(world)
    out.service.sync_begins(world.alice, world.alice_id, 1, "online")
    world.advance(3)
    assert out.told() == [((FAR,), "online")]
    states = []
    for _ in range(round(TIMEOUT_S / 60)):
        world.advance(60)
        states += [state for _, state in out.told()]
    # Active, idle, and the same once more.
    assert states == ["online", "unavailable", "unavailable"]


def test_servers_that_come_into_sight_are_told(world: World) -> None:
    out = PresenceOutWorld(world)
    world.kept.run(world.index.get(world.alice))
    out.put("online")
    world.advance(2)
    out.told()
    world.join_remote(world.room, OTHER)
    world.advance(2)
    assert out.told() == [(("other.example",), "online")]
    second = world.kept.room("second")
    world.join_remote(second, "@nina:new.example")
    world.advance(2)
    assert out.told() == []
    world.kept.join(second, world.alice, world.alice_id)
    world.advance(2)
    assert [("new.example" in servers, state) for servers, state in out.told()] == [(True, "online")]


# --- Devices


class DevicesOut:
    def __init__(self, world: World, names: bool = True) -> None:
        self.world = world
        self.out = DeviceListsOut(
            world.kept.db.database, world.kept.feed, world.outbox, names, world.in_background
        )

    def made(self, device_id: str, name: str | None = None) -> None:
        self.world.kept.write(devices.create, self.world.alice, device_id, name, 0)
        self.world.kept.flush()

    def position(self) -> int:
        return self.world.kept.db.read(device_list_changes.position, self.world.alice).pos


def update(world: World, device_id: str, stream_id: int, *prev_id: int, **other: Any) -> tuple[str, Any]:
    content = {"user_id": world.alice_id, "device_id": device_id, "stream_id": stream_id, "prev_id": list(prev_id)}
    return "m.device_list_update", {**content, **other}


def test_changes_of_devices_are_told_in_a_chain(world: World) -> None:
    out = DevicesOut(world)
    world.join_remote(world.room)
    world.join_remote(world.room, OTHER)
    out.made("A", "Desk")
    out.made("B")
    world.kept.write(devices.rename, world.alice, "B", "Lap")
    world.kept.write(devices.rename, world.alice, "NONE", "Lap")
    mine = world.kept.db.read(devices.by_user, world.alice)
    world.kept.write(devices.delete, world.alice_id, mine[:1])
    expected = [
        update(world, "A", 1, device_display_name="Desk"),
        update(world, "B", 2, 1),
        update(world, "B", 3, 2, device_display_name="Lap"),
        update(world, "A", 4, 3, deleted=True),
    ]
    assert world.stored() == expected
    assert world.stored("other.example") == expected
    world.kept.flush()
    rows = [row for row in world.kept.db.announced if isinstance(row, DeviceListRow)]
    assert [(row.pos, row.user_id) for row in rows] == [(n, world.alice_id) for n in (1, 2, 3, 4)]


def test_names_of_devices_are_told_only_if_the_admin_wants_it(world: World) -> None:
    out = DevicesOut(world, names=False)
    world.join_remote(world.room)
    out.made("A", "Desk")
    assert world.stored() == [update(world, "A", 1)]


def test_what_changed_while_nobody_looked_is_told_at_the_next_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_lists_out, "_BATCH", 2)
    world.join_remote(world.room)
    for number in range(5):
        world.kept.write(devices.create, world.alice, f"D{number}", None, 0)
    assert world.stored() == []
    out = DevicesOut(world)
    world.kept.run(out.out.run())
    assert len(world.stored()) == 5
    world.kept.run(out.out.run())
    assert len(world.stored()) == 5


def test_a_change_counts_even_if_no_other_server_is_told(world: World) -> None:
    out = DevicesOut(world)
    out.made("A")
    assert out.position() == 1
    world.join_remote(world.room)
    out.made("B")
    assert world.stored() == [update(world, "B", 2, 1)]


def test_who_comes_into_a_room_is_made_known_to_its_servers(world: World) -> None:
    out = DevicesOut(world)
    world.join_remote(world.room)
    out.made("A")
    out.made("B")
    known = world.stored()
    second = world.kept.room("second")
    world.join_remote(second, OTHER)
    world.join_remote(second)
    world.kept.join(second, world.alice, world.alice_id)
    # As if the one before were missing: so the other server asks for all devices.
    assert world.stored("other.example") == [update(world, "B", 2, 1)]
    assert world.stored() == known
    carol, carol_id = world.kept.user("carol")
    world.kept.join(second, carol, carol_id)
    assert len(world.stored("other.example")) == 1
