"""The client-server API as far as the benchmark needs it: encoded requests, and ways to send many of them."""

import asyncio
import contextlib
import hmac
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from bench.http_client import Answer, Connection, encode_request

CLIENT = "/_matrix/client/v3"
_transactions = itertools.count()


class Refused(Exception):
    """The server did not answer with 200."""


@dataclass(frozen=True, slots=True)
class User:
    """A registered user with an access token."""

    user_id: str
    token: str

    def whoami(self) -> bytes:
        return encode_request("GET", f"{CLIENT}/account/whoami", self.token)

    def create_room(self, version: str | None = None) -> bytes:
        body = {"preset": "public_chat", "name": "A room"} | ({"room_version": version} if version else {})
        return encode_request("POST", f"{CLIENT}/createRoom", self.token, body)

    def join(self, room_id: str) -> bytes:
        return encode_request("POST", f"{CLIENT}/rooms/{quote(room_id, safe='')}/join", self.token, {})

    def join_via(self, room_id: str, server: str) -> bytes:
        query = urlencode({"via": server, "server_name": server})
        return encode_request("POST", f"{CLIENT}/join/{quote(room_id, safe='')}?{query}", self.token, {})

    def member(self, room_id: str, user_id: str) -> bytes:
        target = f"{CLIENT}/rooms/{quote(room_id, safe='')}/state/m.room.member/{quote(user_id, safe='')}"
        return encode_request("GET", target, self.token)

    def joined_members(self, room_id: str) -> bytes:
        return encode_request("GET", f"{CLIENT}/rooms/{quote(room_id, safe='')}/joined_members", self.token)

    def event(self, room_id: str, event_id: str) -> bytes:
        target = f"{CLIENT}/rooms/{quote(room_id, safe='')}/event/{quote(event_id, safe='')}"
        return encode_request("GET", target, self.token)

    def message(self, room_id: str, body: str) -> bytes:
        target = f"{CLIENT}/rooms/{quote(room_id, safe='')}/send/m.room.message/t{next(_transactions)}"
        return encode_request("PUT", target, self.token, {"msgtype": "m.text", "body": body})

    def state(self, room_id: str, value: str) -> bytes:
        target = f"{CLIENT}/rooms/{quote(room_id, safe='')}/state/org.example.bench/"
        return encode_request("PUT", target, self.token, {"value": value})

    def page(self, room_id: str, start: str | None) -> bytes:
        query = {"dir": "b", "limit": "100"} | ({"from": start} if start else {})
        target = f"{CLIENT}/rooms/{quote(room_id, safe='')}/messages?{urlencode(query)}"
        return encode_request("GET", target, self.token)

    def sync(self, since: str | None = None, timeout: int = 0) -> bytes:
        # offline: presence is its own work, and not what is asked for here
        query = {"timeout": str(timeout), "set_presence": "offline"} | ({"since": since} if since else {})
        return encode_request("GET", f"{CLIENT}/sync?{urlencode(query)}", self.token)


async def ask(connection: Connection, request: bytes) -> Answer:
    """Sends a request; raises Refused unless it is answered with 200."""
    answer = await connection.send(request)
    _check(request, answer)
    return answer


def _check(request: bytes, answer: Answer) -> None:
    if answer.status != 200:
        line = request.partition(b"\r\n")[0].decode()
        raise Refused(f"{line}: {answer.status} {answer.body[:500].decode(errors='replace')}")


async def ask_json(connection: Connection, request: bytes) -> Any:
    return (await ask(connection, request)).json()


async def drive(lanes: Sequence[tuple[Connection, Iterator[bytes]]], limit: float) -> list[float]:
    """Sends each lane's requests one after the other, all lanes side by side, for at most `limit` seconds.

    Lanes may share an iterator. Returns the seconds that each answer took.
    """
    latencies: list[float] = []
    end = time.perf_counter() + limit

    async def lane(connection: Connection, requests: Iterator[bytes]) -> None:
        request = next(requests, None)
        began = time.perf_counter()

        def answered(answer: Answer) -> bytes | None:
            nonlocal request, began
            assert request is not None
            _check(request, answer)
            now = time.perf_counter()
            latencies.append(now - began)
            request, began = (next(requests, None) if now < end else None), now
            return request

        if request is not None:
            await connection.exchange(request, answered)

    async with asyncio.TaskGroup() as group:
        for connection, requests in lanes:
            group.create_task(lane(connection, requests))
    return latencies


async def drive_all(port: int, requests: Iterable[bytes], width: int, limit: float) -> list[float]:
    """Sends the requests over `width` connections."""
    shared = iter(requests)
    async with connections(port, width) as opened:
        return await drive([(connection, shared) for connection in opened], limit)


@contextlib.asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """Connections that are closed at the end; each opens with its first request."""
    opened = [Connection(port) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


async def register(connection: Connection, secret: str, name: str) -> User:
    """Makes a user with the shared secret, as the admin API's documentation describes it."""
    target = "/_synapse/admin/v1/register"
    nonce = (await ask_json(connection, encode_request("GET", target)))["nonce"]
    signed = f"{nonce}\0{name}\0a password\0notadmin".encode()
    body = {
        "nonce": nonce,
        "username": name,
        "password": "a password",
        "admin": False,
        "mac": hmac.new(secret.encode(), signed, "sha1").hexdigest(),
    }
    made = await ask_json(connection, encode_request("POST", target, body=body))
    return User(made["user_id"], made["access_token"])
