"""How much work a run does."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts of one run; whatever is repeated gives one sample each time."""

    repeats: int
    starts: int
    requests: int  # whoami, each repeat
    messages_alone: int  # from one sender, each repeat
    messages_together: int  # from 32 senders in 8 rooms, each repeat
    members: int  # that long-poll while events are delivered
    deliveries: int  # events sent to them, each repeat
    crowd: int  # members of the large room
    state_events: int  # sent into it, each repeat
    rooms: int  # of the initial sync
    room_members: int
    room_messages: int
    syncs: int
    messages_crossing: int  # to another server, from 16 senders, each repeat
    messages_crossing_alone: int
    remote_rooms: tuple[int, ...]  # members of the rooms of other servers that are joined
    forked_rooms: tuple[int, ...]  # members of the rooms in which forks are resolved
    signatures: int
    seconds: float  # limit of one repeat; what was done by then counts


FULL = Scale(
    repeats=3,
    starts=3,
    requests=10_000,
    messages_alone=200,
    messages_together=960,
    members=100,
    deliveries=20,
    crowd=1000,
    state_events=100,
    rooms=200,
    room_members=20,
    room_messages=30,
    syncs=5,
    messages_crossing=960,
    messages_crossing_alone=50,
    remote_rooms=(1_000, 1_000, 1_000, 50_000),
    forked_rooms=(100, 1_000, 10_000, 50_000),
    signatures=4_000,
    seconds=60,
)

QUICK = Scale(
    repeats=1,
    starts=1,
    requests=300,
    messages_alone=30,
    messages_together=160,
    members=20,
    deliveries=5,
    crowd=60,
    state_events=20,
    rooms=10,
    room_members=5,
    room_messages=12,
    syncs=2,
    messages_crossing=160,
    messages_crossing_alone=20,
    remote_rooms=(300,),
    forked_rooms=(100, 300),
    signatures=400,
    seconds=10,
)
