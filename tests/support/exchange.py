"""One HTTP request and its answer over kept connections, one connection per thread."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.openapi import parse_json

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names are lower case. ``answer["key"]`` reads the JSON object in the body."""

    method: str
    target: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return parse_json(self.body)

    @property
    def errcode(self) -> str | None:
        """The error code of a standard error, None for a success."""
        return str(self.json["errcode"]) if self.status >= 400 else None

    def __getitem__(self, key: str) -> Any:
        return self.json[key]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key of the JSON object, or the default."""
        return self.json.get(key, default)


class KeepAlive:
    """The connections to one server. Threads may share it."""

    def __init__(self, base_url: str) -> None:
        self._address = urlsplit(base_url)
        self._local = threading.local()

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Answer:
        """Sends a request and reads the whole answer; ``timeout`` in seconds bounds each wait for the socket.

        Raises OSError or http.client.HTTPException when the connection fails before the answer is complete.
        """
        kept = self._kept() is not None
        try:
            return self._attempt(method, target, headers, body, timeout)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            # A kept connection may have been closed by the server between two requests. Only where repeating is
            # harmless whatever happened is the request sent again: the tests count what they send.
            if not kept or method not in REPEATABLE:
                raise
            return self._attempt(method, target, headers, body, timeout)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes this thread's connection."""
        connection = self._kept()
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _attempt(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Answer:
        connection = self._kept() or self._connect()
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.request(method, target, body=body, headers=dict(headers))
        response = connection.getresponse()
        content = response.read()
        if response.will_close:
            self.close()
        low = {name.lower(): value for name, value in response.getheaders()}
        return Answer(method, target, response.status, low, content)

    def _kept(self) -> http.client.HTTPConnection | None:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        return connection

    def _connect(self) -> http.client.HTTPConnection:
        secure = self._address.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = self._local.connection = kind(self._address.netloc)
        return connection
