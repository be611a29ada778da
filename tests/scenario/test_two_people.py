"""Two people chat with a client that we did not write (matrix-nio), on a server run by its own commands."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import nio
import pytest

from tests.support.client import unique
from tests.support.synctl import SynctlServer

PASSWORD = "a long enough pass phrase"
SENDERS = 8
ROUNDS = 3
EVENTS_BEFORE_KILL = 60
WITHIN_S = 60.0
# Enough for everything that a round sends, so that no sync of it is limited.
WIDE_FILTER = {"room": {"timeline": {"limit": 5000}}}


class Failed(AssertionError):
    """nio answered with one of its error responses."""


def ok(response: Any) -> Any:
    """The response, unless it is an error."""
    if isinstance(response, nio.ErrorResponse):
        raise Failed(str(response))
    return response


@contextlib.asynccontextmanager
async def signed_in(server: SynctlServer, name: str, device_id: str = "") -> AsyncIterator[Any]:
    """A nio client of an account that the tool has made; it gives up at the first lost connection."""
    config = nio.AsyncClientConfig(max_timeouts=0, max_limit_exceeded=0, request_timeout=30)
    client = nio.AsyncClient(server.base_url, f"@{name}:{server.server_name}", device_id, config=config)
    try:
        ok(await client.login(PASSWORD))
        yield client
    finally:
        await client.close()


async def say(client: Any, room_id: str, body: str, txn_id: str | None = None) -> str:
    """Sends a message and returns its event ID."""
    content = {"msgtype": "m.text", "body": body}
    return str(ok(await client.room_send(room_id, "m.room.message", content, txn_id)).event_id)


async def history(client: Any, room_id: str) -> list[Any]:
    """All messages of the room, newest first, with events that nio could not parse as an error."""
    events: list[Any] = []
    start = ""
    while True:
        page = ok(await client.room_messages(room_id, start, limit=100))
        assert not [event for event in page.chunk if isinstance(event, nio.BadEvent)], page.chunk
        events += page.chunk
        if not page.end or page.end == start:
            return events
        start = page.end


async def sync_until(client: Any, wanted: Callable[[Any], bool]) -> Any:
    """Long-polls until an answer has what is wanted: presence, the client's own first, ends a wait as well."""
    while True:
        answer = ok(await client.sync(timeout=20_000))
        if wanted(answer):
            return answer


def bodies(events: list[Any]) -> list[str]:
    """The texts among the events, in their order."""
    return [event.body for event in events if isinstance(event, nio.RoomMessageText)]


async def chat(server: SynctlServer) -> None:
    """From making the room to leaving it."""
    async with signed_in(server, "alice") as alice, signed_in(server, "bob") as bob:
        ok(await alice.sync(timeout=0))
        ok(await bob.sync(timeout=0))
        created = await alice.room_create(name="Tea", topic="with milk", preset=nio.RoomPreset.private_chat)
        room_id = ok(created).room_id

        waiting = asyncio.create_task(sync_until(bob, lambda answer: bool(answer.rooms.invite)))
        await asyncio.sleep(0.2)
        ok(await alice.room_invite(room_id, bob.user_id))
        invited = await asyncio.wait_for(waiting, 10)
        assert list(invited.rooms.invite) == [room_id]
        assert bob.invited_rooms[room_id].inviter == alice.user_id
        ok(await bob.join(room_id))

        said = [f"line {number}" for number in range(10)]
        for number, line in enumerate(said):
            await say((alice, bob)[number % 2], room_id, line)

        heard: list[Any] = []
        while len(bodies(heard)) < len(said):
            answer = ok(await asyncio.wait_for(bob.sync(timeout=5000), 10))
            heard += answer.rooms.join[room_id].timeline.events if room_id in answer.rooms.join else []
        assert bodies(heard) == said
        room = bob.rooms[room_id]
        assert (room.name, room.topic) == ("Tea", "with milk")
        assert set(room.users) == {alice.user_id, bob.user_id}

        assert bodies(await history(alice, room_id)) == said[::-1]
        ok(await bob.room_leave(room_id))
        left = await asyncio.wait_for(sync_until(alice, lambda answer: room_id in answer.rooms.join), 10)
        members = [
            event
            for event in left.rooms.join[room_id].timeline.events
            if isinstance(event, nio.RoomMemberEvent) and event.state_key == bob.user_id
        ]
        assert members[-1].membership == "leave"
        with pytest.raises(Failed, match="M_FORBIDDEN"):
            await say(bob, room_id, "I am not here")


async def read_again(server: SynctlServer) -> None:
    """After a restart everything is as it was, for a new device."""
    async with signed_in(server, "alice") as alice:
        answer = ok(await alice.sync(timeout=0, sync_filter=WIDE_FILTER))
        ((room_id, joined),) = answer.rooms.join.items()
        assert bodies(joined.timeline.events) == [f"line {number}" for number in range(10)]
        assert await say(alice, room_id, "back again")


def test_two_people_talk(synctl_server: SynctlServer) -> None:
    server = synctl_server
    assert server.synctl("status").returncode == 3
    server.start()
    server.register("alice", PASSWORD)
    server.register("bob", PASSWORD)
    asyncio.run(asyncio.wait_for(chat(server), WITHIN_S))
    status = server.synctl("status")
    assert status.returncode == 0
    assert str(server.pid) in status.stdout
    server.stop()
    assert server.synctl("status").returncode == 3
    server.start()
    asyncio.run(asyncio.wait_for(read_again(server), WITHIN_S))
    assert server.synctl("restart").returncode == 0
    server.stop()


class Conversation:
    """What two people's devices have sent, what was acknowledged, and what a third device has heard by sync."""

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        self.sent: dict[str, tuple[Any, str]] = {}
        self.acknowledged: dict[str, str] = {}
        self.heard: Counter[str] = Counter()
        self.since = ""

    async def send_until_it_breaks(self, client: Any) -> None:
        """Sends one message after the other until the server is gone."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            while True:
                body, txn_id = unique("message "), unique("txn")
                self.sent[txn_id] = (client, body)
                self.acknowledged[txn_id] = await say(client, self.room_id, body, txn_id)

    async def listen_until_it_breaks(self, listener: Any) -> None:
        """Long-polls, keeping the last token and what came before it."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            while True:
                await self.listen(listener, 30_000)

    async def listen(self, listener: Any, timeout: int) -> int:
        """One sync on from the last token; the number of events that it brought."""
        answer = ok(await listener.sync(timeout=timeout, since=self.since, sync_filter=WIDE_FILTER))
        joined = answer.rooms.join.get(self.room_id)
        events = joined.timeline.events if joined else []
        assert joined is None or not joined.timeline.limited
        self.heard.update(event.event_id for event in events if isinstance(event, nio.RoomMessageText))
        self.since = answer.next_batch
        return len(events)

    async def repeat_all(self) -> None:
        """Sends every transaction again: what was acknowledged must answer with the same event."""
        for txn_id, (client, body) in self.sent.items():
            event_id = await say(client, self.room_id, body, txn_id)
            assert self.acknowledged.setdefault(txn_id, event_id) == event_id, f"{txn_id} made another event"

    async def check(self, listener: Any) -> None:
        """Every message is in the history once under the acknowledged ID, and was heard by sync once."""
        messages = [event for event in await history(listener, self.room_id) if isinstance(event, nio.RoomMessageText)]
        found = Counter((event.body, event.event_id) for event in messages)
        expected = Counter((self.sent[txn_id][1], event_id) for txn_id, event_id in self.acknowledged.items())
        assert found == expected
        while await self.listen(listener, 500):
            pass
        assert self.heard == Counter(self.acknowledged.values())


async def be_killed_while_talking(server: SynctlServer) -> None:
    """Kills the server in the middle of concurrent sending, several times."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        senders = [
            await stack.enter_async_context(signed_in(server, ("alice", "bob")[number % 2], f"SENDER{number}"))
            for number in range(SENDERS)
        ]
        listener = await stack.enter_async_context(signed_in(server, "bob", "LISTENER"))
        alice, bob = senders[:2]
        room_id = ok(await alice.room_create(preset=nio.RoomPreset.private_chat, invite=[bob.user_id])).room_id
        ok(await bob.join(room_id))
        talk = Conversation(room_id)
        talk.since = ok(await listener.sync(timeout=0)).next_batch
        for _ in range(ROUNDS):
            before = len(talk.acknowledged)
            tasks = [asyncio.create_task(talk.send_until_it_breaks(client)) for client in senders]
            tasks.append(asyncio.create_task(talk.listen_until_it_breaks(listener)))
            while len(talk.acknowledged) < before + EVENTS_BEFORE_KILL:
                await asyncio.sleep(0.001)
                assert not all(task.done() for task in tasks), [task.exception() for task in tasks]
            await loop.run_in_executor(None, server.kill)
            await asyncio.wait_for(asyncio.gather(*tasks), 30)
            await loop.run_in_executor(None, server.start)
            await talk.repeat_all()
            await talk.check(listener)


def test_nothing_is_lost_or_doubled_when_the_server_is_killed(synctl_server: SynctlServer) -> None:
    synctl_server.start()
    synctl_server.register("alice", PASSWORD)
    synctl_server.register("bob", PASSWORD)
    asyncio.run(asyncio.wait_for(be_killed_while_talking(synctl_server), 3 * WITHIN_S))
    synctl_server.stop()
