"""What is stored of other servers, and the whole of sending, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from matrixd.ops.queue import queued, table
from matrixd.storage import destination_edus, destinations, outgoing_events, room_servers
from matrixd.storage.destinations import Behind, Reach
from matrixd.storage.outgoing_events import Lacking
from tests.support.database import DatabasePlace, OpenDatabase
from tests.support.sending import HERE, SendingServer

ONE, TWO = "one.example", "two.example"
FAILED = Reach(ONE, 3, 1000, 2000, 3000, "connect", "refused", 500, False)


def is_local(user_id: str) -> bool:
    return user_id.endswith(f":{HERE}")


@pytest.fixture
def server(database: DatabasePlace) -> Iterator[SendingServer]:
    """Without rooms."""
    made = SendingServer(database)
    yield made
    made.stop()


def test_how_a_server_answered_and_how_far_it_is_are_kept_apart(db: OpenDatabase) -> None:
    db.write(destinations.set_behind, [Behind(ONE, 7), Behind(TWO, 9)])
    db.write(destinations.set_reach, [FAILED])
    db.write(destinations.set_reach, [replace(FAILED, failures=4, retired=True)])
    assert db.read(destinations.failing) == [replace(FAILED, failures=4, retired=True)]
    assert db.read(destinations.behind) == [Behind(ONE, 7), Behind(TWO, 9)]
    db.write(destinations.set_behind, [Behind(ONE, 8)])
    db.write(destinations.set_level, [TWO])
    assert db.read(destinations.behind) == [Behind(ONE, 8)]
    assert db.read(destinations.every) == [
        (replace(FAILED, failures=4, retired=True), 8),
        (Reach(TWO), None),
    ]


def test_the_floor(db: OpenDatabase) -> None:
    assert db.read(destinations.floor) is None
    db.write(destinations.set_floor, 5)
    db.write(destinations.set_floor, 8)
    assert db.read(destinations.floor) == 8
    assert db.read(destinations.everybody_has, 0) == 8
    db.write(destinations.set_behind, [Behind(ONE, 3), Behind(TWO, 4)])
    db.write(destinations.set_reach, [FAILED])
    assert db.read(destinations.everybody_has, 0) == 3
    assert db.read(destinations.everybody_has, 1001) == 4


def test_rows_that_say_nothing_are_removed(db: OpenDatabase) -> None:
    answered = Reach("old.example", last_try_ts=10, last_success_ts=10)
    db.write(destinations.set_reach, [FAILED, replace(FAILED, destination=TWO), answered])
    db.write(destinations.set_reach, [replace(answered, destination="new.example", last_try_ts=5000)])
    db.write(destinations.set_behind, [Behind(ONE, 1), Behind(TWO, 1)])
    db.write(room_servers.change, {(1, TWO): 1})
    assert db.read(destinations.failing_since_before, 1000) == []
    assert db.read(destinations.failing_since_before, 1001) == [ONE, TWO]
    db.write(destinations.delete_unused, 1001)
    assert [reach.destination for reach, _ in db.read(destinations.every)] == ["new.example", TWO]


def test_stored_edus_are_taken_in_order_and_removed_up_to_one(db: OpenDatabase) -> None:
    for number in range(5):
        db.write(destination_edus.insert, [ONE, TWO], f"type{number % 2}", str(number))
    found = db.read(destination_edus.first, ONE, 3)
    assert [(edu.type, edu.json) for edu in found] == [("type0", "0"), ("type1", "1"), ("type0", "2")]
    db.write(destination_edus.delete, ONE, found[1].nid)
    assert db.read(destination_edus.waiting) == {ONE: 3, TWO: 5}
    assert db.write(destination_edus.delete_oldest, TWO, ["type0"], 2) == 2
    assert [edu.json for edu in db.read(destination_edus.first, TWO, 9)] == ["1", "3", "4"]
    assert db.write(destination_edus.delete_oldest, TWO, None, 1) == 1
    assert [edu.json for edu in db.read(destination_edus.first, TWO, 9)] == ["3", "4"]
    assert db.write(destination_edus.delete_all, ONE) == 3
    assert db.read(destination_edus.destinations) == [TWO]


def test_farewells_keep_the_newest_until_told(db: OpenDatabase) -> None:
    db.write(outgoing_events.set_farewells, {(ONE, 1): 5, (ONE, 2): 7, (TWO, 1): 5})
    db.write(outgoing_events.set_farewells, {(ONE, 1): 9, (ONE, 2): 6})
    assert db.read(outgoing_events.farewells, ONE, 0) == [(2, 7), (1, 9)]
    db.write(outgoing_events.delete_farewells, ONE, 8)
    assert db.read(outgoing_events.farewells, ONE, 0) == [(1, 9)]
    db.write(destinations.set_behind, [Behind(ONE, 4)])
    db.write(outgoing_events.delete_unused_farewells)
    assert db.read(outgoing_events.farewells, ONE, 0) == [(1, 9)]
    assert db.read(outgoing_events.farewells, TWO, 0) == []


def test_which_events_go_out(server: SendingServer) -> None:
    room, other = server.room("a", ONE), server.room("b", TWO)
    server.settle()
    start = server.message(room, "0").pos
    ours = server.message(room, "1").pos
    server.message(room, "theirs", f"@them:{ONE}")
    sent_on = server.message(other, "through us", f"@them:{ONE}", sends_on=True).pos
    database = server.database
    found, end = database.do(outgoing_events.between, is_local, start, sent_on)
    assert ([item.pos for item in found], end) == ([ours, sent_on], sent_on)
    in_room = database.do(outgoing_events.newest_in_room, is_local, room, start, sent_on, 5)
    assert [item.pos for item in in_room] == [ours]
    server.message(room, "2")
    assert database.do(outgoing_events.newest_in_room, is_local, room, start, sent_on + 1, 1) is None
    server.advance(2)
    assert database.do(outgoing_events.rooms_behind, ONE, ours) == [(room, sent_on + 1)]
    assert database.do(outgoing_events.rooms_behind, TWO, sent_on) == []
    lacking = database.do(outgoing_events.lacking, is_local, ONE, ours, 100)
    assert lacking == Lacking(1, 1_700_000_000_000 + sent_on + 1, True)
    assert not database.do(outgoing_events.lacking, is_local, ONE, start, 2).is_complete
    database.do(outgoing_events.forget_sent_on, sent_on)
    assert database.do(outgoing_events.sent_on, 0, sent_on) == set()


def test_an_outage_across_two_restarts(server: SendingServer) -> None:
    room = server.room("a", ONE, TWO)
    server.settle()
    server.client.down.add(ONE)
    server.message(room, "1")
    second = server.restarted()
    second.message(room, "2")
    second.advance(200)
    second.message(room, "3")
    shown = second.database.do(queued, HERE)
    assert [(item.destination, item.state, item.events, item.error_kind) for item in shown] == [
        (ONE, "down", 3, "connect")
    ]
    third = second.restarted()
    third.client.down.clear()
    third.reachability.contacted(ONE)
    third.advance(2)
    assert third.client.texts(ONE) == ["1", "2", "3"]
    assert third.client.texts(TWO) == []
    assert third.database.do(queued, HERE) == []
    # The fixture stops the last process.
    server.__dict__.update(third.__dict__)


def test_the_queue_for_people(server: SendingServer) -> None:
    room = server.room("a", ONE, TWO)
    server.settle()
    assert table(server.database.do(queued, HERE), server.time.now_ms()).startswith("Nothing waits")
    server.client.down.add(ONE)
    server.message(room, "1")
    server.advance(100)
    server.database.do(destination_edus.insert, [TWO], "m.direct_to_device", "{}")
    lines = table(server.database.do(queued, HERE), server.time.now_ms()).splitlines()
    assert lines[0].split() == [
        "server", "state", "events", "EDUs", "oldest", "last", "answer", "next", "try", "last", "error",
    ]  # fmt: skip
    assert lines[1].startswith("one.example  down (6 failures)  1 ")
    assert lines[1].endswith("connect: connection refused")
    assert lines[2].split()[:4] == [TWO, "waiting", "0", "1"]
    assert lines[-1] == "2 servers, 1 events, 1 EDUs. Failing: 1 connect."


def test_a_new_process_knows_the_pauses(server: SendingServer) -> None:
    room = server.room("a", ONE)
    server.settle()
    server.client.down.add(ONE)
    server.message(room, "1")
    server.advance(100)
    next_try = server.reachability.next_try_ts(ONE)
    again = server.restarted()
    assert again.reachability.next_try_ts(ONE) == next_try
    assert again.client.puts == []
    server.__dict__.update(again.__dict__)
