"""The children of a space, and their order."""

from __future__ import annotations

from typing import Any

import pytest

from matrixd.core.spaces import children_in_order, is_child, is_suggested, servers_of


def child(room_id: str, ts: int = 0, **content: Any) -> dict[str, Any]:
    return {
        "type": "m.space.child", "state_key": room_id, "sender": "@a:example.org", "origin_server_ts": ts,
        "content": {"via": ["example.org"], **content},
    }  # fmt: skip


def order(*children: dict[str, Any], suggested_only: bool = False) -> list[str]:
    return [found["state_key"] for found in children_in_order(children, suggested_only=suggested_only)]


def test_the_example_of_the_specification() -> None:
    assert order(
        child("!a:example.org", 1640141000000, order="aaaa"),
        child("!e:example.org", 1640641000000),
        child("!d:example.org", 1640741000000),
        child("!c:example.org", 1640841000000, order="first"),
        child("!b:example.org", 1640341000000, order=" "),
    ) == ["!b:example.org", "!a:example.org", "!c:example.org", "!e:example.org", "!d:example.org"]


def test_times_and_then_room_ids_break_ties() -> None:
    assert order(child("!b:x", 2, order="o"), child("!a:x", 3, order="o"), child("!c:x", 1, order="o")) == [
        "!c:x", "!b:x", "!a:x"
    ]  # fmt: skip
    assert order(child("!b:x", 1), child("!a:x", 1)) == ["!a:x", "!b:x"]


@pytest.mark.parametrize("wrong", ["", "x" * 51, "é", "a\n", 5, None, ["a"]])
def test_a_wrong_order_is_none(wrong: object) -> None:
    assert order(child("!a:x", 2, order=wrong), child("!b:x", 1), child("!c:x", 3, order="z")) == [
        "!c:x", "!b:x", "!a:x"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"state_key": "!a:x", "content": {}},
        {"state_key": "!a:x", "content": {"via": "x"}},
        {"state_key": "!a:x", "content": {"via": [1]}},
        {"state_key": "!a:x", "content": None},
        {"state_key": "#a:x", "content": {"via": ["x"]}},
        {"content": {"via": ["x"]}},
    ],
)
def test_what_is_no_child(wrong: dict[str, Any]) -> None:
    assert not is_child(wrong)
    assert children_in_order([wrong]) == []


def test_suggested_children() -> None:
    suggested, other = child("!a:x", suggested=True), child("!b:x", suggested="true")
    assert (is_suggested(suggested), is_suggested(other)) == (True, False)
    assert order(suggested, other, suggested_only=True) == ["!a:x"]
    assert servers_of(suggested) == ("example.org",)
    assert is_child(child("!" + "a" * 43)), "an ID of room version 12"
