"""Reading back whole rooms, 100 messages to a page: right after a start, and again by others."""

from bench.client import User, ask_json, connections
from bench.figures import Figure, merged
from bench.http_client import Connection
from bench.rooms import TALKERS, TALKERS_IN_ROOM, send_together, talk
from bench.subject import SETUP_LIMIT, Subject

PAGE = 100


async def run(subject: Subject) -> list[Figure]:
    missing = subject.scale.messages_together * subject.scale.repeats - (await talk(subject)).messages
    if missing >= TALKERS:
        await send_together(subject, missing, SETUP_LIMIT)
    await subject.restart()
    first, *further = [await _walk(subject, reader) for reader in range(TALKERS_IN_ROOM)]
    return _prefixed(first, "first reader after a start: ") + merged(further)


async def _walk(subject: Subject, reader: int) -> list[Figure]:
    """The `reader`-th member of each room reads it from its end to its beginning."""
    rooms = (await talk(subject)).rooms
    async with connections(subject.port, 1) as (connection,), subject.measured() as measured:
        events = [await _read_back(connection, members[reader], room_id) for room_id, members in rooms]
    return measured.cost.figures(sum(events) / PAGE, "page")


async def _read_back(connection: Connection, reader: User, room_id: str) -> int:
    events, start = 0, None
    while True:
        page = await ask_json(connection, reader.page(room_id, start))
        events += len(page["chunk"])
        start = page.get("end")
        if start is None or not page["chunk"]:
            return events


def _prefixed(figures: list[Figure], prefix: str) -> list[Figure]:
    return [Figure(prefix + each.name, each.unit, each.samples, each.more_is_better) for each in figures]
