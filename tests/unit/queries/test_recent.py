"""The newest rows of a stream in memory."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from matrixd.queries.recent import Recent


@dataclass(frozen=True)
class Row:
    pos: int
    key: int
    size: int = 1


def recent(begin: int = 0, max_rows: int = 100, max_bytes: int = 1000) -> Recent[Row]:
    return Recent(begin, lambda row: row.key, lambda row: row.size, max_rows, max_bytes)


def test_rows_are_found_by_key_and_position() -> None:
    rows = recent()
    for pos in range(1, 7):
        rows.add(Row(pos, pos % 2))
    assert [row.pos for row in rows.after(1, 0) or ()] == [1, 3, 5]
    assert [row.pos for row in rows.after(1, 3) or ()] == [5]
    assert rows.after(1, 5) == []
    assert rows.after(9, 0) == []


def test_what_was_before_the_beginning_is_not_known() -> None:
    rows = recent(begin=10)
    assert rows.after(1, 9) is None
    assert rows.after(1, 10) == []


@pytest.mark.parametrize(("max_rows", "max_bytes"), [(3, 1000), (100, 30)])
def test_the_oldest_go_first(max_rows: int, max_bytes: int) -> None:
    rows = recent(max_rows=max_rows, max_bytes=max_bytes)
    for pos in range(1, 6):
        rows.add(Row(pos, 1, size=10))
    assert rows.begin == 2
    assert rows.after(1, 1) is None
    assert [row.pos for row in rows.after(1, 2) or ()] == [3, 4, 5]
