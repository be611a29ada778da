"""Events of a room that forks, in any order in which they can come, against the algorithms applied to whole states."""

from __future__ import annotations

from random import Random

import pytest

from matrixd.core.versions import ROOM_VERSIONS
from matrixd.storage import auth_edges
from tests.contract.receiving.forks import ForkedRoom
from tests.support.database import OpenDatabase
from tests.unit.core.stateres.random_rooms import Move, Server, any_order, beginning, build

KINDS = ("join", "leave", "kick", "ban", "invite", "levels", "rules", "topic", "topic", "message", "message")


def random_moves(random: Random) -> list[Move]:
    """What people do in a room, on top of events that are often not its newest."""
    return [
        Move(
            random.choice(KINDS), random.randrange(4), random.randrange(4), random.randrange(3),
            tuple(random.choice((0, 0, 1, 2, 3, 5)) for _ in range(random.choice((1, 1, 2, 3)))), random.randrange(7),
        )
        for _ in range(random.randrange(10, 40))
    ]


def delivered(db: OpenDatabase, version: str, seed: int) -> tuple[Server, ForkedRoom]:
    """A random room, and what became of its events in the database."""
    random = Random(f"{version} {seed}")
    oracle = build(ROOM_VERSIONS[version], random_moves(random))
    first = Server(ROOM_VERSIONS[version], Random(0))
    beginning(first)
    room = ForkedRoom(db, first.events.values())
    for event in any_order(list(oracle.events.values()), random):
        if event.event_id not in first.events:
            room.place(event)
    return oracle, room


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("version", ["1", "2", "6", "10", "11", "12"])
def test_the_state_is_that_of_the_algorithm(db: OpenDatabase, version: str, seed: int) -> None:
    oracle, room = delivered(db, version, seed)
    expected = {key: event.event_id for key, event in oracle.state_of(room.extremities()).items()}
    assert room.current() == expected
    for event_id, state in oracle.after.items():
        assert room.verdict(event_id) != "rejected"
        assert room.after(event_id) == {key: event.event_id for key, event in state.items()}


@pytest.mark.parametrize("seed", range(10, 13))
@pytest.mark.parametrize("version", ["2", "12"])
def test_it_is_that_however_little_is_read_at_once(
    db: OpenDatabase, version: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth_edges, "_PAGE", 1)
    monkeypatch.setattr(auth_edges, "_EVENTS", 2)
    monkeypatch.setattr(auth_edges, "_CHUNK", 2)
    oracle, room = delivered(db, version, seed)
    expected = {key: event.event_id for key, event in oracle.state_of(room.extremities()).items()}
    assert room.current() == expected
