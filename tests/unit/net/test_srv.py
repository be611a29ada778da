"""The order of SRV records."""

from __future__ import annotations

import random
from collections import Counter

from matrixd.net.srv import SrvRecord, ordered


def record(priority: int, weight: int, target: str) -> SrvRecord:
    return SrvRecord(priority, weight, 443, target)


def test_the_lowest_priority_is_first() -> None:
    records = [record(20, 100, "c"), record(0, 0, "a"), record(10, 5, "b")]
    assert [each.target for each in ordered(records, lambda: 0.5)] == ["a", "b", "c"]


def test_within_a_priority_the_weight_decides() -> None:
    records = [record(1, 90, "heavy"), record(1, 10, "light"), record(1, 0, "none")]
    chance = random.Random(7).random
    drawn = [ordered(records, chance) for _ in range(1000)]
    assert all(sorted(each.target for each in one) == ["heavy", "light", "none"] for one in drawn)
    first = Counter(one[0].target for one in drawn)
    assert 850 < first["heavy"] < 950
    assert first["none"] < 20


def test_without_weights_all_are_there() -> None:
    records = [record(1, 0, "a"), record(1, 0, "b")]
    assert {each.target for each in ordered(records, lambda: 0.99)} == {"a", "b"}
    assert ordered([], lambda: 0.0) == []
