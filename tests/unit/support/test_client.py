"""The test client against a server of a few lines: what it sends, checks, raises and repeats."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.client import MatrixClient, UnexpectedStatus
from tests.support.openapi import Specification, SpecificationMismatch

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
}


class _Server(ThreadingHTTPServer):
    """Answers everything with ``status`` and ``answer``, and notes what came."""

    daemon_threads = True
    status = 200
    drops = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Any = {}
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        if self.server.drops:
            self.server.drops -= 1
            self.close_connection = True
            return
        content = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        for name, value in {**CORS, "Content-Type": "application/json", "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = handle_any

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    running = _Server()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def client(server: _Server, specification: Specification) -> MatrixClient:
    made = MatrixClient(f"http://127.0.0.1:{server.server_address[1]}", specification=specification)
    made.token = "secret"
    return made


def test_a_message_is_sent_as_the_specification_says(server: _Server, client: MatrixClient) -> None:
    server.answer = {"event_id": "$one"}
    assert client.say("!a/b:test", "hi", txn_id="t 1") == "$one"
    method, path, headers, body = server.seen[0]
    assert (method, path) == ("PUT", "/_matrix/client/v3/rooms/%21a%2Fb%3Atest/send/m.room.message/t%201")
    assert headers["Authorization"] == "Bearer secret"
    assert json.loads(body) == {"msgtype": "m.text", "body": "hi"}


def test_connections_are_kept(server: _Server, client: MatrixClient) -> None:
    server.answer = {"joined_rooms": []}
    for _ in range(5):
        assert client.joined_rooms() == []
    assert server.connections == 1


def test_a_wrong_request_is_not_sent(server: _Server, client: MatrixClient) -> None:
    with pytest.raises(SpecificationMismatch, match="body"):
        client.put("/rooms/%21a/send/m.room.message/1", [])
    assert server.seen == []


def test_a_wrong_request_on_purpose_is_sent_and_its_answer_checked(server: _Server, client: MatrixClient) -> None:
    server.status, server.answer = 400, {"errcode": "M_BAD_JSON", "error": "The content must be an object."}
    answer = client.put("/rooms/%21a/send/m.room.message/1", [], validate=False, expect=400)
    assert answer.errcode == "M_BAD_JSON"
    server.answer = {"errcode": "M_BAD_JSON"}
    with pytest.raises(SpecificationMismatch, match=r"answer\.error"):
        client.put("/rooms/%21a/send/m.room.message/1", [], validate=False, expect=400)


def test_a_wrong_answer_fails_the_call(server: _Server, client: MatrixClient) -> None:
    server.answer = {"joined_rooms": "none"}
    with pytest.raises(SpecificationMismatch, match=r"answer\.joined_rooms"):
        client.joined_rooms()


def test_another_status_shows_the_answer(server: _Server, client: MatrixClient) -> None:
    server.status, server.answer = 403, {"errcode": "M_FORBIDDEN", "error": "You are not in the room."}
    with pytest.raises(UnexpectedStatus, match=r"expected 200, got 403: .*You are not in the room"):
        client.state("!a:test")


def test_sync_goes_on_from_the_last_token(server: _Server, client: MatrixClient) -> None:
    server.answer = {"next_batch": "s7"}
    client.sync()
    client.sync(timeout_ms=10, filter={"room": {"timeline": {"limit": 1}}}, full_state=True)
    assert "since" not in server.seen[0][1]
    assert "since=s7" in server.seen[1][1]
    assert "full_state=true" in server.seen[1][1]


def test_only_harmless_requests_are_repeated_on_a_lost_connection(server: _Server, client: MatrixClient) -> None:
    server.answer = {"joined_rooms": []}
    client.joined_rooms()
    server.drops = 1
    assert client.joined_rooms() == []
    server.drops = 1
    with pytest.raises(OSError):
        client.send("!a:test", "once", txn_id="1")
    assert [seen[0] for seen in server.seen] == ["GET", "GET", "GET", "PUT"]


def test_registering_goes_through_interactive_authentication(server: _Server, client: MatrixClient) -> None:
    server.answer = {"user_id": "@alice:test", "access_token": "t2", "device_id": "D"}
    client.register("alice")
    assert (client.user_id, client.token, client.device_id) == ("@alice:test", "t2", "D")
    assert "Authorization" not in server.seen[0][2]
