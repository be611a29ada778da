"""Rooms that more than one scenario uses; each is made on a server when it is first asked for."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from bench.client import User, connections, drive, drive_all
from bench.subject import SETUP_LIMIT, SETUP_WIDTH, Subject

TALK_ROOMS = 8
TALKERS = 32
TALKERS_IN_ROOM = TALKERS // TALK_ROOMS

TEXT = "Message {}: about as long as what people write to each other in a chat, in one sentence."


@dataclass(slots=True)
class Talk:
    """8 rooms in which 32 senders talk, each in one room."""

    rooms: list[tuple[str, list[User]]]
    messages: int = 0

    def lanes(self, count: int) -> list[Iterator[bytes]]:
        """For each sender its part of `count` messages."""
        senders = [(room_id, user) for room_id, members in self.rooms for user in members]
        each = count // len(senders)
        return [(user.message(room_id, TEXT.format(n)) for n in range(each)) for room_id, user in senders]


@dataclass(slots=True)
class Crowd:
    """A room that all `users` but its creator still have to join, or have joined already."""

    creator: User
    room_id: str
    full: bool = False


@dataclass(frozen=True, slots=True)
class ManyRooms:
    """Users who are in all rooms of the initial sync."""

    readers: list[User]


async def talk(subject: Subject) -> Talk:
    made = subject.made.get(Talk)
    if isinstance(made, Talk):
        return made
    users = await subject.users(TALKERS)
    rooms = []
    for number in range(TALK_ROOMS):
        members = users[number * TALKERS_IN_ROOM : (number + 1) * TALKERS_IN_ROOM]
        rooms.append((await subject.room(members[0], members[1:]), members))
    subject.made[Talk] = made = Talk(rooms)
    return made


async def send_together(subject: Subject, count: int, limit: float) -> list[float]:
    """Sends `count` messages from all 32 senders at once; returns the seconds of each."""
    rooms = await talk(subject)
    async with connections(subject.port, TALKERS) as opened:
        latencies = await drive(list(zip(opened, rooms.lanes(count), strict=True)), limit)
    rooms.messages += len(latencies)
    return latencies


async def empty_crowd(subject: Subject) -> Crowd:
    """A large room before anyone has joined."""
    (creator,) = await subject.users(1)
    subject.made[Crowd] = made = Crowd(creator, await subject.room(creator, []))
    return made


async def fill(subject: Subject, crowd: Crowd) -> list[float]:
    """Lets the large room grow to its size; returns the seconds of each join."""
    users = await subject.users(subject.scale.crowd)
    joins = (user.join(crowd.room_id) for user in users if user is not crowd.creator)
    crowd.full = True
    return await drive_all(subject.port, joins, 8, SETUP_LIMIT)


async def full_crowd(subject: Subject) -> Crowd:
    made = subject.made.get(Crowd)
    if isinstance(made, Crowd) and made.full:
        return made
    crowd = await empty_crowd(subject)
    await fill(subject, crowd)
    return crowd


async def many_rooms(subject: Subject) -> ManyRooms:
    """The rooms of the initial sync: its readers are in all of them, the other members come from a larger circle."""
    made = subject.made.get(ManyRooms)
    if isinstance(made, ManyRooms):
        return made
    scale = subject.scale
    users = await subject.users(scale.syncs + scale.room_members * 10)
    readers, others = users[: scale.syncs], users[scale.syncs :]
    circle = itertools.cycle(others)
    rooms: list[tuple[str, list[User]]] = []
    for _ in range(scale.rooms):
        members = [*readers, *itertools.islice(circle, scale.room_members - len(readers))]
        rooms.append((await subject.room(members[0], members[1:]), members))
    await drive_all(subject.port, _messages(rooms, scale.room_messages), SETUP_WIDTH, SETUP_LIMIT)
    subject.made[ManyRooms] = made = ManyRooms(readers)
    return made


def _messages(rooms: list[tuple[str, list[User]]], count: int) -> Iterator[bytes]:
    for number in range(count):
        for room_id, members in rooms:
            yield members[number % len(members)].message(room_id, TEXT.format(number))
