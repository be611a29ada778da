"""Another server with large rooms, from memory: what those who join these rooms ask of it. Runs with matrixd's code.

    python -m bench.resident CERTIFICATE KEY MEMBERS,MEMBERS,…

It is a process of its own, so that the server that joins is measured alone. The members come from some twenty servers,
all of which are this process. When it is ready it prints a line of JSON: its name, and of each room the ID and members.
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from bench.large_room import MEMBERSHIP, LargeRoom, OtherServer
from matrixd.core import canonical_json
from matrixd.core.builder import event_template
from matrixd.core.event import Event
from matrixd.core.server_keys import published_keys

_SERVERS = 20
_DAY_MS = 24 * 60 * 60 * 1000
_NOT_FOUND = b'{"errcode":"M_NOT_FOUND","error":"Not here."}'
_PREFIX = "/_matrix/federation/"


class Room:
    """A room with its answers, made beforehand."""

    def __init__(self, room: LargeRoom) -> None:
        self.room = room
        texts = {event.event_id: canonical_json.encode(event.pdu) for event in room.events}
        chain = [texts[event.event_id] for event in room.auth_chain()]
        everything = [texts[event.event_id] for event in room.state_events()]
        without = [texts[event.event_id] for event in room.state_events(members=False)]
        self.state = _lists(pdus=everything, auth_chain=chain)
        ids = [event.event_id for event in room.state_events()], [event.event_id for event in room.auth_chain()]
        self.state_ids = json.dumps({"pdu_ids": ids[0], "auth_chain_ids": ids[1]}).encode()
        state = {True: without, False: everything}
        self._joined = {omits: _lists(state=events, auth_chain=chain) for omits, events in state.items()}
        self.texts = texts

    def template(self, user_id: str) -> bytes:
        content = {"membership": "join"}
        event = event_template(
            self.room.version,
            room_id=self.room.room_id,
            event_type=MEMBERSHIP,
            sender=user_id,
            content=content,
            prev_events=[self.room.newest],
            auth_events=self.room.auth_events(user_id, MEMBERSHIP, user_id, content),
            depth=self.room.newest.depth + 1,
            origin_server_ts=int(time.time() * 1000),
            state_key=user_id,
        )
        return json.dumps({"room_version": self.room.version.identifier, "event": event}).encode()

    def joined(self, name: str, pdu: Any, *, omit_members: bool) -> bytes:
        """The answer to a join, which becomes known by its ID."""
        event = Event.from_pdu(self.room.version, pdu)
        self.texts[event.event_id] = canonical_json.encode(event.pdu)
        rest = {"origin": name, "members_omitted": omit_members, "event": pdu, "servers_in_room": [*self.room.servers]}
        return json.dumps(rest).encode()[:-1] + b"," + self._joined[omit_members][1:]


class Resident:
    """Answers requests. `names`: the server of each port."""

    def __init__(self, servers: list[OtherServer], rooms: Iterable[LargeRoom]) -> None:
        self.name = servers[0].name
        self._servers = {server.name: server for server in servers}
        self._rooms = {room.room_id: Room(room) for room in rooms}

    def answer(self, name: str, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """The answer of the server with a name: status and body."""
        path, _, query = target.partition("?")
        if path.startswith("/_matrix/key/v2/server"):
            valid_until = int(time.time() * 1000) + _DAY_MS
            return 200, json.dumps(published_keys(name, [self._servers[name].key], [], valid_until)).encode()
        if not path.startswith(_PREFIX):
            return 404, _NOT_FOUND
        _version, operation, *rest = path[len(_PREFIX) :].split("/")
        if method == "PUT" and operation == "send":
            return 200, b'{"pdus":{}}'
        arguments = [unquote(each) for each in rest]
        if operation == "event":
            return self._event(arguments[0])
        room = self._rooms.get(arguments[0]) if arguments else None
        found = None if room is None else self._of_room(name, room, operation, arguments[1:], parse_qs(query), body)
        return (404, _NOT_FOUND) if found is None else (200, found)

    def _of_room(
        self, name: str, room: Room, operation: str, arguments: list[str], query: Mapping[str, list[str]], body: bytes
    ) -> bytes | None:
        match operation:
            case "make_join":
                return room.template(arguments[0])
            case "send_join":
                return room.joined(name, json.loads(body), omit_members=query.get("omit_members") == ["true"])
            case "state":
                return room.state
            case "state_ids":
                return room.state_ids
            case "get_missing_events":
                return b'{"events":[]}'
            case "backfill":
                return _lists(pdus=[room.texts[room.room.newest.event_id]])
        return None

    def _event(self, event_id: str) -> tuple[int, bytes]:
        for room in self._rooms.values():
            if event_id in room.texts:
                return 200, _lists(pdus=[room.texts[event_id]])
        return 404, _NOT_FOUND

    async def serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection."""
        try:
            while True:
                line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = line.split(" ")
                headers = {key.lower(): value.strip() for key, _, value in (each.partition(":") for each in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                status, answer = self.answer(name, method, target, body)
                head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
                writer.write(head.encode() + answer)
                await writer.drain()
                if headers.get("connection", "").lower() == "close":
                    return
        except (asyncio.IncompleteReadError, OSError):
            pass  # the other side has closed the connection
        finally:
            writer.close()


def _lists(**lists: list[bytes]) -> bytes:
    return b"{" + b",".join(b'"%b":[%b]' % (name.encode(), b",".join(texts)) for name, texts in lists.items()) + b"}"


async def main() -> None:
    """Serve until the end of the standard input."""
    certificate, key, sizes = sys.argv[1:4]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    residents: list[Resident] = []
    servers = []
    for _ in range(_SERVERS):

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            port = writer.get_extra_info("sockname")[1]
            await residents[0].serve(f"localhost:{port}", reader, writer)

        servers.append(await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context))
    others = [OtherServer.named(f"localhost:{server.sockets[0].getsockname()[1]}") for server in servers]
    rooms = [LargeRoom(f"large{number}", others, int(size)) for number, size in enumerate(sizes.split(","))]
    residents.append(Resident(others, rooms))
    described = [{"room_id": room.room_id, "members": [room.creator, *room.members]} for room in rooms]
    print(json.dumps({"server": residents[0].name, "rooms": described}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
