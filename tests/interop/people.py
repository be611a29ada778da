"""Users of the two servers, and waiting until what one did has reached the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tests.support.client import MatrixClient, UnexpectedStatus, quoted, unique
from tests.support.federation.servers import FederatedServer

T = TypeVar("T")
StateKey = tuple[str, str]
WITHIN_S = 20.0


class Side:
    """One of the servers, with people on it."""

    def __init__(self, server: FederatedServer) -> None:
        self.server = server

    @property
    def name(self) -> str:
        """The server's name."""
        return self.server.server_name

    def person(self, name: str) -> Person:
        """Somebody new."""
        return Person(self, self.server.new_client(unique(name)))


class Person:
    """A user with a client, who can wait for what comes from the other server."""

    def __init__(self, side: Side, client: MatrixClient) -> None:
        self.side = side
        self.client = client
        # Nobody checks what servers put into their users' events, such as an avatar that is null.
        client.checked_events = ()
        self.id = client.user_id

    def create_room(self, version: str, **body: Any) -> str:
        """Makes a room, public unless the body has another preset."""
        return self.client.create_room(**{"preset": "public_chat", "room_version": version, **body})

    def join(self, room_id: str, via: Person | Side, expect: int = 200) -> None:
        """Joins through the other's server."""
        self.client.join(room_id, query=_through(via), expect=expect)

    def knock(self, room_id: str, via: Person | Side) -> None:
        """Knocks through the other's server."""
        self.client.knock(room_id, query=_through(via))

    def membership(self, room_id: str, other: Person) -> str | None:
        """Somebody's membership as this user sees it; None when there is none, or this user may not see it."""
        answer = self.client.state_content(room_id, "m.room.member", other.id, expect=(200, 403, 404))
        return str(answer["membership"]) if answer.status == 200 else None

    def sees(self, room_id: str, other: Person, membership: str) -> None:
        """Waits until somebody's membership is that one."""
        eventually(lambda: self.membership(room_id, other) == membership, f"{other.id} does not {membership}")

    def hears(self, room_id: str, *event_ids: str, within_s: float = WITHIN_S) -> None:
        """Waits until the events are there."""
        left = list(event_ids)

        def all_there() -> bool:
            while left and self.client.event(room_id, left[-1], expect=(200, 403, 404)).status == 200:
                left.pop()
            return not left

        eventually(all_there, f"{self.id} does not hear {left}", within_s)

    def state(self, room_id: str) -> dict[StateKey, str]:
        """The room's current state: event IDs."""
        return {(event["type"], event["state_key"]): event["event_id"] for event in self.client.state(room_id)}

    def is_invited(self, room_id: str) -> list[dict[str, Any]]:
        """Waits for an invitation; its stripped state."""
        invited = self._in_sync(lambda rooms: rooms.get("invite", {}).get(room_id))
        return list(invited["invite_state"]["events"])

    def has_knocked(self, room_id: str) -> None:
        """Waits until sync tells of the user's own knock."""
        self._in_sync(lambda rooms: rooms.get("knock", {}).get(room_id))

    def is_out(self, room_id: str) -> None:
        """Waits until sync tells that the user is no longer there."""
        self._in_sync(lambda rooms: rooms.get("leave", {}).get(room_id))

    def pages_back(self, room_id: str) -> list[dict[str, Any]]:
        """The whole history, newest first."""
        return list(self.client.history(room_id, limit=100))

    def finds(self, room_id: str, *event_ids: str) -> None:
        """Waits until paging back brings the events."""

        def all_there() -> bool:
            return set(event_ids) <= {event["event_id"] for event in self.pages_back(room_id)}

        eventually(all_there, f"{self.id} does not find everything in the history of {room_id}")

    def _in_sync(self, found: Callable[[Mapping[str, Any]], T]) -> T:
        wide = {"room": {"include_leave": True}}
        result: T = self.client.sync_until(
            lambda answer: found(answer.get("rooms", {})), within_s=WITHIN_S, filter=wide
        )
        return result


def eventually(holds: Callable[[], T], otherwise: str, within_s: float = WITHIN_S) -> T:
    """Waits until something is true, and returns it. Raises AssertionError saying ``otherwise``."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            result = holds()
            problem = ""
        except (OSError, UnexpectedStatus) as error:
            result, problem = None, f" ({error})"
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {within_s} s: {otherwise}{problem}"
        time.sleep(0.05)


def same_state(room_id: str, one: Person, other: Person, within_s: float = WITHIN_S) -> dict[StateKey, str]:
    """Waits until both servers say that the room has the same state, and returns it."""
    deadline = time.monotonic() + within_s
    while True:
        first, second = one.state(room_id), other.state(room_id)
        if first == second:
            return first
        differing = {key: (first.get(key), second.get(key)) for key in first.keys() | second.keys()}
        told = "\n".join(f"{key}: {ids}" for key, ids in differing.items() if ids[0] != ids[1])
        assert time.monotonic() < deadline, f"{room_id} differs between {one.id} and {other.id}:\n{told}"
        time.sleep(0.1)


def talk(room_id: str, *people: Person) -> None:
    """Each says something, and waits until all have heard it."""
    for speaker in people:
        said = speaker.client.say(room_id, f"{speaker.id} speaks")
        for listener in people:
            listener.hears(room_id, said)


def content_of(person: Person, room_id: str, event_id: str) -> dict[str, Any]:
    """An event's content as the person's server has it."""
    return dict(person.client.get(f"/rooms/{quoted(room_id)}/event/{quoted(event_id)}")["content"])


def restart(server: FederatedServer, *people: Person) -> None:
    """Starts a server again; its people's connections are new ones."""
    for person in people:
        person.client.close()
    server.start()


def _through(via: Person | Side) -> dict[str, str]:
    name = via.side.name if isinstance(via, Person) else via.name
    return {"via": name}
