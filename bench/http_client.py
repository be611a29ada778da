"""A lean HTTP/1.1 client for loopback: one request at a time on each kept-alive connection.

It only parses what it needs (status, length, body), so that the client is not what gets measured.
"""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_encode = json.JSONEncoder(separators=(",", ":")).encode


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
    content = _encode(body).encode()
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _unexpected(answer: Answer) -> None:
    raise AssertionError(f"an answer that nobody asked for: {answer.status}")


class Connection(asyncio.Protocol):
    """A kept-alive connection; it is opened again when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answered: Callable[[Answer], bytes | None] = _unexpected
        self._done: asyncio.Future[None] | None = None

    async def send(self, request: bytes) -> Answer:
        """Sends the bytes of one request and returns its answer; raises OSError or ConnectionLost."""
        answers: list[Answer] = []
        await self.exchange(request, answers.append)
        return answers[0]

    async def exchange(self, first: bytes, answered: Callable[[Answer], bytes | None]) -> None:
        """Sends a request, then each that `answered` returns for an answer, until it returns None.

        There is no task switch between an answer and the next request: that is most of what a client costs.
        """
        transport = await self._open()
        self._received = b""
        self._answered = answered
        self._done = done = asyncio.get_running_loop().create_future()
        transport.write(first)
        try:
            await done
        except BaseException:
            self.close()  # an answer may still be under way
            raise

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def _open(self) -> asyncio.Transport:
        if self._transport is None or self._transport.is_closing():
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        return self._transport

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if self._transport is None or self._done is None or self._done.done():
            return
        try:
            answer = parse_answer(self._received)
            if answer is None:
                return
            self._received = b""
            following = self._answered(answer)
        except Exception as failure:  # belongs to whoever waits in exchange()
            self._done.set_exception(failure)
            return
        if following is None:
            self._done.set_result(None)
        else:
            self._transport.write(following)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionLost(str(exc or "closed by the server")))


def parse_answer(received: bytes) -> Answer | None:
    """The answer, or None while it is not whole yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    status = int(received[9:12])
    start = end + 4
    length = _LENGTH.search(received, 0, end)
    if length is not None:
        stop = start + int(length[1])
        return Answer(status, received[start:stop]) if len(received) >= stop else None
    if _CHUNKED.search(received, 0, end) is None:
        return Answer(status, b"")
    body = _chunked_body(received, start)
    return None if body is None else Answer(status, body)


def _chunked_body(received: bytes, at: int) -> bytes | None:
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
        chunks.append(received[at : at + size])
        at += size + 2
