"""The blocking `Database` of the tests, and that databases are fresh."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from matrixd.storage.transaction import Transaction
from tests.support.database import DatabasePlace, OpenDatabase


def _count(tx: Transaction) -> int:
    row = tx.one("SELECT count(*) FROM users")
    assert row is not None
    return int(row[0])


def _add(tx: Transaction, user_id: str) -> int:
    nid = tx.next_id("user")
    tx.execute("INSERT INTO users (user_nid, user_id) VALUES (?, ?)", (nid, user_id))
    tx.announce(user_id)
    return nid


def test_what_is_written_is_read(db: OpenDatabase) -> None:
    assert db.write(_add, "@alice:test") == 1
    assert db.read(_count) == 1
    assert db.announced == ["@alice:test"]


def test_errors_reach_the_test(db: OpenDatabase) -> None:
    db.write(_add, "@alice:test")
    with pytest.raises(Exception, match=r"(?i)unique"):
        db.write(_add, "@alice:test")
    assert db.read(_count) == 1


def test_writes_side_by_side(db: OpenDatabase) -> None:
    waiting = [db.database.write(_add, f"@user{n}:test") for n in range(50)]
    assert [db.wait(one) for one in waiting] == list(range(1, 51))


def test_each_database_is_fresh(engine_name: str, new_database: Callable[..., DatabasePlace]) -> None:
    first = OpenDatabase(new_database(engine_name))
    first.write(_add, "@alice:test")
    second = OpenDatabase(new_database(engine_name))
    assert second.read(_count) == 0
    again = first.reopened()
    assert again.read(_count) == 1
    again.close()
    second.close()


def test_text_keys_sort_by_code_point(db: OpenDatabase) -> None:
    def add(tx: Transaction) -> None:
        tx.insert_many("users", ("user_nid", "user_id"), [(1, "a"), (2, "B"), (3, "_"), (4, "é")])

    db.write(add)
    assert [row[0] for row in db.read(lambda tx: tx.all("SELECT user_id FROM users ORDER BY user_id"))] == [
        "B",
        "_",
        "a",
        "é",
    ]
