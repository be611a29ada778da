"""Requests to other servers that behave, and to those that do not."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred, gatherResults

from matrixd import __version__
from matrixd.net.connection_pool import PoolLimits
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.federation_client import FederationClient
from matrixd.net.metrics import FederationClientMetrics
from matrixd.net.paths import path_of
from tests.unit.net.loopback import PATIENCE_S, Handler, Net, Peer, TlsServer, answer, answering, failure, rules

PATH = "/_matrix/federation/v1/version"
FINE = answer(b'{"a":1}')


def name_of(server: TlsServer) -> str:
    return f"localhost:{server.port}"


def ask(net: Net, handler: Handler, client: FederationClient | None = None, **options: Any) -> RemoteError:
    """The error of a request to a server with this handler."""
    server = net.serve(handler)
    return failure(net, (client or net.client()).get(name_of(server), PATH, **options))


class TestRequests:
    def test_a_get_is_signed_and_answered(self, net: Net) -> None:
        server = net.serve(answering(FINE))
        path = path_of("/_matrix/federation/v1/event/{}", "$a/b c")
        assert net.run(net.client().get(name_of(server), path, [("a", "b c"), ("a", "&ü")])) == {"a": 1}
        (asked,) = server.asked
        target = "/_matrix/federation/v1/event/%24a%2Fb%20c?a=b%20c&a=%26%C3%BC"
        assert asked.line == f"GET {target} HTTP/1.1"
        assert asked.headers == {
            "host": name_of(server),
            "user-agent": f"matrixd/{__version__}",
            "authorization": 'X-Matrix origin="here.example"',
        }
        assert net.signed == [(name_of(server), "GET", target, None)]
        assert net.reachability.succeeded_with == [name_of(server)]

    @pytest.mark.parametrize("method", ["put", "post"])
    def test_what_is_signed_is_what_is_sent(self, net: Net, method: str) -> None:
        server = net.serve(answering(FINE))
        content = {"b": "ü", "a": [2**53 + 1]}
        assert net.run(getattr(net.client(), method)(name_of(server), PATH, content)) == {"a": 1}
        (asked,) = server.asked
        assert asked.body == '{"a":[9007199254740993],"b":"ü"}'.encode()
        assert asked.headers["content-type"] == "application/json"
        assert net.signed == [(name_of(server), method.upper(), PATH, asked.body)]

    def test_canonical_json_is_sent_as_it_is(self, net: Net) -> None:
        server = net.serve(answering(FINE))
        net.run(net.client().put(name_of(server), PATH, b'{"pdus":[]}'))
        assert (server.asked[0].body, net.signed[0][3]) == (b'{"pdus":[]}', b'{"pdus":[]}')

    def test_an_unsigned_get_has_no_authorization(self, net: Net) -> None:
        server = net.serve(answering(FINE))
        assert net.run(net.client().get_unsigned(name_of(server), "/_matrix/key/v2/server")) == {"a": 1}
        assert "authorization" not in server.asked[0].headers
        assert net.signed == []

    @pytest.mark.parametrize("path", ["/a b", "/a\r\nHost: x", "a", "/ü"])
    def test_a_path_that_was_not_encoded_is_not_sent(self, net: Net, path: str) -> None:
        server = net.serve(answering(FINE))
        with pytest.raises(ValueError, match="path_of"):
            net.run(net.client().get(name_of(server), path))
        assert server.connections == 0

    def test_large_bodies_pass_both_ways(self, net: Net) -> None:
        large = b'{"a":"%b"}' % (b"x" * 2_000_000)
        server = net.serve(answering(answer(large)))
        got = net.run(net.client().put(name_of(server), PATH, large))
        assert len(got["a"]) == 2_000_000
        assert server.asked[0].body == large


class TestPermission:
    def test_a_server_that_is_not_in_the_whitelist_is_not_asked(self, net: Net) -> None:
        server = net.serve(answering(FINE))
        client = net.client(whitelist=frozenset({"good.example"}))
        assert failure(net, client.get(name_of(server), PATH)).kind is FailureKind.DENIED
        assert failure(net, client.get_unsigned(name_of(server), PATH)).kind is FailureKind.DENIED
        assert server.connections == 0

    def test_one_in_it_is(self, net: Net) -> None:
        server = net.serve(answering(FINE))
        client = net.client(whitelist=frozenset({name_of(server)}))
        assert net.run(client.get(name_of(server), PATH)) == {"a": 1}

    def test_the_server_itself_is_not_asked(self, net: Net) -> None:
        assert failure(net, net.client().get("here.example", PATH)).kind is FailureKind.DENIED

    def test_a_server_that_is_left_alone_is_asked_only_on_demand(self, net: Net) -> None:
        server = net.serve(answering(FINE))
        net.reachability.refuse = RemoteError("x", FailureKind.BACKING_OFF, "later")
        client = net.client()
        assert failure(net, client.get(name_of(server), PATH)).kind is FailureKind.BACKING_OFF
        assert server.connections == 0
        assert net.run(client.get(name_of(server), PATH, ignore_backoff=True)) == {"a": 1}

    @pytest.mark.parametrize(
        ("name", "denied"),
        [("localhost", "127.0.0.0/8"), ("127.0.0.1", "127.0.0.0/8"), ("[::ffff:127.0.0.1]", "127.0.0.1")],
    )
    def test_a_denied_address_is_never_connected_to(self, net: Net, name: str, denied: str) -> None:
        server = net.serve(answering(FINE))
        error = failure(net, net.client(addresses=rules(denied)).get(f"{name}:{server.port}", PATH))
        assert (error.kind, server.connections) == (FailureKind.ADDRESS, 0)
        assert "ip_range_blacklist" in error.error


class TestErrors:
    def test_a_refusal_has_its_parts(self, net: Net) -> None:
        body = b'{"errcode":"M_INCOMPATIBLE_ROOM_VERSION","error":"no","room_version":"11"}'
        error = ask(net, answering(answer(body, "400 Bad Request")))
        assert (error.kind, error.status, error.errcode) == (FailureKind.HTTP, 400, "M_INCOMPATIBLE_ROOM_VERSION")
        assert (error.error, error.body["room_version"]) == ("no", "11")
        assert net.reachability.errors == [error]

    def test_what_the_other_server_says_is_made_fit_for_the_log(self, net: Net) -> None:
        body = b'{"errcode":"M_\\n%b","error":"a\\nb\\u001b[2J%b"}' % (b"X" * 500, b"y" * 5000)
        error = ask(net, answering(answer(body, "403 Forbidden")))
        assert error.errcode is not None
        assert len(error.errcode) <= 100
        assert len(error.error) <= 300
        assert str(error).isprintable()

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"errcode":1,"error":{}}', b""])
    def test_a_page_instead_of_an_error(self, net: Net, body: bytes) -> None:
        error = ask(net, answering(answer(body, "502 Bad Gateway", Content_Type="text/html")))
        assert (error.kind, error.status, error.errcode, error.error) == (FailureKind.HTTP, 502, None, "status 502")

    def test_redirects_are_not_followed(self, net: Net) -> None:
        other = net.serve(answering(FINE))
        location = f"https://localhost:{other.port}/"
        error = ask(net, answering(answer(b"", "302 Found", Location=location)))
        assert (error.kind, error.status, other.connections) == (FailureKind.HTTP, 302, 0)

    @pytest.mark.parametrize(
        ("headers", "body", "expected"),
        [
            ({"Retry_After": "7"}, b"{}", 7000),
            ({}, b'{"retry_after_ms":1234}', 1234),
            ({"Retry_After": "99999999999"}, b"{}", 24 * 3600 * 1000),
            ({"Retry_After": "Tue, 14 Nov 2023 22:13:30 GMT"}, b"{}", 10_000),
            ({"Retry_After": "soon"}, b"{}", None),
            ({}, b'{"retry_after_ms":"x"}', None),
        ],
    )
    def test_an_overloaded_server_says_for_how_long(
        self, net: Net, headers: dict[str, str], body: bytes, expected: int | None
    ) -> None:
        error = ask(net, answering(answer(body, "429 Too Many Requests", **headers)))
        assert (error.kind, error.status, error.retry_after_ms) == (FailureKind.OVERLOADED, 429, expected)

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"nonsense", "application/json"),
            (b"", "application/json"),
            (b'{"a":NaN}', "application/json"),
            (b'{"a":"\xff"}', "application/json"),
            (b"[" * 100_000, "application/json"),
            (b'{"a":1}', "text/html"),
            (b'{"a":1}', "application/jsonx"),
        ],
    )
    def test_what_is_not_json_is_a_bad_answer(self, net: Net, body: bytes, kind: str) -> None:
        error = ask(net, answering(answer(body, Content_Type=kind)))
        assert (error.kind, error.status) == (FailureKind.BAD_ANSWER, 200)

    @pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
    def test_parameters_of_the_type_do_not_matter(self, net: Net, kind: str) -> None:
        server = net.serve(answering(answer(b'{"a":1}', Content_Type=kind)))
        assert net.run(net.client().get(name_of(server), PATH)) == {"a": 1}

    def test_an_answer_without_type_is_taken(self, net: Net) -> None:
        server = net.serve(answering(b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'))
        assert net.run(net.client().get(name_of(server), PATH)) == {"a": 1}

    def test_large_integers_stay_exact(self, net: Net) -> None:
        server = net.serve(answering(answer(b'{"a":123456789012345678901234567890,"b":1.5}')))
        assert net.run(net.client().get(name_of(server), PATH)) == {"a": 123456789012345678901234567890, "b": 1.5}

    def test_of_two_members_with_one_name_the_last_counts(self, net: Net) -> None:
        server = net.serve(answering(answer(b'{"a":1,"a":2}')))
        assert net.run(net.client().get(name_of(server), PATH)) == {"a": 2}


def endless(start: bytes, piece: bytes) -> Handler:
    def handle(peer: Peer) -> None:
        peer.read()
        peer.write(start)
        while True:
            peer.write(piece)

    return handle


def hang(peer: Peer) -> None:
    """Read whatever comes."""
    while peer.read() is not None:
        pass


class TestBadServers:
    @pytest.mark.parametrize(
        "handler",
        [
            endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000),
            endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
            answering(answer(b"x" * 20_001)),
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n"),
            endless(b"HTTP/1.1 500 Oh\r\n\r\n", b"x" * 10_000),
            endless(b"HTTP/1.1 200 OK\r\n", b"X-Header: " + b"x" * 1000 + b"\r\n"),
            endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 20),
        ],
        ids=["body", "chunks", "length", "announced", "error", "headers", "informational"],
    )
    def test_what_is_too_large_is_not_read_to_the_end(self, net: Net, handler: Handler) -> None:
        client = net.client()
        assert ask(net, handler, client, max_bytes=20_000).kind is FailureKind.TOO_LARGE
        assert net.becomes(lambda: client.pool.open == 0)

    @pytest.mark.parametrize(
        "data",
        [
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"\xff\xfe\x00\r\n",
        ],
    )
    def test_garbage_is_a_bad_answer(self, net: Net, data: bytes) -> None:
        assert ask(net, answering(data)).kind is FailureKind.BAD_ANSWER

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        ],
        ids=["nothing", "head", "length", "chunk"],
    )
    def test_a_connection_that_ends_too_early(self, net: Net, data: bytes) -> None:
        def handle(peer: Peer) -> None:
            peer.read()
            peer.write(data)

        error = ask(net, handle)
        assert error.kind is FailureKind.CONNECT
        assert net.reachability.errors == [error]

    def test_a_body_that_ends_with_the_connection_is_read(self, net: Net) -> None:
        def handle(peer: Peer) -> None:
            peer.read()
            peer.write(b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"a":1}')

        server = net.serve(handle)
        assert net.run(net.client().get(name_of(server), PATH)) == {"a": 1}

    @pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
    def test_a_server_that_hangs(self, net: Net, start: bytes) -> None:
        def handle(peer: Peer) -> None:
            peer.read()
            peer.write(start)
            hang(peer)

        client = net.client()
        error = ask(net, handle, client, timeout_s=0.5)
        assert error.kind is FailureKind.TIMEOUT
        assert net.reachability.errors == [error]
        assert net.becomes(lambda: client.pool.open == 0)

    def test_a_port_on_which_nobody_listens(self, net: Net) -> None:
        server = net.serve(hang)
        server.stop()
        assert failure(net, net.client().get(name_of(server), PATH)).kind is FailureKind.CONNECT

    def test_an_outage_is_logged_once(self, net: Net, caplog: pytest.LogCaptureFixture) -> None:
        replies = [answer(b"", "502 Bad Gateway")] * 3 + [answer(b"{}", "404 Not Found"), FINE, FINE]
        server = net.serve(answering(*replies))
        client = net.client()
        with caplog.at_level(logging.INFO, "matrixd.net.outages"):
            for _ in range(4):
                failure(net, client.get(name_of(server), PATH))
            for _ in range(2):
                net.run(client.get(name_of(server), PATH))
        assert [record.getMessage() for record in caplog.records] == [
            f"{name_of(server)} does not answer: status 502",
            f"{name_of(server)} answers again",
        ]


class TestConsume:
    def test_pieces_come_one_after_the_other(self, net: Net) -> None:
        body = bytes(range(256)) * 4000
        server = net.serve(answering(answer(body)))
        got: list[bytes] = []
        at_once = 0

        def consume(piece: bytes) -> Deferred[None]:
            nonlocal at_once
            at_once += 1
            assert at_once == 1
            waiting: Deferred[None] = Deferred()
            net.reactor.callLater(0, done, piece, waiting)
            return waiting

        def done(piece: bytes, waiting: Deferred[None]) -> None:
            nonlocal at_once
            at_once -= 1
            got.append(piece)
            waiting.callback(None)

        client = net.client()
        assert net.run(client.get(name_of(server), PATH, consume=consume)) is None
        assert b"".join(got) == body
        assert len(got) > 10

    def test_it_may_take_them_at_once(self, net: Net) -> None:
        server = net.serve(answering(answer(b"x" * 100_000)))
        got: list[bytes] = []
        net.run(net.client().get(name_of(server), PATH, consume=got.append))
        assert b"".join(got) == b"x" * 100_000

    def test_it_does_not_get_an_error(self, net: Net) -> None:
        got: list[bytes] = []
        error = ask(net, answering(answer(b'{"errcode":"M_X"}', "404 Not Found")), consume=got.append)
        assert (error.errcode, got) == ("M_X", [])

    @pytest.mark.parametrize("later", [False, True])
    def test_what_it_raises_is_raised(self, net: Net, later: bool) -> None:
        server = net.serve(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000))

        def consume(_: bytes) -> Deferred[None]:
            if not later:
                raise LookupError("so")
            waiting: Deferred[None] = Deferred()
            net.reactor.callLater(0, waiting.errback, LookupError("so"))
            return waiting

        client = net.client()
        with pytest.raises(LookupError, match="so"):
            net.run(client.get(name_of(server), PATH, consume=consume))
        assert net.becomes(lambda: client.pool.open == 0)

    def test_its_time_is_bounded(self, net: Net) -> None:
        server = net.serve(answering(answer(b"x" * 100_000)))
        error = failure(net, net.client().get(name_of(server), PATH, consume=lambda _: Deferred(), timeout_s=0.5))
        assert error.kind is FailureKind.TIMEOUT


class TestKeptConnections:
    def test_a_connection_is_used_again(self, net: Net) -> None:
        server = net.serve(answering(FINE, answer(b"{}", "404 Not Found"), FINE))
        client = net.client()
        net.run(client.get(name_of(server), PATH))
        failure(net, client.get(name_of(server), PATH))
        net.run(client.put(name_of(server), PATH, {}))
        assert (server.connections, len(server.asked), client.opened) == (1, 3, 1)
        assert (client.pool.open, client.pool.idle) == (1, 1)
        assert client.outcomes == {"ok": 2, "http": 1}

    def test_one_that_the_other_side_closed_is_replaced(self, net: Net) -> None:
        def handle(peer: Peer) -> None:
            peer.read()
            peer.write(FINE)
            # What is sent now is lost.
            peer.read()

        server = net.serve(handle)
        client = net.client()
        for _ in range(3):
            assert net.run(client.put(name_of(server), PATH, {"b": 1})) == {"a": 1}
        assert {asked.body for asked in server.asked} == {b'{"b":1}'}
        assert net.reachability.errors == []

    def test_one_whose_server_says_close_is_not_kept(self, net: Net) -> None:
        server = net.serve(answering(answer(b'{"a":1}', Connection="close")))
        client = net.client()
        for _ in range(2):
            net.run(client.get(name_of(server), PATH))
            assert client.pool.idle == 0
        assert (server.connections, client.opened) == (2, 2)

    def test_what_nobody_asked_for_ends_it(self, net: Net) -> None:
        server = net.serve(answering(FINE + FINE, FINE))
        client = net.client()
        for _ in range(2):
            assert net.run(client.get(name_of(server), PATH)) == {"a": 1}

    def test_there_are_not_more_than_the_limit(self, net: Net) -> None:
        under_way, most = 0, 0

        def handle(peer: Peer) -> None:
            nonlocal under_way, most
            while peer.read() is not None:
                under_way += 1
                most = max(most, under_way)
                time.sleep(0.01)
                under_way -= 1
                peer.write(FINE)

        server = net.serve(handle)
        client = net.client(PoolLimits(per_destination=3))

        async def many() -> list[Any]:
            asked = [Deferred.fromCoroutine(client.get(name_of(server), PATH)) for _ in range(30)]
            return list(await gatherResults(asked))

        assert net.run(many()) == [{"a": 1}] * 30
        assert (server.connections, most) == (3, 3)

    def test_all_destinations_share_a_limit(self, net: Net) -> None:
        servers = [net.serve(answering(FINE)) for _ in range(4)]
        client = net.client(PoolLimits(connections=2))

        async def many() -> list[Any]:
            asked = [
                Deferred.fromCoroutine(client.get(name_of(server), PATH)) for _ in range(5) for server in servers
            ]
            return list(await gatherResults(asked))

        assert net.run(many()) == [{"a": 1}] * 20
        assert client.pool.open <= 2

    def test_who_waits_too_long_for_a_connection_does_not_blame_the_other_server(self, net: Net) -> None:
        server = net.serve(hang)
        client = net.client(PoolLimits(per_destination=1, waiting=1))

        async def three() -> list[RemoteError]:
            waits = (PATIENCE_S / 4, 0.3, 0.3)
            asked = [Deferred.fromCoroutine(client.get(name_of(server), PATH, timeout_s=wait)) for wait in waits]
            for each in asked:
                each.addErrback(lambda reason: reason.value)
            late = [await asked[1], await asked[2]]
            asked[0].cancel()
            return late

        assert [error.kind for error in net.run(three())] == [FailureKind.BUSY, FailureKind.BUSY]
        assert net.reachability.errors == []

    def test_stopping_closes_what_is_idle(self, net: Net) -> None:
        server = net.serve(answering(FINE))
        client = net.client()
        net.run(client.get(name_of(server), PATH))
        net.call(client.stop)
        assert net.becomes(lambda: client.pool.open == 0)
        net.run(client.get(name_of(server), PATH))
        assert net.becomes(lambda: client.pool.open == 0)


def test_what_prometheus_learns(net: Net) -> None:
    server = net.serve(answering(FINE, answer(b"{}", "404 Not Found")))
    client = net.client()
    net.run(client.get(name_of(server), PATH))
    failure(net, client.get(name_of(server), PATH))
    registry = CollectorRegistry()
    registry.register(FederationClientMetrics(client))
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }
    assert values == {
        ("matrixd_federation_requests_total", "ok"): 1,
        ("matrixd_federation_requests_total", "http"): 1,
        ("matrixd_federation_connections_opened_total",): 1,
        ("matrixd_federation_connections", "open"): 1,
        ("matrixd_federation_connections", "idle"): 1,
    }
