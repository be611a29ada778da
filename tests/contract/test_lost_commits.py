"""Commits without an answer, and a database that is away: nothing twice, nothing unannounced, nobody left waiting."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from twisted.internet.defer import DeferredList

from matrixd.storage import work as work_module
from matrixd.storage.engines.base import Connection, Engine, Mode, Unavailable
from matrixd.storage.transaction import Transaction
from tests.support.database import DatabasePlace, OpenDatabase


class FaultyEngine:
    """An engine whose commits and connections can be made to fail; it stands for the network between."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self._engine = engine
        #: What a commit does instead: takes the connection.
        self.on_commit: Callable[[Connection], None] | None = None
        self.is_away = False

    def lost(self) -> Exception:
        """What the driver raises when the connection breaks."""
        if self.name == "psycopg2":
            return psycopg2.OperationalError("the connection broke")
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        return error

    def connect(self, mode: Mode) -> Connection:
        if self.is_away:
            raise self.lost()
        connection: Any = self._engine.connect(mode)
        return FaultyConnection(connection, self) if mode is Mode.MASTER else connection

    def release(self) -> None:
        self._engine.release()


class FaultyConnection:
    """Passes everything on but the commits."""

    def __init__(self, connection: Connection, engine: FaultyEngine) -> None:
        self._connection = connection
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def commit(self) -> None:
        instead, self._engine.on_commit = self._engine.on_commit, None
        if instead is None:
            self._connection.commit()
        else:
            instead(self._connection)


@pytest.fixture
def faulty(database: DatabasePlace, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[OpenDatabase, FaultyEngine]]:
    engine = FaultyEngine(database.engine())
    monkeypatch.setattr(DatabasePlace, "engine", lambda place: engine)
    opened = OpenDatabase(database)
    yield opened, engine
    engine.is_away = False
    opened.close()


def add_user(tx: Transaction, name: str) -> int:
    number = tx.next_id("users")
    tx.execute("INSERT INTO users (user_nid, user_id) VALUES (?, ?)", (number, name))
    tx.announce(name)
    return number


def user_names(tx: Transaction) -> list[str]:
    return [row[0] for row in tx.all("SELECT user_id FROM users ORDER BY user_nid")]


def made_and_lost(engine: FaultyEngine) -> Callable[[Connection], None]:
    """The commit is made, and its answer never comes."""

    def commit(connection: Connection) -> None:
        connection.commit()
        raise engine.lost()

    return commit


def not_made(engine: FaultyEngine) -> Callable[[Connection], None]:
    """The connection breaks before the commit arrives."""

    def commit(_connection: Connection) -> None:
        raise engine.lost()

    return commit


def assert_all_unavailable(results: object) -> None:
    assert isinstance(results, list)
    for ok, failure in results:
        assert not ok
        assert failure.check(Unavailable)


FAULTS = pytest.mark.parametrize("fault", [made_and_lost, not_made])


@FAULTS
def test_a_commit_without_an_answer_is_neither_lost_nor_doubled(
    faulty: tuple[OpenDatabase, FaultyEngine], fault: Callable[[FaultyEngine], Callable[[Connection], None]]
) -> None:
    db, engine = faulty
    db.write(add_user, "@first:x")
    engine.on_commit = fault(engine)
    assert db.write(add_user, "@a:x") == 2
    assert db.write(add_user, "@b:x") == 3
    assert db.read(user_names) == db.announced == ["@first:x", "@a:x", "@b:x"]


@FAULTS
def test_who_waits_too_long_is_told_and_the_outcome_is_announced_when_it_is_known(
    faulty: tuple[OpenDatabase, FaultyEngine],
    fault: Callable[[FaultyEngine], Callable[[Connection], None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    db, engine = faulty
    monkeypatch.setattr(work_module, "PATIENCE", 0.5)
    commit = fault(engine)

    def break_off(connection: Connection) -> None:
        engine.is_away = True
        commit(connection)

    engine.on_commit = break_off
    began = time.monotonic()
    waiting = [db.database.write(add_user, "@a:x")]
    with pytest.raises(Unavailable, match="not available"):
        db.wait(waiting[0])
    assert 0.4 < time.monotonic() - began < 3
    assert db.announced == []
    # Nobody writes any more, and it is found out nevertheless.
    engine.is_away = False
    expected = ["@a:x"] if fault is made_and_lost else []
    deadline = time.monotonic() + 10
    while db.announced != expected and time.monotonic() < deadline:
        db.read(user_names)
        time.sleep(0.05)
    assert db.announced == expected
    # The numbers go on where the database stands.
    assert db.write(add_user, "@b:x") == len(expected) + 1
    assert db.read(user_names) == db.announced == [*expected, "@b:x"]


def test_all_who_wait_are_told_in_time_whenever_they_came(
    faulty: tuple[OpenDatabase, FaultyEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    db, engine = faulty
    monkeypatch.setattr(work_module, "PATIENCE", 1.0)
    engine.is_away = True
    engine.on_commit = not_made(engine)
    waits: list[float] = []

    def note(result: object, began: float) -> object:
        waits.append(time.monotonic() - began)
        return result

    waiting = []
    for n in range(400):
        waiting.append(db.database.write(add_user, f"@u{n}:x").addBoth(note, time.monotonic()))
        time.sleep(0.004)
    assert_all_unavailable(db.wait(DeferredList(waiting, consumeErrors=True)))
    assert len(waits) == 400
    assert max(waits) < 3.5
    engine.is_away = False
    assert db.write(add_user, "@now:x") == 1
    assert db.announced == ["@now:x"]


def test_a_readers_queue_is_told_in_time(
    faulty: tuple[OpenDatabase, FaultyEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    db, engine = faulty
    monkeypatch.setattr(work_module, "PATIENCE", 1.0)
    engine.is_away = True
    began = time.monotonic()
    waiting = [db.database.read(user_names) for _ in range(50)]
    assert_all_unavailable(db.wait(DeferredList(waiting, consumeErrors=True)))
    assert time.monotonic() - began < 4
    engine.is_away = False
    assert db.read(user_names) == []


def test_stopping_does_not_wait_for_a_database_that_is_away(
    faulty: tuple[OpenDatabase, FaultyEngine],
) -> None:
    db, engine = faulty
    engine.is_away = True
    engine.on_commit = not_made(engine)
    waiting = db.database.write(add_user, "@a:x")
    time.sleep(0.1)
    began = time.monotonic()
    threading.Thread(target=db.database.stop).start()
    with pytest.raises(Unavailable):
        db.wait(waiting)
    assert time.monotonic() - began < 8
    engine.is_away = False


@pytest.mark.parametrize("engine_name", ["psycopg2"])
def test_a_swallowed_error_does_not_pass_for_a_commit(db: OpenDatabase) -> None:
    def careless(tx: Transaction) -> None:
        tx.execute("INSERT INTO users (user_nid, user_id) VALUES (77, '@careless:x')")
        with pytest.raises(psycopg2.Error):
            tx.execute("INSERT INTO users (user_nid, user_id) VALUES (77, '@careless:x')")

    with pytest.raises(psycopg2.Error, match="aborted"):
        db.write(careless)
    assert db.write(add_user, "@a:x") == 1


@pytest.mark.parametrize("engine_name", ["psycopg2"])
def test_a_statement_that_no_server_can_do_is_told_at_once(db: OpenDatabase) -> None:
    began = time.monotonic()
    with pytest.raises(psycopg2.Error, match=r"too long|exceeds|maximum"):
        # Longer than an index of PostgreSQL takes, and not to be made shorter by compression.
        db.write(add_user, "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range(9000)))
    assert time.monotonic() - began < 3


def test_a_table_that_another_locks_is_not_waited_for_without_end(
    new_database: Callable[..., DatabasePlace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_module, "PATIENCE", 1.0)
    opened = OpenDatabase(new_database("psycopg2"))
    other = psycopg2.connect(**opened.place.args)
    try:
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        waiting = opened.database.write(add_user, "@a:x")
        with pytest.raises(Unavailable, match="lock"):
            opened.wait(waiting)
        assert time.monotonic() - began < 7
        other.rollback()
        assert opened.write(add_user, "@a:x") == 1
    finally:
        other.close()
        opened.close()
