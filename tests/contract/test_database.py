"""What every store relies on: group commits, isolation of what fails, counters, and the order of announcements."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, DeferredList

from matrixd.storage import database as database_module
from matrixd.storage.engines.base import Claimed, Mode, Unavailable
from matrixd.storage.migrations import SchemaTooNew, migrate
from matrixd.storage.transaction import Transaction
from tests.support.database import DatabasePlace, OpenDatabase
from tests.support.postgres import PostgresCluster


def add_user(tx: Transaction, name: str, fail: bool = False) -> int:
    number = tx.next_id("users")
    tx.execute("INSERT INTO users (user_nid, user_id) VALUES (?, ?)", (number, name))
    tx.announce(name)
    if fail:
        raise ValueError(name)
    return number


def user_names(tx: Transaction) -> list[str]:
    return [row[0] for row in tx.all("SELECT user_id FROM users ORDER BY user_nid")]


class _Gate:
    """Holds the writer until opened, so that what is submitted meanwhile becomes one group."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def hold(self, tx: Transaction) -> None:
        self.reached.set()
        assert self.opened.wait(10)


def as_one_group(db: OpenDatabase, names: list[tuple[str, bool]]) -> list[tuple[bool, object]]:
    gate = _Gate()
    held = db.database.write(gate.hold)
    assert gate.reached.wait(10)
    waiting: list[Deferred[Any]] = [db.database.write(add_user, name, fail) for name, fail in names]
    gate.opened.set()
    db.wait(held)
    return db.wait(DeferredList(waiting, consumeErrors=True))


def test_what_waits_is_committed_together_and_announced_in_order(db: OpenDatabase) -> None:
    results = as_one_group(db, [(f"@u{n}:x", False) for n in range(20)])
    assert [number for _, number in results] == list(range(1, 21))
    assert db.announced == [f"@u{n}:x" for n in range(20)]
    assert db.read(user_names) == db.announced


def test_a_function_that_raises_takes_nobody_with_it(db: OpenDatabase) -> None:
    results = as_one_group(db, [("@a:x", False), ("@bad:x", True), ("@b:x", False), ("@worse:x", True)])
    assert [ok for ok, _ in results] == [True, False, True, False]
    assert db.read(user_names) == ["@a:x", "@b:x"]
    assert db.announced == ["@a:x", "@b:x"]
    # The numbers that the failed ones took are given again: positions have no gaps.
    assert db.write(add_user, "@c:x") == 3


def test_the_same_key_twice_in_a_group_fails_the_second_only(db: OpenDatabase) -> None:
    results = as_one_group(db, [("@a:x", False), ("@a:x", False), ("@b:x", False)])
    assert [ok for ok, _ in results] == [True, False, True]
    assert sorted(db.read(user_names)) == ["@a:x", "@b:x"]


def test_counters_and_rows_survive_a_restart(db: OpenDatabase) -> None:
    assert db.write(add_user, "@a:x") == 1
    again = db.reopened()
    try:
        assert again.write(add_user, "@b:x") == 2
    finally:
        again.close()


def test_what_is_learned_is_forgotten_when_the_transaction_fails(db: OpenDatabase) -> None:
    def learn(tx: Transaction, fail: bool) -> object:
        before = tx.recall("fact")
        tx.learn("fact", "known")
        if fail:
            raise ValueError
        return before

    with pytest.raises(ValueError):
        db.write(learn, True)
    assert db.write(learn, False) is None
    assert db.write(learn, False) == "known"


def test_a_reader_sees_one_snapshot(db: OpenDatabase) -> None:
    db.write(add_user, "@a:x")
    seen, written = threading.Event(), threading.Event()

    def twice(tx: Transaction) -> tuple[list[str], list[str]]:
        first = user_names(tx)
        seen.set()
        assert written.wait(10)
        return first, user_names(tx)

    reading = db.database.read(twice)
    assert seen.wait(10)
    db.write(add_user, "@b:x")
    written.set()
    assert db.wait(reading) == (["@a:x"], ["@a:x"])


def test_a_reader_cannot_take_numbers(db: OpenDatabase) -> None:
    with pytest.raises(AssertionError, match="cannot take numbers"):
        db.read(add_user, "@a:x")


def test_one_master_at_a_time(db: OpenDatabase) -> None:
    with pytest.raises(Claimed, match="another matrixd"):
        db.place.engine().connect(Mode.MASTER)
    db.place.engine().connect(Mode.WRITE).close()


def test_many_rows_at_once_and_conditions_on_lists(db: OpenDatabase) -> None:
    rows = [(number, f"@u{number}:x") for number in range(1, 1501)]
    db.write(lambda tx: tx.insert_many("users", ("user_nid", "user_id"), rows))

    def some(tx: Transaction) -> list[str]:
        condition, parameter = tx.among("user_id", ["@u7:x", "@u1500:x", "@none:x", "100%?"])
        rows = tx.all(f"SELECT user_id FROM users WHERE {condition} ORDER BY user_nid", (parameter,))
        return [row[0] for row in rows]

    assert db.read(some) == ["@u7:x", "@u1500:x"]


def test_percent_signs_and_question_marks_in_values(db: OpenDatabase) -> None:
    db.write(add_user, "@50%_?:x")
    assert db.read(lambda tx: tx.one("SELECT user_nid FROM users WHERE user_id LIKE '@50\\%%' ESCAPE '\\'")) == (1,)


def test_too_much_waiting_work_is_refused(db: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "QUEUE_LIMIT", 2)
    gate = _Gate()
    held = db.database.write(gate.hold)
    assert gate.reached.wait(10)
    waiting: list[Deferred[Any]] = [db.database.write(add_user, f"@u{n}:x") for n in range(2)]
    with pytest.raises(Unavailable, match="too much work"):
        db.wait(db.database.write(add_user, "@late:x"))
    gate.opened.set()
    db.wait(DeferredList([held, *waiting]))


def test_stopping_finishes_what_waits(database: DatabasePlace) -> None:
    opened = OpenDatabase(database)
    waiting = [opened.database.write(add_user, f"@u{n}:x") for n in range(50)]
    opened.close()
    assert all(result for result, _ in opened.wait(DeferredList(waiting)))
    with pytest.raises(Unavailable, match="stopping"):
        opened.wait(opened.database.write(add_user, "@late:x"))


def test_an_empty_database_is_migrated_once(empty_database: DatabasePlace) -> None:
    told: list[str] = []
    assert migrate(empty_database.engine(), told.append) == len(told) > 0
    assert migrate(empty_database.engine(), told.append) == 0


def test_a_newer_schema_is_refused(database: DatabasePlace) -> None:
    connection = database.engine().connect(Mode.WRITE)
    connection.begin(write=True)
    connection.execute("INSERT INTO schema_version (number, name) VALUES (?, ?)", (9999, "future"))
    connection.commit()
    connection.close()
    with pytest.raises(SchemaTooNew, match="9999"):
        migrate(database.engine(), lambda line: None)


def test_a_locked_sqlite_file_is_waited_for(new_database: Callable[..., DatabasePlace]) -> None:
    opened = OpenDatabase(new_database("sqlite3"))
    other = opened.place.engine().connect(Mode.WRITE)
    other.begin(write=True)
    waiting = opened.database.write(add_user, "@a:x")
    time.sleep(2.5)
    other.rollback()
    other.close()
    assert opened.wait(waiting) == 1
    opened.close()


def test_a_restart_of_postgresql_loses_and_doubles_nothing(durable_postgres: PostgresCluster) -> None:
    from tests.support.database import fresh

    place = fresh("psycopg2", cluster=durable_postgres)
    opened = OpenDatabase(place)
    try:
        waiting = []
        for n in range(300):
            waiting.append(opened.database.write(add_user, f"@u{n}:x"))
            if n == 100:
                opened.wait(waiting[20])
                durable_postgres.stop("immediate")
                durable_postgres.start()
        assert all(ok for ok, _ in opened.wait(DeferredList(waiting, consumeErrors=True)))
        assert sorted(opened.read(user_names)) == sorted(f"@u{n}:x" for n in range(300))
        assert sorted(map(str, opened.announced)) == sorted(f"@u{n}:x" for n in range(300))
    finally:
        opened.close()
