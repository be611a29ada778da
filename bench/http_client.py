"""A lean HTTP/1.1 client for loopback: one request at a time on each kept-alive connection.

It only parses what it needs (status, length, body), so that the client is not what gets measured.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any


class ConnectionLost(Exception):
    """The server closed the connection before its answer was whole."""


class Answer:
    """One HTTP answer: status and undecoded body."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


def encode_request(method: str, target: str, token: str | None = None, body: object = None) -> bytes:
    """The bytes of a request; `target` is the path with its query, percent-encoded already."""
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    if body is None:
        return (head + "\r\n").encode()
    content = json.dumps(body, separators=(",", ":")).encode()
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Connection(asyncio.Protocol):
    """A kept-alive connection; it is opened again when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiter: asyncio.Future[Answer] | None = None

    async def send(self, request: bytes) -> Answer:
        """Sends the bytes of one request and returns its answer; raises OSError or ConnectionLost."""
        if self._transport is None or self._transport.is_closing():
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        assert self._transport is not None
        self._received.clear()
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._waiter is None or self._waiter.done():
            return
        answer = parse_answer(self._received)
        if answer is not None:
            self._waiter.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionLost(str(exc or "closed by the server")))


def parse_answer(received: bytearray) -> Answer | None:
    """The answer, or None while it is not whole yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    status = int(received[9:12])
    headers = _headers(bytes(received[:end]))
    start = end + 4
    if headers.get(b"transfer-encoding") == b"chunked":
        body = _chunked_body(received, start)
        return None if body is None else Answer(status, body)
    length = int(headers.get(b"content-length", b"0"))
    if len(received) < start + length:
        return None
    return Answer(status, bytes(received[start : start + length]))


def _headers(head: bytes) -> Mapping[bytes, bytes]:
    lines = head.lower().split(b"\r\n")[1:]
    return {name: value.strip() for name, _, value in (line.partition(b":") for line in lines)}


def _chunked_body(received: bytearray, at: int) -> bytes | None:
    if not received.endswith(b"0\r\n\r\n"):
        return None
    chunks: list[bytes] = []
    while True:
        end_of_line = received.find(b"\r\n", at)
        if end_of_line < 0:
            return None
        size = int(received[at:end_of_line].split(b";")[0], 16)
        at = end_of_line + 2
        if size == 0:
            return b"".join(chunks)
        if len(received) < at + size + 2:
            return None
        chunks.append(bytes(received[at : at + size]))
        at += size + 2
