"""Initial sync of a user in many rooms: for the first user after a start, and for further users."""

from bench.client import ask, connections
from bench.figures import Cost, Figure, figure
from bench.rooms import many_rooms
from bench.subject import Subject


async def run(subject: Subject) -> list[Figure]:
    readers = (await many_rooms(subject)).readers
    started = await subject.restart()
    costs: list[Cost] = []
    sizes: list[float] = []
    async with connections(subject.port, 1) as (connection,):
        for reader in readers:
            async with subject.measured() as measured:
                answer = await ask(connection, reader.sync())
            costs.append(measured.cost)
            sizes.append(len(answer.body) / 1e6)
    first, further = costs[:1], costs[1:]
    return [
        figure("start to first answer, with this data", "s", started),
        figure("answer", "MB", *sizes),
        *_figures("first sync after a start", first),
        *_figures("sync", further),
    ]


def _figures(name: str, costs: list[Cost]) -> list[Figure]:
    return [
        figure(f"{name}: time", "ms", *(1e3 * cost.seconds for cost in costs)),
        figure(f"{name}: server CPU", "ms", *(1e3 * cost.server_cpu for cost in costs)),
        figure(f"{name}: database CPU", "ms", *(1e3 * cost.database_cpu for cost in costs)),
    ]
