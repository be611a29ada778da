"""Rooms of other servers, in memory: what a resident server answers to those who want to join."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matrixd.core.auth.plan import auth_types_for_event
from matrixd.core.builder import complete, event_template, next_depth
from matrixd.core.event import Event
from matrixd.core.event_signing import with_event_signature
from matrixd.core.signing import SigningKey, VerifyKey
from matrixd.core.versions import ROOM_VERSIONS, EventIdFormat, RoomVersion
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.services.handshakes.peers import Made, SentJoin, TakePdu
from matrixd.services.receiving.anchors import NoAnchor

_NEXT = iter(range(1, 10**9))


def key_of(server: str) -> SigningKey:
    """The signing key of a server of the tests: always the same."""
    return SigningKey.from_seed("k", server.encode().ljust(32, b"\0")[:32])


class Keys:
    """A key ring that knows the keys of all servers but some."""

    def __init__(self, own: Mapping[str, SigningKey], unknown: Sequence[str] = ()) -> None:
        self.own = own
        self.unknown = set(unknown)

    async def keys(self, wanted: Mapping[str, Mapping[str, int]]) -> Mapping[str, Mapping[str, VerifyKey]]:
        keys = {server: self._key(server) for server in wanted if server not in self.unknown}
        return {server: {key.key_id: key.verify_key} for server, key in keys.items()}

    def _key(self, server: str) -> SigningKey:
        return self.own.get(server) or key_of(server)


class NoHistory:
    """Other servers that tell nothing of a room's history."""

    async def _refuse(self, destination: str) -> Any:
        raise RemoteError(destination, FailureKind.CONNECT, "nobody is there")

    async def event(self, destination: str, event_id: str) -> Any:
        return await self._refuse(destination)

    async def state_ids(self, destination: str, room_id: str, event_id: str) -> Any:
        return await self._refuse(destination)

    async def state(self, destination: str, room_id: str, event_id: str) -> Any:
        return await self._refuse(destination)

    async def event_auth(self, destination: str, room_id: str, event_id: str) -> Any:
        return await self._refuse(destination)

    async def missing_events(self, destination: str, *args: Any) -> Any:
        return await self._refuse(destination)

    async def backfill(self, destination: str, room_id: str, event_ids: Sequence[str], limit: int) -> Any:
        return await self._refuse(destination)

    async def timestamp_to_event(self, destination: str, room_id: str, ts: int, *, backwards: bool) -> Any:
        return await self._refuse(destination)


class NoAnchors:
    """Nobody who has an event that is missing here."""

    async def anchor(self, servers: Sequence[str], version: RoomVersion, room_id: str, event_id: str) -> None:
        raise NoAnchor("nobody is there")


class NoDirectories:
    """Other servers that list no rooms."""

    async def alias(self, destination: str, room_alias: str) -> Any:
        raise RemoteError(destination, FailureKind.CONNECT, "nobody is there")

    async def public_rooms(self, destination: str, **wanted: Any) -> Any:
        raise RemoteError(destination, FailureKind.CONNECT, "nobody is there")

    async def hierarchy(self, destination: str, room_id: str, *, suggested_only: bool) -> Any:
        raise RemoteError(destination, FailureKind.CONNECT, "nobody is there")


class Threads:
    """Stands for a reactor with a thread pool: what others would do in a thread is done at once."""

    def getThreadPool(self) -> Threads:
        return self

    def callInThreadWithCallback(self, on_result: Callable[[bool, Any], None], function: Any, *args: Any) -> None:
        on_result(True, function(*args))

    def callFromThread(self, function: Any, *args: Any) -> None:
        function(*args)


class RoomElsewhere:
    """One room. Users are `@name:server`."""

    def __init__(
        self,
        creator: str = "@ann:far.org",
        version: str = "12",
        join_rule: str = "public",
        keys: Mapping[str, SigningKey] | None = None,
    ) -> None:
        #: Keys of servers that have others than those of `key_of`.
        self.keys = keys or {}
        self.version = ROOM_VERSIONS[version]
        self.events: dict[str, Event] = {}
        self.state: dict[tuple[str, str], Event] = {}
        self.newest: Event | None = None
        self.room_id = "" if self.version.room_id_is_create_hash else f"!room{next(_NEXT)}:{creator.partition(':')[2]}"
        content = {} if self.version.auth.creator_is_sender else {"creator": creator}
        self.send(creator, "m.room.create", {"room_version": version, **content}, "")
        self.room_id = self.state["m.room.create", ""].room_id
        self.send(creator, "m.room.member", {"membership": "join"}, creator)
        self.send(creator, "m.room.power_levels", self._levels(creator), "")
        self.send(creator, "m.room.join_rules", {"join_rule": join_rule}, "")
        self.creator = creator

    def _levels(self, creator: str) -> dict[str, Any]:
        return {"users": {} if self.version.auth.privileged_creators else {creator: 100}, "invite": 0}

    def build(
        self, sender: str, event_type: str, content: Mapping[str, Any], state_key: str | None = None, **more: Any
    ) -> Event:
        """An event at the room's end, which it does not become."""
        server = sender.partition(":")[2]
        arguments: dict[str, Any] = {
            "room_id": None if event_type == "m.room.create" and not self.room_id else self.room_id,
            "event_type": event_type,
            "sender": sender,
            "content": content,
            "state_key": state_key,
            "prev_events": [self.newest] if self.newest else [],
            "auth_events": self._auth(sender, event_type, state_key, content),
            "depth": next_depth(self.version, [self.newest.depth] if self.newest else []),
            "origin_server_ts": next(_NEXT),
            "event_id": self._new_id(server),
            **more,
        }
        key = self.keys.get(server) or key_of(server)
        template = {**event_template(self.version, **arguments), "origin": server}
        return complete(self.version, template, server, key)

    def _new_id(self, server: str) -> str | None:
        return f"$e{next(_NEXT)}:{server}" if self.version.event_id_format is EventIdFormat.CHOSEN else None

    def _auth(self, sender: str, event_type: str, state_key: str | None, content: Mapping[str, Any]) -> list[Event]:
        keys = auth_types_for_event(self.version, event_type, sender, state_key, content)
        return [self.state[key] for key in sorted(keys) if key in self.state]

    def add(self, event: Event) -> Event:
        """Make an event the room's end."""
        self.events[event.event_id] = event
        if event.is_state:
            self.state = {**self.state, event.key: event}
        self.newest = event
        return event

    def send(self, sender: str, event_type: str, content: Mapping[str, Any], state_key: str | None = None) -> Event:
        """Build an event and make it the room's end."""
        return self.add(self.build(sender, event_type, content, state_key))

    def join(self, *user_ids: str) -> None:
        """Let users in."""
        for user_id in user_ids:
            self.send(user_id, "m.room.member", {"membership": "join", "displayname": user_id}, user_id)

    def invite(self, user_id: str, by: str | None = None) -> Event:
        """Invite a user."""
        return self.send(by or self.creator, "m.room.member", {"membership": "invite"}, user_id)

    def chain(self, events: Sequence[Event]) -> list[Event]:
        """The auth chain of some events."""
        found: dict[str, Event] = {}
        waiting = [auth_id for event in events for auth_id in event.auth_events]
        while waiting:
            event_id = waiting.pop()
            if event_id not in found:
                found[event_id] = self.events[event_id]
                waiting += found[event_id].auth_events
        return list(found.values())

    def servers(self) -> list[str]:
        """The servers with joined users."""
        joined = (event.sender for event in self.state.values() if event.membership == "join")
        return sorted({user_id.partition(":")[2] for user_id in joined})


@dataclass
class Resident:
    """A server that is in some rooms, and what it does wrong."""

    name: str
    rooms: dict[str, RoomElsewhere] = field(default_factory=dict)
    omits_members: bool = False
    #: Raised by the operation of a name (`make_join`, `send_join`, `state`, …).
    errors: dict[str, Exception] = field(default_factory=dict)
    #: Changes the events of an answer: (in state, PDU) in, what is told out.
    lies: Callable[[list[tuple[bool, dict[str, Any]]]], list[tuple[bool, dict[str, Any]]]] = lambda pdus: pdus
    #: Changes a template.
    changes: Mapping[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: list[Event] = field(default_factory=list)
    before: dict[str, dict[tuple[str, str], Event]] = field(default_factory=dict)
    invite_states: list[list[Mapping[str, Any]]] = field(default_factory=list)
    keys: Mapping[str, SigningKey] = field(default_factory=dict)
    signs_wrongly: bool = False


class Network:
    """All other servers, in the shape in which the code asks them."""

    def __init__(self, *residents: Resident) -> None:
        self.residents = {resident.name: resident for resident in residents}

    def _resident(self, destination: str, operation: str) -> Resident:
        resident = self.residents.get(destination)
        if resident is None:
            raise RemoteError(destination, FailureKind.CONNECT, "nobody is there")
        resident.asked.append(operation)
        if operation in resident.errors:
            raise resident.errors[operation]
        return resident

    def _room(self, destination: str, operation: str, room_id: str) -> tuple[Resident, RoomElsewhere]:
        resident = self._resident(destination, operation)
        if room_id not in resident.rooms:
            raise refused(destination, 404, "M_NOT_FOUND", "No such room.")
        return resident, resident.rooms[room_id]

    def _made(self, resident: Resident, room: RoomElsewhere, user_id: str, membership: str) -> Made:
        content = {"membership": membership}
        rules = room.state["m.room.join_rules", ""].content.get("join_rule")
        current = room.state.get(("m.room.member", user_id))
        if membership == "join" and rules == "restricted" and (current is None or current.membership != "invite"):
            content["join_authorised_via_users_server"] = room.creator
        assert room.newest is not None
        template = event_template(
            room.version, room_id=room.room_id, event_type="m.room.member", sender=user_id, content=content,
            state_key=user_id, prev_events=[room.newest],
            auth_events=room._auth(user_id, "m.room.member", user_id, content), depth=room.newest.depth + 1,
            origin_server_ts=1, event_id=room._new_id(resident.name),
        )
        return Made(room.version.identifier, {**template, **resident.changes})

    async def make_join(self, destination: str, room_id: str, user_id: str, versions: Sequence[str]) -> Made:
        resident, room = self._room(destination, "make_join", room_id)
        return self._made(resident, room, user_id, "join")

    async def make_leave(self, destination: str, room_id: str, user_id: str) -> Made:
        resident, room = self._room(destination, "make_leave", room_id)
        return self._made(resident, room, user_id, "leave")

    async def make_knock(self, destination: str, room_id: str, user_id: str, versions: Sequence[str]) -> Made:
        resident, room = self._room(destination, "make_knock", room_id)
        return self._made(resident, room, user_id, "knock")

    def _take(self, resident: Resident, room: RoomElsewhere, pdu: Mapping[str, Any]) -> Event:
        event = Event.from_pdu(room.version, copy.deepcopy(dict(pdu)))
        resident.before[event.event_id] = room.state
        if "join_authorised_via_users_server" in event.content:
            key = resident.keys.get(resident.name) or key_of(resident.name)
            event = with_event_signature(event, resident.name, key)
        resident.sent.append(event)
        return room.add(event)

    async def send_join(
        self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any], take: TakePdu
    ) -> SentJoin:
        resident, room = self._room(destination, "send_join", room_id)
        servers = room.servers()
        join = self._take(resident, room, pdu)
        assert join.event_id == event_id
        state = list(resident.before[event_id].values())
        if resident.omits_members:
            state = [event for event in state if event.type != "m.room.member"]
        await self._tell(resident, room, state, [*state, join], take)
        return SentJoin(join.pdu, resident.omits_members, servers)

    async def _tell(
        self, resident: Resident, room: RoomElsewhere, state: Sequence[Event], chain_of: Sequence[Event], take: TakePdu
    ) -> None:
        pdus = [(True, dict(event.pdu)) for event in state]
        pdus += [(False, dict(event.pdu)) for event in room.chain(chain_of)]
        for in_state, told in resident.lies(pdus):
            waiting = take(in_state, told)
            if waiting is not None:
                await waiting

    async def state(self, destination: str, room_id: str, event_id: str, take: TakePdu) -> None:
        resident, room = self._room(destination, "state", room_id)
        state = list(resident.before[event_id].values())
        await self._tell(resident, room, state, state, take)

    async def invite(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        room_version: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        resident = self._resident(destination, "invite")
        event = Event.from_pdu(ROOM_VERSIONS[room_version], copy.deepcopy(dict(pdu)))
        assert event.event_id == event_id
        resident.sent.append(event)
        resident.invite_states.append(list(room_state))
        key = key_of("wrong" if resident.signs_wrongly else destination)
        return with_event_signature(event, destination, key).pdu

    async def invite_v1(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        pdu: Mapping[str, Any],
        room_state: Sequence[Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        self._resident(destination, "invite_v1")
        event = Event.from_pdu(ROOM_VERSIONS["1"], copy.deepcopy(dict(pdu)))
        return with_event_signature(event, destination, key_of(destination)).pdu

    async def send_leave(self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> None:
        resident, room = self._room(destination, "send_leave", room_id)
        self._take(resident, room, pdu)

    async def send_knock(
        self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        resident, room = self._room(destination, "send_knock", room_id)
        self._take(resident, room, pdu)
        keys = (("m.room.create", ""), ("m.room.join_rules", ""), ("m.room.name", ""))
        return [room.state[key].pdu for key in keys if key in room.state]


def refused(destination: str, status: int, errcode: str, error: str, **body: Any) -> RemoteError:
    """What another server says when it does not want to."""
    return RemoteError(destination, FailureKind.HTTP, error, status=status, errcode=errcode, body=body)
