"""Connections: requests that come whole, in pieces, too large, too slowly, and what is written back."""

from __future__ import annotations

import pytest

from matrixd.http.kit import channel
from matrixd.http.kit.channel import MatrixChannel
from tests.unit.http.kit.peer import LARGE, MAX_BODY, World, request

WHOAMI = request("GET", "/_matrix/client/v3/account/whoami", Authorization="Bearer alice")
WAIT = request("GET", "/_matrix/client/v3/wait")
ECHO = "/_matrix/client/v3/echo"


def test_a_request_is_answered_and_the_connection_stays(world: World) -> None:
    peer = world.peer()
    answer = peer.answer(WHOAMI)
    assert (answer.status, answer.json) == (200, {"user_id": "@alice:test"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert "connection" not in answer.headers
    assert peer.answer(WHOAMI).status == 200
    assert peer.is_open


def test_a_request_may_come_byte_by_byte(world: World) -> None:
    peer = world.peer()
    for byte in request("POST", ECHO, b'{"a": 1}'):
        peer.send(bytes([byte]))
    assert peer.answer().json["body"] == {"a": 1}


def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    peer = world.peer().send(WAIT + WHOAMI + request("POST", ECHO, b"[1]") + WHOAMI)
    assert peer.answers() == []
    world.endpoints.waiting[0].callback({"waited": True})
    bodies = [answer.json for answer in peer.answers()]
    assert bodies[0] == {"waited": True}
    assert bodies[1] == bodies[3] == {"user_id": "@alice:test"}
    assert bodies[2]["body"] == [1]


def test_reading_halts_while_too_much_is_ahead(world: World) -> None:
    peer = world.peer().send(WAIT)
    for _ in range(300):
        peer.send(WHOAMI)
    assert peer.transport.producerState == "paused"
    world.endpoints.waiting[0].callback({})
    assert peer.transport.producerState == "producing"
    assert {answer.status for answer in peer.answers()} == {200}


def test_a_client_that_does_not_read_gets_no_more_answers(world: World) -> None:
    peer = world.peer()
    peer.channel.pauseProducing()
    peer.send(WHOAMI)
    assert peer.answers() == []
    peer.channel.resumeProducing()
    assert peer.answer().status == 200
    peer.channel.pauseProducing()
    world.reactor.advance(channel.UNREAD_S + 6)
    assert not peer.is_open


def test_a_large_answer_may_take_its_time_as_long_as_it_is_read(world: World) -> None:
    peer = world.peer()
    peer.transport.is_slow = True
    peer.send(request("GET", "/_matrix/client/v3/large"))
    for _ in range(10):
        world.reactor.pump([5] * 10)
        assert peer.is_open
        peer.channel.resumeProducing()
    world.reactor.pump([5] * 20)
    assert not peer.is_open
    assert 0 < len(peer.written()) < LARGE


@pytest.mark.parametrize(
    ("version", "header", "is_kept", "answered"),
    [
        ("1.1", "", True, None),
        ("1.1", "Connection: close\r\n", False, "close"),
        ("1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", True, None),
        ("1.0", "", False, "close"),
        ("1.0", "Connection: Keep-Alive\r\n", False, "close"),
    ],
)
def test_keep_alive(world: World, version: str, header: str, is_kept: bool, answered: str | None) -> None:
    peer = world.peer()
    answer = peer.answer(f"GET /_matrix/client/v3/open HTTP/{version}\r\n{header}\r\n".encode())
    assert answer.status == 200
    assert (peer.is_open, answer.headers.get("connection")) == (is_kept, answered)


def test_head_has_no_body_and_204_no_length(world: World) -> None:
    answer = world.ask("HEAD", "/_matrix/client/v3/open")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 10
    answer = world.ask("OPTIONS", "/any/path/at/all")
    assert answer.status == 204
    assert "content-length" not in answer.headers
    assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE, OPTIONS"
    assert answer.headers["access-control-allow-headers"] == "X-Requested-With, Content-Type, Authorization"


def test_chunked_bodies(world: World) -> None:
    peer = world.peer().send(b"POST %b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" % ECHO.encode())
    peer.send(b'4\r\n{"a"\r\n4;x=y\r\n: 1').send(b"}\r\n0\r\nTrailer: x\r\n\r\n" + WHOAMI)
    echoed, who = peer.answers()
    assert echoed.json["body"] == {"a": 1}
    assert who.status == 200


def test_chunks_that_are_no_chunks(world: World) -> None:
    peer = world.peer().send(b"POST %b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" % ECHO.encode())
    assert peer.answer(b"zz\r\n").status == 400
    assert peer.answers() == []


class TestTooLarge:
    def test_announced_and_the_client_keeps_sending(self, world: World) -> None:
        peer = world.peer()
        body = b"x" * (MAX_BODY + 1)
        answer = peer.answer(request("POST", ECHO, body)[:-MAX_BODY])
        assert (answer.status, answer.errcode) == (413, "M_TOO_LARGE")
        assert answer.headers["connection"] == "close"
        assert str(MAX_BODY) in answer.json["error"]
        assert peer.transport.has_ended
        peer.send(b"x" * MAX_BODY + WHOAMI)
        assert peer.is_open, "closed now, the client would see a broken connection"
        assert peer.answers() == []

    def test_announced_to_the_byte(self, world: World) -> None:
        assert world.ask("POST", ECHO, b"1".ljust(MAX_BODY)).status == 200
        assert world.ask("POST", ECHO, b"1".ljust(MAX_BODY + 1)).status == 413

    def test_in_chunks(self, world: World) -> None:
        peer = world.peer().send(b"POST %b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" % ECHO.encode())
        peer.send(b"%x\r\n" % MAX_BODY + b"1".ljust(MAX_BODY) + b"\r\n")
        assert peer.answers() == []
        answer = peer.answer(b"1\r\nx\r\n")
        assert (answer.status, answer.errcode) == (413, "M_TOO_LARGE")
        peer.send(b"5\r\nabcde\r\n" * 10)
        assert peer.answers() == []

    def test_a_client_that_never_ends_is_cut(self, world: World) -> None:
        peer = world.peer()
        assert peer.answer(request("POST", ECHO, Content_Length="999999999999")).status == 413
        for _ in range(4):
            peer.send(bytes(1024 * 1024))
            world.reactor.advance(5)
        assert not peer.is_open

    def test_a_client_that_lingers_is_cut(self, world: World) -> None:
        peer = world.peer()
        assert peer.answer(request("POST", ECHO, Content_Length="5000")).status == 413
        world.reactor.advance(channel.LINGER_S + 6)
        assert not peer.is_open

    def test_what_an_unknown_path_may_have(self, world: World) -> None:
        assert world.ask("POST", "/nowhere", b"x" * 100).status == 404
        assert world.ask("POST", "/nowhere", b"x" * 70_000).status == 413


def test_expect_100_continue(world: World) -> None:
    peer = world.peer().send(request("POST", ECHO, Expect="100-continue", Content_Length="2"))
    assert peer.written() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert peer.answer(b"{}").status == 200
    refused = world.peer()
    assert refused.answer(request("POST", ECHO, Expect="100-continue", Content_Length="2000")).status == 413


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: x\x00y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length:\r\n " + b"9" * 5000 + b"\r\n\r\nabc", 400),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MatrixChannel.maxHeaders + 1) + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + (b"A: " + b"x" * 4000 + b"\r\n") * 9 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * (MatrixChannel.MAX_LENGTH + 2), 431),
        (b"GET /" + b"x" * MatrixChannel.MAX_LENGTH + b" HTTP/1.1\r\n\r\n", 414),
    ],
)
def test_what_is_no_good_http_is_refused_once(world: World, data: bytes, status: int) -> None:
    peer = world.peer()
    assert peer.answer(data).status == status
    peer.send(WHOAMI)
    assert peer.answers() == []
    assert world.endpoints.calls == []
    world.reactor.advance(channel.LINGER_S + 6)
    assert not peer.is_open


def test_a_second_request_cannot_hide_in_a_body(world: World) -> None:
    hidden = request("GET", "/_matrix/client/v3/fail")
    peer = world.peer().send(request("POST", ECHO, b'"' + hidden.replace(b"\r\n", b"  ") + b'"') + WHOAMI)
    assert [answer.status for answer in peer.answers()] == [200, 200]
    folded = b"POST %b HTTP/1.1\r\nA: x\r\n Content-Length: %d\r\n\r\n" % (ECHO.encode(), len(hidden))
    assert [answer.status for answer in world.peer().send(folded + WHOAMI).answers()] == [200, 200]


def test_a_proxy_may_send_the_whole_url_and_a_blank_line(world: World) -> None:
    peer = world.peer()
    large = request("POST", f"http://test{ECHO}", b"1".ljust(MAX_BODY + 1))
    assert world.peer().answer(large).errcode == "M_TOO_LARGE"
    assert peer.answer(b"\r\nGET http://test/_matrix/client/v3/open?q=1 HTTP/1.1\r\n\r\n").json["q"] == ["1"]


@pytest.mark.parametrize(
    ("part", "told"), [(b"", []), (b"GET / HT", []), (request("POST", ECHO, Content_Length="10") + b"abc", [408])]
)
def test_slow_clients_are_told_so_or_dropped(world: World, part: bytes, told: list[int]) -> None:
    peer = world.peer()
    if part:
        peer.send(part)
    world.reactor.advance(25)
    assert peer.is_open
    for _ in range(20):
        world.reactor.advance(5)
    assert [answer.status for answer in peer.answers()] == told
    assert not peer.is_open


def test_a_trickle_does_not_extend_the_time_for_a_head(world: World) -> None:
    peer = world.peer()
    for byte in b"GET / HTTP/1.1\r\nHost:":
        peer.send(bytes([byte]))
        world.reactor.advance(5)
    assert peer.transport.has_ended
    world.reactor.pump([5] * 4)
    assert not peer.is_open


def test_a_body_has_more_time_the_more_of_it_came(world: World) -> None:
    steady = world.peer().send(request("POST", "/_matrix/client/v3/typed", Content_Length="1000000"))
    trickle = world.peer().send(request("POST", ECHO, Transfer_Encoding="chunked"))
    for _ in range(30):
        steady.send(b" " * channel.SLOWEST_RATE * 5)
        trickle.send(b"1\r\n \r\n")
        world.reactor.advance(5)
    assert steady.answers() == []
    assert [answer.status for answer in trickle.answers()] == [408]


def test_an_idle_connection_is_closed_but_not_one_that_waits_for_its_answer(world: World) -> None:
    idle, waiting = world.peer(), world.peer()
    idle.answer(WHOAMI)
    waiting.send(WAIT)
    world.reactor.pump([5] * 30)
    assert not idle.is_open
    assert waiting.is_open
    world.endpoints.waiting[0].callback({})
    assert waiting.answer().status == 200


def test_the_endpoint_is_told_that_its_client_has_gone(world: World) -> None:
    peer = world.peer().send(WAIT)
    peer.disconnect()
    assert world.endpoints.ended == ["gone"]
    world.endpoints.waiting[0].callback({})
    assert peer.answers() == []
    assert world.site.buildProtocol(None) is not None


def test_a_client_that_goes_in_the_middle_leaves_nothing(world: World) -> None:
    peer = world.peer().send(request("POST", ECHO, Content_Length="10") + b"abc")
    peer.disconnect()
    assert world.endpoints.calls == []
    assert not world.reactor.getDelayedCalls()
