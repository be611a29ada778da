"""Which transactions go to which server, and when."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from matrixd.net.errors import FailureKind, RemoteError
from tests.support.sending import HERE, Put, SendingServer

ONE, TWO = "one.example", "two.example"


def last(server: SendingServer) -> Put:
    return server.client.puts[-1]


def test_an_event_goes_at_once_to_every_other_server_of_the_room(server: SendingServer) -> None:
    room = server.room("a", ONE, TWO)
    server.room("b", "three.example")
    server.settle()
    row = server.message(room, "hello")
    assert sorted(put.destination for put in server.client.puts) == [ONE, TWO]
    for put in server.client.puts:
        assert put.path.startswith("/_matrix/federation/v1/send/txn")
        assert put.body["origin"] == HERE
        assert put.body["origin_server_ts"] == server.time.now_ms()
        assert put.body["pdus"] == [row.event.pdu]
        assert "edus" not in put.body


def test_events_of_others_go_out_only_when_they_are_to_be_sent_on(server: SendingServer) -> None:
    room = server.room("a", ONE, TWO)
    server.settle()
    server.message(room, "theirs", f"@them:{ONE}")
    assert server.client.puts == []
    server.message(room, "through us", f"@them:{ONE}", sends_on=True)
    assert [put.destination for put in server.client.puts] == [TWO]


def test_who_is_removed_is_told_although_the_server_is_in_the_room_no_more(server: SendingServer) -> None:
    room = server.room("a", ONE, TWO)
    server.settle()
    server.membership(room, f"@them:{ONE}", "ban")
    assert sorted(put.destination for put in server.client.puts) == [ONE, TWO]
    server.settle()
    server.message(room, "after")
    server.membership(room, f"@never:{ONE}", "ban")
    assert {put.destination for put in server.client.puts} == {TWO}


def test_a_taken_back_invite_is_told_to_the_invited_server(server: SendingServer) -> None:
    room = server.room("a", TWO)
    server.membership(room, f"@them:{ONE}", "invite")
    server.settle()
    server.membership(room, f"@them:{ONE}", "leave")
    assert sorted(put.destination for put in server.client.puts) == [ONE, TWO]


def test_one_transaction_at_a_time_and_what_comes_meanwhile_goes_together(server: SendingServer) -> None:
    room = server.room("a", ONE)
    server.settle()
    server.client.silent.add(ONE)
    for number in range(1, 122):
        server.message(room, str(number))
    assert [put.texts for put in server.client.puts] == [["1"]]
    sizes = []
    while server.client.puts[-1].answer.called is False:
        put = last(server)
        sizes.append(len(put.texts))
        put.answer.callback({"pdus": {}})
        server.advance(0)
    assert sizes == [1, 50, 50, 20]
    assert server.client.texts(ONE) == [str(number) for number in range(1, 122)]
    assert len({put.path for put in server.client.puts}) == 4


def test_a_failed_transaction_is_sent_again_the_same_soon_and_then_seldom(server: SendingServer) -> None:
    room = server.room("a", ONE)
    server.settle()
    server.client.down.add(ONE)
    server.message(room, "first")
    server.message(room, "second")
    server.advance(20)
    tries = server.client.puts
    assert len(tries) == 5
    assert len({put.path for put in tries}) == 1
    assert all(put.body == tries[0].body for put in tries)
    server.client.down.clear()
    server.advance(30)
    assert server.client.puts[5].body == tries[0].body
    assert server.client.puts[6].texts == ["second"]
    assert len(server.client.puts) == 7


def test_after_a_long_outage_a_contact_brings_what_was_missed(server: SendingServer) -> None:
    room = server.room("a", ONE, TWO)
    server.settle()
    server.client.down.add(ONE)
    server.message(room, "1")
    server.advance(3600)
    assert server.sender.held_bytes == 0
    for number in range(2, 8):
        server.message(room, str(number))
    server.client.puts.clear()
    server.client.down.clear()
    server.reachability.contacted(ONE)
    server.advance(0)
    assert server.client.texts(ONE) == ["1", "2", "3", "4", "5", "6", "7"]
    server.advance(2)
    assert server.sender.waiting == 0


def test_of_a_room_with_many_missed_events_only_the_newest_is_sent(server: SendingServer) -> None:
    busy, quiet = server.room("busy", ONE), server.room("quiet", ONE)
    server.settle()
    server.client.down.add(ONE)
    server.message(busy, "lost")
    server.advance(3600)
    for number in range(120):
        server.message(busy, str(number))
    server.message(quiet, "a")
    server.message(quiet, "b")
    server.client.puts.clear()
    server.client.down.clear()
    server.reachability.contacted(ONE)
    server.advance(0)
    assert server.client.texts(ONE) == ["119", "a", "b"]
    server.message(busy, "next")
    assert server.client.texts(ONE) == ["119", "a", "b", "next"]


def test_events_that_come_during_a_catch_up_come_after_it(server: SendingServer) -> None:
    rooms = [server.room(f"r{number}", ONE) for number in range(60)]
    server.settle()
    server.client.down.add(ONE)
    server.message(rooms[0], "0-0")
    server.advance(3600)
    for number, room in enumerate(rooms):
        server.message(room, f"{number}-1")
        server.message(room, f"{number}-2")
    server.client.puts.clear()
    server.client.down.clear()
    server.client.silent.add(ONE)
    server.reachability.contacted(ONE)
    server.advance(0)
    server.message(rooms[0], "0-3")
    while not last(server).answer.called:
        last(server).answer.callback({"pdus": {}})
        server.advance(0)
    sent = server.client.texts(ONE)
    assert len(sent) == len(set(sent)) == 122
    for number in range(60):
        of_room = [text for text in sent if text.startswith(f"{number}-")]
        assert of_room == sorted(of_room)
    assert sent[-1] == "0-3"


def test_a_window_that_is_full_goes_on_from_the_database(server: SendingServer) -> None:
    rooms = [server.room(f"r{number}", ONE) for number in range(10)]
    server.settle()
    server.client.silent.add(ONE)
    for number in range(400):
        server.message(rooms[number % 10], str(number))
    while not last(server).answer.called:
        last(server).answer.callback({"pdus": {}})
        server.advance(0)
    # The rooms come one after the other when they are read from the database; each in its order.
    sent = server.client.texts(ONE)
    assert sorted(map(int, sent)) == list(range(400))
    for room in range(10):
        assert [n for n in map(int, sent) if n % 10 == room] == list(range(room, 400, 10))


def test_a_server_that_was_kicked_while_it_was_out_of_reach_is_told(server: SendingServer) -> None:
    room = server.room("a", ONE)
    server.settle()
    server.client.down.add(ONE)
    server.message(room, "1")
    server.advance(3600)
    kick = server.membership(room, f"@them:{ONE}", "leave")
    server.message(room, "not for them")
    server.advance(2)
    again = server.killed()
    again.client.down.clear()
    again.reachability.contacted(ONE)
    again.advance(0)
    assert again.client.puts[-1].body["pdus"] == [kick.event.pdu]
    assert again.client.texts(ONE) == ["leave"]
    again.advance(2)
    assert again.database.do(lambda tx: tx.all("SELECT * FROM farewells")) == []
    again.stop()


def test_a_kill_between_the_answer_and_the_written_position_sends_again(server: SendingServer) -> None:
    room = server.room("a", ONE, TWO)
    server.settle()
    server.message(room, "1")
    assert server.client.texts(ONE) == ["1"]
    again = server.killed()
    assert again.client.texts(ONE) == ["1"]
    again.advance(2)
    third = again.killed()
    assert third.client.puts == []
    third.stop()


def test_a_kill_loses_nothing_that_was_not_taken(server: SendingServer) -> None:
    room = server.room("a", ONE, TWO)
    server.settle()
    server.client.silent.add(ONE)
    server.message(room, "1")
    server.advance(5)
    server.message(room, "2")
    server.message(room, "through us", "@them:three.example", sends_on=True)
    again = server.killed()
    assert again.client.texts(ONE) == ["1", "2", "through us"]
    again.stop()


def test_a_kill_after_the_failure_was_written_loses_nothing(server: SendingServer) -> None:
    room = server.room("a", ONE, TWO)
    server.settle()
    server.client.down.add(ONE)
    server.message(room, "1")
    server.advance(3)
    server.message(room, "2")
    server.advance(2)
    again = server.killed()
    assert again.client.texts(TWO) == []
    again.client.down.clear()
    again.advance(60)
    assert again.client.texts(ONE) == ["1", "2"]
    again.advance(2)
    rows = again.database.do(lambda tx: tx.all("SELECT acked_pos, failures FROM destinations"))
    assert rows == [(None, 0)]
    again.stop()


def test_a_stop_gives_what_is_under_way_a_short_time(server: SendingServer) -> None:
    room = server.room("a", ONE)
    server.settle()
    server.client.silent.add(ONE)
    server.message(room, "1")
    server.message(room, "2")
    again = server.restarted()
    assert again.client.texts(ONE) == ["1", "2"]
    again.stop()


def test_a_message_to_many_servers_writes_a_handful_of_rows(server: SendingServer) -> None:
    room = server.room("a", *(f"s{number}.example" for number in range(300)))
    server.advance(2)
    assert server.database.do(lambda tx: tx.one("SELECT COUNT(*) FROM destinations")) == (0,)
    before, touched = server.database.writes, []
    connection = server.database._connection
    insert_many = connection.insert_many

    def counted(table: str, columns: Any, rows: Any, suffix: str) -> None:
        touched.extend([table] * len(rows))
        insert_many(table, columns, rows, suffix)

    connection.insert_many = counted  # type: ignore[method-assign]
    server.message(room, "hello")
    server.advance(2)
    assert sum(put.texts == ["hello"] for put in server.client.puts) == 300
    assert sorted(set(touched) - {"users"}) == ["events", "outgoing_rooms"]
    assert server.database.writes - before <= 3


def test_healthy_servers_do_not_wait_for_silent_ones(server: SendingServer) -> None:
    silent = [f"silent{number}.example" for number in range(50)]
    room, other = server.room("a", *silent), server.room("b", ONE)
    server.settle()
    server.client.down.update(silent)
    server.message(room, "x")
    server.advance(100)
    server.client.down.clear()
    server.client.silent.update(silent)
    server.advance(1200)
    taken, limit = server.sender.under_way
    assert 0 < taken <= limit // 2
    server.client.puts.clear()
    server.message(other, "quick")
    assert server.client.texts(ONE) == ["quick"]


def test_servers_take_turns(server: SendingServer) -> None:
    names = [f"s{number}.example" for number in range(60)]
    rooms = [server.room(f"r{number}", name) for number, name in enumerate(names)]
    server.settle()
    server.client.silent.update(names)
    for room in rooms:
        server.message(room, "1")
    for _ in range(3):
        server.message(rooms[0], "more")
    answered = 0
    while answered < len(server.client.puts):
        server.client.puts[answered].answer.callback({"pdus": {}})
        answered += 1
        server.advance(0)
    order = [put.destination for put in server.client.puts]
    assert sorted(set(order)) == sorted(names)
    # The first server gets its second transaction when all others have had their first.
    assert order.index(names[0], 1) >= 59 or len(order) == 60


def test_the_number_of_transactions_at_once_is_bounded(server: SendingServer) -> None:
    names = [f"s{number}.example" for number in range(100)]
    room = server.room("a", *names)
    server.settle()
    server.client.silent.update(names)
    server.message(room, "x")
    taken, limit = server.sender.under_way
    assert taken == limit == len(server.client.puts) < 100


def test_an_event_that_is_refused_is_dropped_and_the_rest_goes_on(
    server: SendingServer, caplog: pytest.LogCaptureFixture
) -> None:
    room = server.room("a", ONE)
    server.settle()

    def picky(put: Put) -> Any:
        if "bad" in put.texts:
            raise RemoteError(ONE, FailureKind.HTTP, "bad event", status=400, errcode="M_BAD_JSON")
        return {"pdus": {}}

    server.client.silent.add(ONE)
    for text in ("0", "1", "bad", "2"):
        server.message(room, text)
    server.client.silent.clear()
    server.client.answers[ONE] = picky
    server.client.puts[0].answer.callback({"pdus": {}})
    with caplog.at_level(logging.WARNING):
        server.advance(120)
    taken = [put.texts for put in server.client.puts if "bad" not in put.texts]
    assert taken == [["0"], ["1"], ["2"]]
    assert "refuses the event" in caplog.text
    server.message(room, "3")
    assert server.client.puts[-1].texts == ["3"]


def test_a_server_that_forbids_us_is_left_alone_longer_and_longer(server: SendingServer) -> None:
    room = server.room("a", ONE)
    server.settle()

    def forbids(put: Put) -> Any:
        raise RemoteError(ONE, FailureKind.HTTP, "go away", status=403, errcode="M_FORBIDDEN")

    server.client.answers[ONE] = forbids
    server.message(room, "x")
    server.advance(3600)
    assert 6 <= len(server.client.puts) <= 10


def test_an_error_for_an_event_is_logged_once(server: SendingServer, caplog: pytest.LogCaptureFixture) -> None:
    room = server.room("a", ONE)
    server.settle()
    server.client.answers[ONE] = lambda put: {"pdus": {"$event1": {"error": "not allowed"}, "$event2": {}}}
    with caplog.at_level(logging.WARNING):
        server.message(room, "1")
        server.message(room, "2")
    assert [record.message for record in caplog.records if "not allowed" in record.message] == [
        f"{ONE} did not take 1 events (this is said once): '$event1': 'not allowed'"
    ]
    assert server.client.texts(ONE) == ["1", "2"]


@pytest.mark.parametrize("answer", [None, [], {}, {"pdus": []}, {"pdus": {"$a": 1}}])
def test_a_strange_answer_is_an_answer(server: SendingServer, answer: Any) -> None:
    room = server.room("a", ONE)
    server.settle()
    server.client.answers[ONE] = lambda put: answer
    server.message(room, "1")
    server.message(room, "2")
    assert server.client.texts(ONE) == ["1", "2"]


def test_while_the_database_is_away_nothing_is_lost(server: SendingServer) -> None:
    room = server.room("a", ONE)
    server.settle()
    server.client.down.add(ONE)
    server.message(room, "1")
    server.advance(3600)
    server.client.down.clear()
    server.database.is_away = True
    server.reachability.contacted(ONE)
    server.advance(5)
    assert server.client.texts(ONE)[-1:] in ([], ["1"])
    server.client.puts.clear()
    server.database.is_away = False
    server.advance(5)
    assert server.client.texts(ONE) == ["1"]
