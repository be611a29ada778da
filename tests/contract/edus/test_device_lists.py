"""Device lists and signing keys of other servers: chains, gaps, reading them anew, forgetting them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from matrixd.core.identifiers import domain_of
from matrixd.core.streams import Stream
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.receiving import device_lists
from matrixd.services.receiving.device_list_resync import FIRST_DELAY_MS, DeviceListResync
from matrixd.services.receiving.device_lists import DeviceListEdus
from matrixd.services.receiving.signing_keys import SigningKeyEdus
from matrixd.services.receiving.users_in_sight import UsersInSight
from matrixd.storage import device_list_changes, remote_devices
from matrixd.storage.remote_devices import RemoteList
from matrixd.storage.rows import DeviceListRow
from tests.contract.edus.world import FAR, ROB, World

KEYS = {
    "user_id": ROB, "device_id": "D", "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
    "keys": {"ed25519:D": "abc"}, "signatures": {ROB: {"ed25519:D": "def"}},
}  # fmt: skip


class FakeRemoteUsers:
    """Answers for other servers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, Any] = {}
        #: What happens while the answer is under way.
        self.meanwhile: Any = None

    async def devices(self, destination: str, user_id: str) -> Mapping[str, Any]:
        self.asked.append((destination, user_id))
        if self.meanwhile is not None:
            await self.meanwhile()
            self.meanwhile = None
        answer = self.answers.get(user_id)
        if answer is None:
            raise RemoteError(destination, FailureKind.CONNECT, "nobody is there")
        return dict(answer)


class Lists:
    """What is known of Rob's devices."""

    def __init__(self, world: World) -> None:
        self.world = world
        database = world.kept.db.database
        self.users = FakeRemoteUsers()
        self.resync = DeviceListResync(
            database, self.users, world, world.timer, jitter=lambda: 0.5, background=world.in_background
        )
        self.edus = DeviceListEdus(database, world, self.resync.soon)
        self.keys = SigningKeyEdus(database)
        self.in_sight = UsersInSight(
            database, world.kept.feed, world, world.timer, self.resync.soon, world.in_background
        )
        world.join_remote(world.room)
        self.rob = world.remote()

    def update(self, stream_id: Any, *prev_id: Any, device_id: Any = "D", **other: Any) -> list[str]:
        content = {"user_id": ROB, "device_id": device_id, "stream_id": stream_id, "prev_id": list(prev_id)}
        return self.world.receive(self.edus, {**content, **other})

    def known(self) -> RemoteList | None:
        return self.world.kept.db.read(remote_devices.find, self.rob)

    def is_stale(self) -> bool:
        known = self.known()
        assert known is not None
        return known.is_stale

    def devices(self) -> dict[str, Any]:
        found = self.world.kept.db.read(remote_devices.of_user, self.rob)
        return {device_id: device.content for device_id, device in found.items()}

    def changes(self) -> int:
        return sum(isinstance(row, DeviceListRow) for row in self.world.kept.db.announced)

    def answer(self, stream_id: int, *device_ids: str, **other: Any) -> None:
        """What Rob's server answers from now on."""
        devices = [{"device_id": device_id, "keys": {**KEYS, "device_id": device_id}} for device_id in device_ids]
        self.users.answers[ROB] = {"user_id": ROB, "stream_id": stream_id, "devices": devices, **other}

    def verified(self, stream_id: int, *device_ids: str) -> None:
        """Rob's list is known, up to an update."""
        self.answer(stream_id, *device_ids)
        self.update(stream_id)
        self.world.advance(1)
        assert not self.is_stale()
        self.users.asked.clear()


@pytest.fixture
def lists(world: World) -> Lists:
    return Lists(world)


def test_a_list_that_was_never_read_is_read_from_its_server(lists: Lists) -> None:
    lists.answer(5, "D", "E", master_key=signing_key("master"))
    assert lists.update(5, 4, device_display_name="Desk") == []
    assert lists.is_stale()
    assert lists.devices() == {"D": {"device_id": "D", "device_display_name": "Desk"}}
    lists.world.advance(1)
    assert lists.users.asked == [(FAR, ROB)]
    known = lists.known()
    assert known is not None
    assert (known.stream_id, known.is_stale, known.verified_ts) == (5, False, lists.world.now_ms())
    assert set(lists.devices()) == {"D", "E"}
    assert lists.world.kept.db.read(remote_devices.signing_keys, lists.rob) == {"master_key": signing_key("master")}
    assert lists.changes() == 2
    assert lists.world.timer.getDelayedCalls() == []


def test_updates_in_their_order_need_no_question(lists: Lists) -> None:
    lists.verified(5, "D")
    before = lists.changes()
    assert lists.update(6, 5, device_id="E", keys={**KEYS, "device_id": "E"}) == []
    assert lists.update(7, 6, device_id="D", deleted=True) == []
    assert lists.update(9, 7, 6, device_id="E", device_display_name="x" * 600) == []
    assert lists.devices() == {"E": {"device_id": "E", "device_display_name": "x" * 512}}
    # Two that were made at the same time refer to the same one before.
    assert lists.update(10, 7, device_id="F") == []
    lists.world.advance(2)
    assert lists.users.asked == []
    assert lists.changes() == before + 4
    assert lists.update(10, 7, device_id="F") == []
    assert lists.changes() == before + 4


@pytest.mark.parametrize("prev_id", [(8,), (5, 8), ()])
def test_a_gap_makes_the_list_stale(lists: Lists, prev_id: tuple[int, ...]) -> None:
    lists.verified(5, "D")
    lists.update(9, *prev_id, device_id="E")
    assert lists.is_stale()
    assert set(lists.devices()) == {"D", "E"}
    lists.answer(9, "E")
    lists.world.advance(1)
    assert not lists.is_stale()
    assert set(lists.devices()) == {"E"}


def test_a_server_that_counts_anew_is_asked(lists: Lists) -> None:
    lists.verified(500, "D")
    lists.update(1, device_id="E")
    assert lists.is_stale()
    lists.answer(1, "E")
    lists.world.advance(1)
    assert (set(lists.devices()), lists.is_stale()) == ({"E"}, False)
    lists.update(2, 1, device_id="F")
    assert not lists.is_stale()


def test_a_server_that_does_not_answer_is_asked_later_and_later(lists: Lists) -> None:
    lists.update(5)
    asked = []
    for minute in range(20):
        lists.world.advance(60 if minute else 1)
        if lists.users.asked:
            asked.append(minute)
            lists.users.asked.clear()
    assert asked == [0, 1, 3, 7, 15]
    assert FIRST_DELAY_MS == 60_000
    known = lists.known()
    assert known is not None
    assert known.tries == 5
    lists.answer(5, "D")
    lists.world.advance(24 * 3600)
    assert not lists.is_stale()


def test_what_comes_while_a_list_is_read_is_not_lost(lists: Lists) -> None:
    lists.answer(5, "D")

    async def meanwhile() -> None:
        content = {"user_id": ROB, "device_id": "E", "stream_id": 6, "prev_id": [5]}
        await lists.edus.receive(FAR, [content], lists.world.refusals.append)
        lists.answer(6, "D", "E")

    lists.users.meanwhile = meanwhile
    answers = iter([lists.users.answers[ROB], {**lists.users.answers[ROB], "stream_id": 6}])
    lists.update(5)
    lists.users.answers[ROB] = next(answers)
    lists.world.advance(1)
    assert (set(lists.devices()), lists.is_stale()) == ({"D", "E"}, False)


@pytest.mark.parametrize(
    "answer",
    [
        {}, {"user_id": "@eve:far.example"}, {"stream_id": -1}, {"stream_id": "5"}, {"devices": 7}, {"devices": [7]},
        {"devices": [{}]}, {"master_key": 7}, {"master_key": {}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("engine_name", ["sqlite3"])
def test_wrong_answers_change_nothing(lists: Lists, answer: dict[str, Any]) -> None:
    lists.update(5)
    lists.users.answers[ROB] = {"user_id": ROB, "stream_id": 5, "devices": [], **answer} if answer else {"a": 1}
    lists.world.advance(1)
    assert lists.is_stale()
    assert lists.devices() == {"D": {"device_id": "D"}}


def test_wrong_keys_of_one_device_do_not_keep_the_others(lists: Lists) -> None:
    lists.answer(5, "D")
    lists.users.answers[ROB]["devices"] += [{"device_id": "E", "keys": {"user_id": 7}}, {"device_id": ""}]
    lists.update(5)
    lists.world.advance(1)
    assert lists.devices() == {"D": {"device_id": "D", "keys": KEYS}, "E": {"device_id": "E"}}


def test_wrong_updates_cost_the_others_nothing(lists: Lists) -> None:
    lists.verified(5, "D")
    wrong: list[dict[str, Any]] = [
        {"user_id": lists.world.alice_id}, {"user_id": "rob"}, {"user_id": 7}, {"device_id": ""}, {"device_id": 7},
        {"device_id": "x" * 600}, {"stream_id": -1}, {"stream_id": 2**60}, {"stream_id": "6"}, {"stream_id": 6.5},
        {"prev_id": 5}, {"prev_id": ["5"]}, {"prev_id": [5] * 1_000_001}, {"deleted": "no"},
        {"device_display_name": 7}, {"keys": 7}, {"keys": {}}, {"keys": {**KEYS, "user_id": lists.world.alice_id}},
        {"keys": {**KEYS, "device_id": "E"}}, {"keys": {**KEYS, "keys": {"ed25519:D": 7}}},
        {"keys": {**KEYS, "junk": "x" * 70_000}},
    ]  # fmt: skip
    good = {"user_id": ROB, "device_id": "D", "stream_id": 6, "prev_id": [5], "keys": KEYS}
    refused = lists.world.receive(lists.edus, *({**good, **one} for one in wrong), {}, good)
    assert len(refused) == len(wrong) + 1
    known = lists.known()
    assert known is not None
    assert (known.stream_id, known.is_stale) == (6, False)


def test_of_a_great_many_devices_so_many_are_kept(lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_lists, "MAX_DEVICES", 2)
    for number in range(5):
        lists.update(number + 1, number, device_id=f"D{number}")
    assert len(lists.devices()) == 2


# --- Signing keys


def signing_key(usage: str, public: str = "abc") -> dict[str, Any]:
    return {"user_id": ROB, "usage": [usage], "keys": {f"ed25519:{public}": public}}


def test_signing_keys_are_kept(lists: Lists) -> None:
    kept = lists.world.kept
    both = {"master_key": signing_key("master"), "self_signing_key": signing_key("self_signing", "def")}
    assert lists.world.receive(lists.keys, {"user_id": ROB, **both}) == []
    assert kept.db.read(remote_devices.signing_keys, lists.rob) == both
    newer = signing_key("self_signing", "ghi")
    lists.world.receive(lists.keys, {"user_id": ROB, "self_signing_key": newer})
    assert kept.db.read(remote_devices.signing_keys, lists.rob) == {**both, "self_signing_key": newer}
    # A new master key has not signed what the old one did.
    lists.world.receive(lists.keys, {"user_id": ROB, "master_key": signing_key("master", "new")})
    assert kept.db.read(remote_devices.signing_keys, lists.rob) == {"master_key": signing_key("master", "new")}
    assert lists.changes() == 3
    assert kept.feed.token[Stream.DEVICE_LISTS] == 3


def test_wrong_signing_keys_cost_the_others_nothing(lists: Lists) -> None:
    master = signing_key("master")
    wrong: list[dict[str, Any]] = [
        {"user_id": lists.world.alice_id}, {"user_id": 7}, {"master_key": 7}, {"master_key": {}},
        {"master_key": signing_key("self_signing")}, {"master_key": {**master, "user_id": lists.world.alice_id}},
        {"master_key": {**master, "keys": {}}}, {"master_key": {**master, "keys": {"a:b": "b", "c:d": "d"}}},
        {"master_key": {**master, "keys": {"ed25519:abc": "other"}}}, {"self_signing_key": master},
        {"master_key": {**master, "signatures": 7}}, {"master_key": {**master, "junk": "x" * 70_000}},
    ]  # fmt: skip
    refused = lists.world.receive(
        lists.keys, *({"user_id": ROB, **one} for one in wrong), {}, {"user_id": ROB, "master_key": master}
    )
    assert len(refused) == len(wrong) + 1
    assert lists.world.kept.db.read(remote_devices.signing_keys, lists.rob) == {"master_key": master}


# --- Who is in sight


def test_nothing_is_kept_of_users_who_share_no_room(lists: Lists) -> None:
    eve = f"@eve:{FAR}"
    eve_nid = lists.world.remote(eve)
    assert lists.update(5, user_id=eve) == []
    assert lists.update(5, user_id=f"@unknown:{FAR}") == []
    lists.world.receive(lists.keys, {"user_id": eve, "master_key": {**signing_key("master"), "user_id": eve}})
    assert lists.world.kept.db.read(remote_devices.find, eve_nid) is None
    assert lists.world.kept.db.read(remote_devices.signing_keys, eve_nid) == {}
    assert lists.changes() == 0


@pytest.mark.parametrize("who_leaves", ["rob", "alice"])
def test_who_goes_out_of_sight_is_forgotten(lists: Lists, who_leaves: str) -> None:
    world = lists.world
    lists.verified(5, "D")
    world.receive(lists.keys, {"user_id": ROB, "master_key": signing_key("master")})
    world.kept.run(lists.in_sight.forget())
    assert set(lists.devices()) == {"D"}
    if who_leaves == "rob":
        world.join_remote(world.room, membership="leave")
    else:
        world.kept.join(world.room, world.alice, world.alice_id, "leave")
    world.kept.run(lists.in_sight.forget())
    assert (lists.known(), lists.devices()) == (None, {})
    assert world.kept.db.read(remote_devices.signing_keys, lists.rob) == {}
    assert world.kept.db.read(device_list_changes.position, lists.rob).pos == 0


@pytest.mark.parametrize("who_comes", ["rob", "alice"])
def test_who_comes_back_into_sight_has_a_stale_list(lists: Lists, who_comes: str) -> None:
    world = lists.world
    second = world.kept.room("second")
    lists.verified(5, "D")
    # Another room in which they meet changes nothing.
    world.kept.join(second, world.alice, world.alice_id)
    world.join_remote(second)
    world.advance(2)
    assert not lists.is_stale()
    for room_nid in (world.room, second):
        world.join_remote(room_nid, membership="leave")
    if who_comes == "alice":
        world.kept.join(world.room, world.alice, world.alice_id, "leave")
        world.join_remote(world.room)
        world.advance(2)
        assert lists.users.asked == []
        world.kept.join(world.room, world.alice, world.alice_id)
    else:
        world.join_remote(world.room)
    world.timer.advance(1)
    assert lists.is_stale()
    world.advance(1)
    assert lists.users.asked == [(domain_of(ROB), ROB)]
