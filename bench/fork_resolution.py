"""Forks in rooms of several sizes, placed as events of other servers are. Runs with matrixd's code.

    python -m bench.fork_resolution ENGINE ARGUMENTS SIZE,SIZE,…

ENGINE and ARGUMENTS (JSON) are those of the option `database`, which must be empty. Prints figures as JSON.

Each fork has two branches of three events on the room's end: both change the power levels and the topic, and each bans
somebody. The events of the second branch are what is measured: after each of them the room's state is resolved anew.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from bench.large_room import MEMBERSHIP, LargeRoom, OtherServer
from matrixd.core.event import Event
from matrixd.services.receiving.placing import Received
from matrixd.storage import event_state, migrations, rooms
from matrixd.storage.transaction import Transaction
from tests.contract.receiving.forks import OURS, ForkedRoom
from tests.support.database import DatabasePlace, OpenDatabase

_FORKS = 7
_FIRST = 20
_CHUNK = 500
_CACHE_BYTES = 2**28
_LEVELS = ("m.room.power_levels", "")
_TOPIC = ("m.room.topic", "")
State = dict[tuple[str, str], Event]
statements: Counter[str] = Counter()


def main() -> None:
    """Measure and print."""
    place = DatabasePlace(sys.argv[1], json.loads(sys.argv[2]))  # type: ignore[arg-type]
    sizes = [int(size) for size in sys.argv[3].split(",")]
    migrations.migrate(place.engine(), lambda line: None)
    _count_statements()
    db = OpenDatabase(place)
    try:
        figures = [figure for size in sizes for figure in _measure(db, size)]
    finally:
        db.close()
    print(json.dumps(figures))


def _measure(db: OpenDatabase, size: int) -> list[tuple[str, str, list[float]]]:
    servers = [OtherServer.named(name) for name in (OURS, *(f"server{n}.example.org" for n in range(20)))]
    large = LargeRoom(f"room{size}", servers, size)
    room = ForkedRoom(db, large.events[:_FIRST], _CACHE_BYTES)
    for start in range(_FIRST, len(large.events), _CHUNK):
        room.run(_follow(room, large.events[start : start + _CHUNK]))
    samples = [sample for number in range(_FORKS) for sample in _fork(room, large, number)]
    names = [("time", "ms"), ("CPU", "ms"), ("database statements", "")]
    return [
        (f"event of a fork, {size} members: {name}", unit, [sample[at] for sample in samples])
        for at, (name, unit) in enumerate(names)
    ]


async def _follow(room: ForkedRoom, found: Sequence[Event]) -> None:
    """Place many events of a line, which are stored together."""
    stored = []
    for event in found:
        waiting = await room.placing.follow(Received(event, frozenset({event.sender_domain}), event.sender_domain))
        assert waiting is not None, "it follows the end"
        stored.append(waiting)
    for waiting in stored:
        await waiting


def _fork(room: ForkedRoom, large: LargeRoom, number: int) -> list[tuple[float, float, float]]:
    first, second = large.moderators
    base, state = large.newest, large.state
    one = _branch(large, base, state, first, f"one {number}", 2 * number + 10)
    two = _branch(large, base, state, second, f"two {number}", 2 * number + 11)
    for event in one:
        assert room.place(event).verdict is None, "it follows the end"
    samples = [_placed(room, event) for event in two]
    for key in (_LEVELS, _TOPIC, *(event.key for event in (one[1], two[1]))):
        large.state[key] = _current(room, key)
    merge = large.build(large.creator, "m.room.message", {"body": "Both."}, after=[one[-1], two[-1]])
    assert room.place(merge).verdict is None, "it is allowed"
    large.events.append(merge)
    return samples


def _branch(large: LargeRoom, base: Event, state: State, sender: str, name: str, number: int) -> list[Event]:
    levels = large.state[_LEVELS].content
    users = {**levels["users"], large.members[number]: 10}
    wanted: list[tuple[str, dict[str, Any], str]] = [
        (_LEVELS[0], {**levels, "users": users}, ""),
        (MEMBERSHIP, {"membership": "ban"}, large.members[number + 40]),
        (_TOPIC[0], {"topic": name}, ""),
    ]
    made: list[Event] = []
    state = dict(state)
    for event_type, content, state_key in wanted:
        event = large.build(sender, event_type, content, state_key=state_key, after=made[-1:] or [base], state=state)
        state[event.key] = event
        made.append(event)
    return made


def _placed(room: ForkedRoom, event: Event) -> tuple[float, float, float]:
    statements.clear()
    began, cpu = time.perf_counter(), time.process_time()
    placed = room.place(event)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert placed.verdict is None, placed.reason
    return 1e3 * seconds, 1e3 * cpu, statements.total()


def _current(room: ForkedRoom, key: tuple[str, str]) -> Event:
    def read(tx: Transaction) -> Event:
        found = rooms.by_id(tx, room.room_id)
        assert found is not None, "it was made before"
        return event_state.timeline(found.room_nid, found.last_pos).of_keys(tx, [key])[key].event

    return room.db.read(read)


def _count_statements() -> None:
    for name in ("execute", "one", "all", "insert_many"):
        setattr(Transaction, name, _counting(name, getattr(Transaction, name)))


def _counting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **options: Any) -> Any:
        statements[name] += 1
        return method(*arguments, **options)

    return counted


if __name__ == "__main__":
    main()
