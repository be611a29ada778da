"""A site: whom it believes about addresses, and how it stops."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.threads import blockingCallFromThread
from twisted.logger import LogEvent, globalLogPublisher

from matrixd.http.kit import server
from matrixd.http.kit.server import MatrixSite, TrustedProxies
from tests.unit.http.kit.peer import LARGE, MAX_BODY, World, fired, request

WAIT = request("GET", "/_matrix/client/v3/wait")
OPEN = "/_matrix/client/v3/open"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "203.0.113.9, 10.0.0.7", "203.0.113.9"),
        ("127.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.7, 127.0.0.1", "203.0.113.9"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "6.6.6.6, nonsense", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_clients_address(peer: str, forwarded: str, expected: str) -> None:
    world = World(["127.0.0.0/8", "10.0.0.0/8"])
    for _ in range(2):
        answer = world.peer(peer).answer(request("GET", OPEN, X_Forwarded_For=forwarded))
        assert answer.json["ip"] == expected


def test_a_peer_without_an_address_sits_at_a_unix_socket(world: World) -> None:
    assert world.site.client_ip("", None) == "unix"
    trusting = MatrixSite(world.dispatcher, TrustedProxies((), unix=True), world.reactor)
    assert trusting.client_ip("", b"203.0.113.9") == "203.0.113.9"


class TestStopping:
    def test_idle_connections_are_closed_and_waits_answered_at_once(self, world: World) -> None:
        idle, waiting = world.peer(), world.peer().send(WAIT)
        stopped = Deferred.fromCoroutine(world.site.stop())
        assert not idle.is_open
        answer = waiting.answer()
        assert (answer.json, answer.headers["connection"]) == ({"stopped": True}, "close")
        assert not waiting.is_open
        assert fired(stopped)
        assert not world.reactor.getDelayedCalls()

    def test_what_is_under_way_may_finish(self, world: World) -> None:
        peer = world.peer().send(request("POST", "/_matrix/client/v3/echo", Content_Length="2") + b"{")
        stopped = Deferred.fromCoroutine(world.site.stop())
        assert peer.is_open
        assert not fired(stopped)
        assert peer.answer(b"}").status == 200
        assert fired(stopped)

    def test_but_not_for_ever(self, world: World) -> None:
        peer = world.peer().send(request("POST", "/_matrix/client/v3/echo", Content_Length="2") + b"{")
        stopped = Deferred.fromCoroutine(world.site.stop())
        world.reactor.advance(server.GRACE_S + 1)
        assert not peer.is_open
        assert fired(stopped)

    def test_a_large_answer_that_is_being_sent_comes_whole(self, world: World) -> None:
        peer = world.peer()
        peer.transport.is_slow = True
        peer.send(request("GET", "/_matrix/client/v3/large"))
        stopped = Deferred.fromCoroutine(world.site.stop())
        while not fired(stopped):
            peer.channel.resumeProducing()
        assert len(peer.answer().body) == LARGE
        assert not peer.is_open

    def test_further_requests_on_the_connection_are_not_begun(self, world: World) -> None:
        peer = world.peer().send(WAIT + request("GET", OPEN))
        Deferred.fromCoroutine(world.site.stop())
        assert [answer.json for answer in peer.answers()] == [{"stopped": True}]
        assert world.endpoints.calls == []

    def test_a_wait_that_begins_while_stopping_is_ended_too(self, world: World) -> None:
        peer = world.peer()
        world.site.is_stopping = True
        peer.send(WAIT)
        assert peer.answers() == []
        world.reactor.advance(0)
        assert peer.answer().json == {"stopped": True}

    def test_without_connections_there_is_nothing_to_wait_for(self, world: World) -> None:
        assert fired(Deferred.fromCoroutine(world.site.stop()))


class _Loopback:
    """A site on a real port, with a reactor of its own in a thread."""

    def __init__(self) -> None:
        self.reactor = SelectReactor()
        self.world = World()
        site = MatrixSite(self.world.dispatcher, TrustedProxies((), unix=False), self.reactor)
        self._port = self.reactor.listenTCP(0, site, interface="127.0.0.1")
        self._thread = threading.Thread(target=self.reactor.run, kwargs={"installSignalHandlers": False}, daemon=True)
        self._thread.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port.getHost().port), timeout=10)

    def stop(self) -> None:
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(10)


@pytest.fixture
def loopback() -> Iterator[_Loopback]:
    running = _Loopback()
    yield running
    running.stop()


def _read_all(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_refusal_of_a_large_body_reaches_a_client_that_reads_only_at_the_end(
    loopback: _Loopback, framing: str
) -> None:
    size = 8 * 1024 * 1024
    with loopback.connect() as connection:
        if framing == "length":
            connection.sendall(request("POST", "/_matrix/client/v3/echo", Content_Length=str(size)))
            connection.sendall(bytes(size))
        else:
            connection.sendall(request("POST", "/_matrix/client/v3/echo", Transfer_Encoding="chunked"))
            for _ in range(size // 65536):
                connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = _read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"M_TOO_LARGE" in answer
    assert str(MAX_BODY).encode() in answer


def test_the_refusal_of_many_headers_reaches_its_client(loopback: _Loopback) -> None:
    with loopback.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000)
        assert _read_all(connection).startswith(b"HTTP/1.1 400 ")


def test_no_request_reaches_a_log(loopback: _Loopback, caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []

    def observe(event: LogEvent) -> None:
        said.append(repr(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    try:
        with loopback.connect() as connection:
            for target in (f"{OPEN}?access_token=hunter2", "/_matrix/client/v3/fail?access_token=hunter2"):
                connection.sendall(request("GET", target, Authorization="Bearer hunter2"))
                connection.recv(65536)
    finally:
        globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]
    assert [record.getMessage() for record in caplog.records] == ["GET /_matrix/client/v3/fail failed"]
    assert "hunter2" not in caplog.text + "".join(said)


def test_a_real_client_keeps_its_connection(loopback: _Loopback) -> None:
    with loopback.connect() as connection:
        for _ in range(3):
            connection.sendall(request("GET", OPEN))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def _read_answers(connection: socket.socket, count: int) -> list[tuple[bytes, bytes]]:
    """The heads and bodies of so many answers; all have a Content-Length."""
    reader = connection.makefile("rb")
    found = []
    for _ in range(count):
        head = b""
        while (line := reader.readline()) != b"\r\n":
            assert line
            head += line
        found.append((head, reader.read(int(head.lower().partition(b"content-length: ")[2].split()[0]))))
    return found


class TestSlowReaders:
    def test_a_large_answer_comes_whole_and_the_connection_goes_on(self, loopback: _Loopback) -> None:
        with loopback.connect() as connection:
            connection.sendall(request("GET", "/_matrix/client/v3/large") + request("GET", OPEN))
            (head, body), (_, after) = _read_answers(connection, 2)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b"x" * LARGE
        assert b'"path"' in after

    def test_who_does_not_read_gets_no_more_answers_but_later_all(self, loopback: _Loopback) -> None:
        count = 20
        with loopback.connect() as connection:
            connection.sendall(request("GET", "/_matrix/client/v3/large") * count)
            time.sleep(0.5)
            begun = loopback.world.endpoints.large_answers
            assert begun <= 2, "all the answers would be in memory"
            assert [len(body) for _, body in _read_answers(connection, count)] == [LARGE] * count

    def test_a_client_that_goes_away_in_the_middle(self, loopback: _Loopback) -> None:
        with loopback.connect() as connection:
            connection.sendall(request("GET", "/_matrix/client/v3/large"))
            connection.recv(100)
        with loopback.connect() as connection:
            connection.sendall(request("GET", OPEN))
            assert _read_answers(connection, 1)[0][0].startswith(b"HTTP/1.1 200 OK\r\n")

    def test_a_large_answer_of_an_old_client_ends_with_its_connection(self, loopback: _Loopback) -> None:
        with loopback.connect() as connection:
            connection.sendall(b"GET /_matrix/client/v3/large HTTP/1.0\r\n\r\n")
            head, _, body = _read_all(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK\r\n")
        assert len(body) == LARGE


def test_a_unix_socket(loopback: _Loopback, tmp_path: Path) -> None:
    path = str(tmp_path / "matrixd.sock")
    # The file is there before anybody listens on it, so its existence tells nothing.
    blockingCallFromThread(loopback.reactor, loopback.reactor.listenUNIX, path, loopback.world.site)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(request("GET", OPEN) + request("GET", "/_matrix/client/v3/large"))
        (_, plain), (_, large) = _read_answers(connection, 2)
    assert b'"ip":"unix"' in plain
    assert len(large) == LARGE


def test_bodies_in_chunks_and_pipelined_requests(loopback: _Loopback) -> None:
    chunked = (
        request("POST", "/_matrix/client/v3/echo", Transfer_Encoding="chunked") + b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    )
    with loopback.connect() as connection:
        connection.sendall((chunked + request("GET", OPEN)) * 50)
        bodies = [body for _, body in _read_answers(connection, 100)]
    assert all(b'"body":[1,2]' in body for body in bodies[::2])
    assert all(b'"body":{}' in body for body in bodies[1::2])


def test_the_endpoint_learns_that_its_client_has_gone(loopback: _Loopback) -> None:
    with loopback.connect() as connection:
        connection.sendall(WAIT)
        _until(lambda: bool(loopback.world.endpoints.waiting))
    _until(lambda: loopback.world.endpoints.ended == ["gone"])


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
