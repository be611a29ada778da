"""EDUs: what waits in memory, and what is stored."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from matrixd.services.sending_out import ephemeral_edus
from matrixd.services.sending_out.ephemeral_edus import EphemeralEdus
from matrixd.services.sending_out.purge import Purge
from matrixd.storage import destination_edus
from tests.support.sending import HERE, SendingServer, result_of

ONE, TWO = "one.example", "two.example"


def typing(user: str, on: bool = True) -> dict[str, Any]:
    return {"room_id": "!a:here.example", "user_id": user, "typing": on}


def presence(user: str) -> dict[str, Any]:
    return {"push": [{"user_id": user, "presence": "online", "last_active_ago": 1}]}


def store(server: SendingServer, destinations: list[str], edu_type: str, content: dict[str, Any]) -> None:
    server.database.do(lambda tx: server.outbox.store_edu(tx, destinations, edu_type, content))
    server.advance(0)


def test_a_newer_edu_takes_the_place_of_an_older_one() -> None:
    edus = EphemeralEdus()
    edus.add("m.typing", b"1", "alice")
    edus.add("m.typing", b"2", "bob")
    edus.add("m.typing", b"3", "alice")
    edus.add("m.typing", b"4", None)
    edus.add("m.typing", b"5", None)
    assert [edu.content for edu in edus.take(10, 1000)] == [b"2", b"3", b"4", b"5"]
    assert len(edus) == 0


def test_presence_is_dropped_first_then_typing_then_receipts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ephemeral_edus, "MAX_WAITING", 4)
    edus = EphemeralEdus()
    dropped = [
        edus.add(edu_type, f"{edu_type}{number}".encode(), None)
        for number in (1, 2)
        for edu_type in ("m.presence", "m.receipt", "m.typing")
    ]
    assert dropped == [0, 0, 0, 0, 1, 1]
    assert [edu.content for edu in edus.take(10, 1000)] == [b"m.receipt1", b"m.receipt2", b"m.typing1", b"m.typing2"]
    for number in range(6):
        edus.add("m.receipt", str(number).encode(), None)
    assert [edu.content for edu in edus.take(10, 1000)] == [b"2", b"3", b"4", b"5"]


def test_presences_of_several_users_go_in_one_edu(server: SendingServer) -> None:
    for name in ("a", "b", "a", "c"):
        server.outbox.send_edu([ONE], "m.presence", presence(f"@{name}:{HERE}"), f"@{name}:{HERE}")
    server.advance(1)
    (put,) = server.client.puts
    ((edu_type, content),) = put.edus
    assert edu_type == "m.presence"
    assert [push["user_id"] for push in content["push"]] == [f"@{name}:{HERE}" for name in ("b", "a", "c")]


def test_edus_go_to_others_only_and_with_events(server: SendingServer) -> None:
    room = server.room("a", ONE)
    server.advance(2)
    server.client.puts.clear()
    server.outbox.send_edu([HERE, ONE], "m.typing", typing("@a:here.example"), "a")
    assert server.client.puts == []
    server.message(room, "hello")
    (put,) = server.client.puts
    assert put.texts == ["hello"]
    assert put.edus == [("m.typing", typing("@a:here.example"))]


def test_edus_alone_wait_for_others_of_their_kind_for_a_moment(server: SendingServer) -> None:
    server.outbox.send_edu([ONE], "m.typing", typing("@a:here.example"), "a")
    server.outbox.send_edu([ONE], "m.typing", typing("@b:here.example"), "b")
    server.advance(0)
    assert server.client.puts == []
    server.advance(0.1)
    assert [put.edus for put in server.client.puts] == [
        [("m.typing", typing("@a:here.example")), ("m.typing", typing("@b:here.example"))]
    ]
    assert server.client.puts[0].body["pdus"] == []


def test_a_transaction_has_at_most_a_hundred(server: SendingServer) -> None:
    server.client.silent.add(ONE)
    server.outbox.send_edu([ONE], "m.typing", typing("@a:here.example"), "a")
    server.advance(1)
    for number in range(120):
        store(server, [ONE], "m.direct_to_device", {"message_id": str(number)})
    for number in range(150):
        server.outbox.send_edu([ONE], "m.receipt", {"number": number})
    sizes = []
    while not server.client.puts[-1].answer.called:
        put = server.client.puts[-1]
        sizes.append((sum(t == "m.direct_to_device" for t, _ in put.edus), len(put.edus)))
        put.answer.callback({"pdus": {}})
        server.advance(1)
    assert sizes == [(0, 1), (80, 100), (40, 100), (0, 70)]
    sent = [content["message_id"] for put in server.client.puts for _, content in put.edus if "message_id" in content]
    assert sent == [str(number) for number in range(120)]


def test_typing_and_presence_are_not_kept_for_a_server_that_fails(server: SendingServer) -> None:
    room = server.room("a", ONE)
    server.client.down.add(ONE)
    server.message(room, "x")
    server.outbox.send_edu([ONE], "m.typing", typing("@a:here.example"), "a")
    server.outbox.send_edu([ONE], "m.presence", presence("@a:here.example"), "a")
    server.outbox.send_edu([ONE], "m.receipt", {"r": 1}, "a")
    server.client.down.clear()
    server.client.puts.clear()
    server.advance(60)
    assert [edu for put in server.client.puts for edu in put.edus] == [("m.receipt", {"r": 1})]
    assert server.sender.counts.dropped_edus == 2


def test_a_stored_edu_survives_a_kill_and_goes_when_it_was_taken(server: SendingServer) -> None:
    server.client.down.add(ONE)
    store(server, [ONE, TWO, HERE], "m.direct_to_device", {"message_id": "1"})
    assert [put.destination for put in server.client.puts if put.destination == TWO] == [TWO]
    server.advance(3)
    again = server.killed()
    assert again.database.do(destination_edus.waiting) == {ONE: 1}
    again.client.down.clear()
    again.client.puts.clear()
    again.advance(60)
    assert [(put.destination, put.edus) for put in again.client.puts] == [
        (ONE, [("m.direct_to_device", {"message_id": "1"})])
    ]
    assert again.database.do(destination_edus.waiting) == {}
    again.stop()


def test_a_stored_edu_is_sent_again_with_its_transaction(server: SendingServer) -> None:
    server.client.down.add(ONE)
    store(server, [ONE], "m.direct_to_device", {"message_id": "1"})
    store(server, [ONE], "m.direct_to_device", {"message_id": "2"})
    server.advance(2)
    server.client.down.clear()
    server.advance(60)
    assert len({put.path for put in server.client.puts[:-1]}) == 1
    assert [content["message_id"] for put in server.client.puts[-2:] for _, content in put.edus] == ["1", "2"]


def purge(server: SendingServer) -> None:
    result_of(Deferred.fromCoroutine(Purge(server.database, server.time).run()))  # type: ignore[arg-type]


def test_too_many_stored_edus_lose_device_lists_first(
    server: SendingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matrixd.services.sending_out.purge.MAX_STORED_EDUS", 3)
    server.client.silent.add(ONE)
    for number, edu_type in enumerate(["m.direct_to_device", "m.device_list_update"] * 3):
        store(server, [ONE], edu_type, {"n": number})
    purge(server)
    kept = [edu.json for edu in server.database.do(destination_edus.first, ONE, 100)]
    assert kept == ['{"n":0}', '{"n":2}', '{"n":4}']
    store(server, [ONE], "m.direct_to_device", {"n": 6})
    purge(server)
    assert [edu.json for edu in server.database.do(destination_edus.first, ONE, 100)] == [
        '{"n":2}', '{"n":4}', '{"n":6}',
    ]  # fmt: skip


def test_a_server_that_is_gone_for_a_month_is_given_up(server: SendingServer) -> None:
    server.client.down.update([ONE, TWO])
    room = server.room("a", TWO)
    store(server, [ONE, TWO], "m.direct_to_device", {"n": 1})
    server.message(room, "x")
    for _ in range(100):
        server.time.advance(10)
    server.time.advance(31 * 24 * 3600)
    server.advance(10)
    purge(server)
    assert server.database.do(destination_edus.waiting) == {}
    left = server.database.do(lambda tx: tx.all("SELECT destination, acked_pos IS NULL FROM destinations"))
    # The other one shares a room with us: it is told what it missed when it comes back.
    assert [(name, bool(lacks_nothing)) for name, lacks_nothing in left] == [(TWO, False)]
