"""Files that delegate, good ones and others, and how long they are remembered."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.names import dns as names
from twisted.web.http_headers import Headers

from matrixd.net import well_known
from matrixd.net.http_connection import Answer
from matrixd.net.well_known import WellKnown, WellKnowns, lifetime_s
from tests.unit.net.loopback import Handler, Net, Peer, TlsServer, answer, answering, rules

FILE = "https://a.example/.well-known/matrix/server"
GOOD = b'{"m.server":"b.example:443"}'
HOUR = 3600


def serve(net: Net, handler: Handler) -> TlsServer:
    server = net.serve(handler, "a.example", "b.example")
    for name in ("a.example", "b.example"):
        net.moved[(name, 443)] = server.port
    return server


def fetch(net: Net, handler: Handler, **changes: Any) -> WellKnown:
    serve(net, handler)
    return net.run(net.well_knowns(**changes).of("A.example"))


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_delegation(net: Net, content_type: str) -> None:
    said = fetch(net, answering(answer(GOOD, Content_Type=content_type)))
    assert said == WellKnown("b.example:443", None, (FILE,), 24 * HOUR)


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (answer(b"{}", "404 Not Found"), "the answer has status 404"),
        (answer(GOOD, "500 Oh"), "the answer has status 500"),
        (answer(GOOD, "204 No Content"), "the answer has status 204"),
        (answer(b"nothing"), "the answer is not JSON"),
        (answer(b"[]"), "the answer has no 'm.server' that is a server name"),
        (answer(b'{"m.server":1}'), "the answer has no 'm.server' that is a server name"),
        (answer(b'{"m.server":"https://b.example"}'), "the answer has no 'm.server' that is a server name"),
        (answer(b'{"m.server":"b.example/x"}'), "the answer has no 'm.server' that is a server name"),
        (answer(GOOD + b" " * 60_000), "the answer is too large: it has 60028 bytes"),
        (b"garbage\r\n\r\n", "what came is not valid HTTP"),
        (answer(b"", "302 Found"), "the answer has status 302"),
    ],
)
def test_what_is_of_no_use(net: Net, reply: bytes, problem: str) -> None:
    said = fetch(net, answering(reply))
    assert (said.server, said.problem) == (None, problem)


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_redirects_are_followed(net: Net, status: str) -> None:
    def each_once(peer: Peer) -> None:
        asked = peer.read()
        assert asked is not None
        target = asked.line.split()[1]
        location = {"/.well-known/matrix/server": "https://b.example/x?y=1", "/x?y=1": "/z"}.get(target)
        peer.write(answer(b"", status, Location=location) if location else answer(GOOD))

    server = serve(net, each_once)
    said = net.run(net.well_knowns().of("a.example"))
    assert said.server == "b.example:443"
    assert said.urls == (FILE, "https://b.example/x?y=1", "https://b.example/z")
    assert [asked.headers["host"] for asked in server.asked] == ["a.example", "b.example", "b.example"]


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("/.well-known/matrix/server", "its redirects are a loop"),
        ("http://b.example/", "it redirects to what is not https"),
        ("ftp:x", "it redirects to what is not https"),
        ("https://user@b.example/", "it redirects to what is no URL with a host"),
        ("https://b.example:x/", "it redirects to what is no URL"),
        ("https://b.example:70000/", "it redirects to what is no URL"),
        ("https://b.example/a b", "it redirects to what is no URL"),
        ("https://b.example/" + "x" * 2000, "it redirects to what is no URL"),
        ("/\xff", "it redirects to what is no URL"),
        ("https://[::1", "it redirects to what is no URL"),
    ],
)
def test_redirects_to_nowhere(net: Net, location: str, problem: str) -> None:
    said = fetch(net, answering(answer(b"", "302 Found", Location=location)))
    assert (said.server, said.problem) == (None, problem)


def test_there_are_not_many_redirects(net: Net) -> None:
    number = 0

    def more(peer: Peer) -> None:
        nonlocal number
        peer.read()
        number += 1
        peer.write(answer(b"", "302 Found", Location=f"/{number}"))

    said = fetch(net, more)
    assert said.problem == "it has more than 5 redirects"
    assert number == 6


def test_a_redirect_does_not_lead_into_a_private_network(net: Net) -> None:
    net.names.add("inside.example", names.Record_A("127.0.0.2"))
    said = fetch(
        net, answering(answer(b"", "302 Found", Location="https://inside.example/")), addresses=rules("127.0.0.2/32")
    )
    assert said.problem == "connections to 127.0.0.2 are forbidden by ip_range_blacklist"


def test_its_certificate_is_verified(net: Net) -> None:
    server = net.serve(answering(answer(GOOD)), "other.example")
    net.moved[("a.example", 443)] = server.port
    said = net.run(net.well_knowns().of("a.example"))
    assert (said.server, server.asked) == (None, [])
    assert "not for a.example" in (said.problem or "")


def test_a_slow_server_is_not_waited_for(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(well_known, "TIMEOUT_S", 0.3)

    def hang(peer: Peer) -> None:
        while peer.read() is not None:
            pass

    said = fetch(net, hang)
    assert (said.server, said.problem, said.is_definite) == (None, "no answer in time", False)


class TestMemory:
    def world(self, net: Net, *replies: bytes) -> tuple[WellKnowns, list[int]]:
        """The well-known files, and the count of fetches in a list of one."""
        count = [0]

        def handle(peer: Peer) -> None:
            peer.read()
            count[0] += 1
            peer.write(replies[min(count[0], len(replies)) - 1])

        serve(net, handle)
        return net.well_knowns(), count

    @pytest.mark.parametrize(
        ("headers", "kept"),
        [
            ({}, 24 * HOUR),
            ({"Cache_Control": "public, max-age=7200"}, 2 * HOUR),
            ({"Cache_Control": "max-age=99999999"}, 48 * HOUR),
            ({"Cache_Control": "no-store"}, 300),
            ({"Cache_Control": "max-age=1"}, 300),
        ],
    )
    def test_a_delegation_is_kept_as_long_as_it_says(self, net: Net, headers: dict[str, str], kept: int) -> None:
        files, count = self.world(net, answer(GOOD, **headers))
        for advance, expected in ((0, 1), (kept - 1, 1), (2, 2)):
            net.clock.advance(advance)
            assert net.run(files.of("a.example")).server == "b.example:443"
            assert count == [expected]

    def test_failures_are_kept_longer_and_longer(self, net: Net) -> None:
        files, count = self.world(net, answer(b"{}", "404 Not Found"))
        for number, pause in enumerate((120, 240, 480, 960, 1920, 3600, 3600), start=1):
            assert net.run(files.of("a.example")).server is None
            net.clock.advance(pause - 1)
            assert net.run(files.of("a.example")).server is None
            assert count == [number]
            net.clock.advance(2)

    def test_a_refusal_may_say_how_long_it_is_good(self, net: Net) -> None:
        files, count = self.world(net, answer(b"{}", "404 Not Found", Cache_Control="max-age=1800"))
        for advance, expected in ((0, 1), (1799, 1), (2, 2)):
            net.clock.advance(advance)
            net.run(files.of("a.example"))
            assert count == [expected]

    def test_an_outage_of_the_web_server_moves_nothing_for_a_while(self, net: Net) -> None:
        files, count = self.world(net, answer(GOOD), answer(b"", "503 Oh"))
        for _ in range(2):
            assert net.run(files.of("a.example")).server == "b.example:443"
            net.clock.advance(25 * HOUR)
        assert count == [2]
        assert net.run(files.of("a.example")).server is None

    def test_who_takes_the_file_away_is_believed(self, net: Net) -> None:
        files, _ = self.world(net, answer(GOOD), answer(b"", "404 Not Found"))
        assert net.run(files.of("a.example")).server is not None
        net.clock.advance(25 * HOUR)
        assert net.run(files.of("a.example")).server is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], None),
        ([("Cache-Control", "private"), ("Cache-Control", 'max-age="60"')], 60),
        ([("Cache-Control", "s-maxage=5")], None),
        ([("Cache-Control", "MAX-AGE=5, NO-CACHE")], 0),
        ([("Expires", "Wed, 15 Nov 2023 00:00:00 GMT"), ("Date", "Tue, 14 Nov 2023 23:00:00 GMT")], 3600),
        ([("Expires", "Tue, 14 Nov 2023 22:13:30 GMT")], 10),
        ([("Expires", "0")], 0),
        ([("Expires", "Tue, 14 Nov 2000 00:00:00 GMT")], 0),
        ([("Expires", "Tue, 14 Nov 2000 00:00:00 GMT"), ("Cache-Control", "max-age=9")], 9),
    ],
)
def test_lifetimes(lines: list[tuple[str, str]], expected: int | None) -> None:
    headers = Headers()
    for name, value in lines:
        headers.addRawHeader(name, value)
    assert lifetime_s(Answer(200, headers, b""), 1_700_000_000) == expected
