"""The steps from a server's name to where it is, with a real name server."""

from __future__ import annotations

import pytest
from twisted.names import dns as names

from matrixd.net.discovery import Discovery
from matrixd.net.errors import FailureKind
from matrixd.net.route import Outcome, Place, Route, Step, StepKind
from matrixd.net.well_known import WellKnown
from tests.unit.net.loopback import Net, Peer, answer, answering, failure

FED, OLD = "_matrix-fed._tcp.", "_matrix._tcp."


class Files:
    """Well-known files; `asked` has the hosts that were asked for one."""

    def __init__(self, delegates: dict[str, str]) -> None:
        self.delegates = delegates
        self.asked: list[str] = []
        self.doubted: list[str] = []

    async def of(self, host: str) -> WellKnown:
        self.asked.append(host)
        server = self.delegates.get(host)
        problem = None if server else "the answer has status 404"
        return WellKnown(server, problem, (f"https://{host}/.well-known/matrix/server",), 1)

    def doubt(self, host: str) -> None:
        self.doubted.append(host)


def discovery(net: Net, files: Files | None = None) -> Discovery:
    """With these well-known files."""
    return Discovery(net.dns(), files or Files({}), lambda: 0.0)


def find(net: Net, name: str, delegates: dict[str, str] | None = None) -> Route:
    return net.run(discovery(net, Files(delegates or {})).find(name))


def kinds(route: Route) -> list[tuple[StepKind, Outcome]]:
    return [(step.kind, step.outcome) for step in route.steps]


@pytest.mark.parametrize(
    ("name", "place", "tls_name"),
    [
        ("1.2.3.4", Place("1.2.3.4", 8448), "1.2.3.4"),
        ("1.2.3.4:443", Place("1.2.3.4", 443), "1.2.3.4"),
        ("[2001:db8::1]", Place("2001:db8::1", 8448), "2001:db8::1"),
        ("[2001:db8::1]:443", Place("2001:db8::1", 443), "2001:db8::1"),
        ("c.example:443", Place("c.example", 443), "c.example"),
    ],
)
def test_literals_and_ports_need_no_lookup(net: Net, name: str, place: Place, tls_name: str) -> None:
    files = Files({})
    route = net.run(discovery(net, files).find(name))
    assert (route.places, route.tls_name, route.host_header) == ([place], tls_name, name)
    kind = StepKind.PORT if name.startswith("c.") else StepKind.LITERAL
    assert route.steps == [Step(kind, name, Outcome.FOUND, f"{place.host} port {place.port}")]
    assert (files.asked, net.names.asked) == ([], [])


@pytest.mark.parametrize(
    ("delegated", "place", "header"),
    [
        ("1.2.3.4", Place("1.2.3.4", 8448), "1.2.3.4"),
        ("1.2.3.4:443", Place("1.2.3.4", 443), "1.2.3.4:443"),
        ("[::1]:443", Place("::1", 443), "[::1]:443"),
        ("d.example:443", Place("d.example", 443), "d.example:443"),
    ],
)
def test_a_delegation_to_a_literal_or_port(net: Net, delegated: str, place: Place, header: str) -> None:
    route = find(net, "c.example", {"c.example": delegated})
    assert (route.places, route.tls_name, route.host_header) == ([place], place.host, header)
    assert kinds(route)[0] == (StepKind.WELL_KNOWN, Outcome.FOUND)
    assert net.names.asked == []


def test_a_delegation_is_not_followed_further(net: Net) -> None:
    route = find(net, "c.example", {"c.example": "d.example", "d.example": "e.example:1"})
    assert route.places == [Place("d.example", 8448)]
    assert (route.tls_name, route.host_header) == ("d.example", "d.example")
    assert kinds(route) == [
        (StepKind.WELL_KNOWN, Outcome.FOUND),
        (StepKind.SRV, Outcome.NONE),
        (StepKind.SRV_DEPRECATED, Outcome.NONE),
        (StepKind.DEFAULT, Outcome.FOUND),
    ]


@pytest.mark.parametrize("delegated", [False, True])
def test_services_in_their_order(net: Net, delegated: bool) -> None:
    name = "d.example" if delegated else "c.example"
    delegates = {"c.example": "d.example"} if delegated else {}
    net.names.add(OLD + name, names.Record_SRV(0, 0, 1, "old.example"))
    route = find(net, "c.example", delegates)
    assert route.places == [Place("old.example", 1)]
    assert kinds(route)[1:] == [(StepKind.SRV, Outcome.NONE), (StepKind.SRV_DEPRECATED, Outcome.FOUND)]
    net.names.add(FED + name, names.Record_SRV(20, 0, 2, "b.example"), names.Record_SRV(10, 0, 3, "a.example"))
    route = find(net, "c.example", delegates)
    assert route.places == [Place("a.example", 3), Place("b.example", 2)]
    assert kinds(route)[1:] == [(StepKind.SRV, Outcome.FOUND)]
    # The certificate is for the name, and not for what the DNS says.
    assert (route.tls_name, route.host_header) == (name, name)


def test_without_anything_it_is_the_name_and_8448(net: Net) -> None:
    route = find(net, "c.example")
    assert (route.places, route.tls_name, route.host_header) == ([Place("c.example", 8448)], "c.example", "c.example")
    assert route.steps[0] == Step(
        StepKind.WELL_KNOWN, "https://c.example/.well-known/matrix/server", Outcome.FAILED, "the answer has status 404"
    )
    assert [name for name, _ in net.names.asked] == [FED + "c.example", OLD + "c.example"]


def test_a_name_server_that_fails_is_no_end(net: Net) -> None:
    net.names.broken = {FED + "c.example"}
    net.names.add(OLD + "c.example", names.Record_SRV(0, 0, 1, "old.example"))
    route = find(net, "c.example")
    assert route.places == [Place("old.example", 1)]
    assert kinds(route)[1] == (StepKind.SRV, Outcome.FAILED)


def test_a_domain_may_say_that_it_has_no_server(net: Net) -> None:
    net.names.add(FED + "c.example", names.Record_SRV(0, 0, 0, b""))
    net.names.add(OLD + "c.example", names.Record_SRV(0, 0, 1, "old.example"))
    steps: list[Step] = []
    error = failure(net, discovery(net).find("c.example", steps))
    assert error.kind is FailureKind.DNS
    assert "no server" in error.error
    assert steps[-1].outcome is Outcome.FAILED


@pytest.mark.parametrize("name", ["", "a b", "c.example:x", "[::1", "c.example/", "ü.example", "c.example:1:2"])
def test_what_is_no_server_name(net: Net, name: str) -> None:
    assert failure(net, discovery(net).find(name)).kind is FailureKind.DNS


@pytest.mark.parametrize("name", ["c.example:99999", "1.2.3.4:0", "a.example"])
def test_a_port_that_does_not_exist(net: Net, name: str) -> None:
    error = failure(net, discovery(net, Files({"a.example": "c.example:65536"})).find(name))
    assert error.kind is FailureKind.DNS
    assert "there is no port" in error.error


def test_a_way_that_led_nowhere_is_doubted(net: Net) -> None:
    files = Files({})
    finding = discovery(net, files)
    finding.doubt("c.example:8448")
    finding.doubt("no name")
    assert files.doubted == ["c.example"]


class TestThroughTheClient:
    def test_a_server_that_has_moved_is_found_again(self, net: Net) -> None:
        old, new = (net.serve(answering(answer(b'{"a":1}')), "b.example") for _ in range(2))
        files = [answer(f'{{"m.server":"b.example:{server.port}"}}'.encode()) for server in (old, new)]

        def each_once(peer: Peer) -> None:
            peer.read()
            peer.write(files.pop(0))

        net.moved[("a.example", 443)] = net.serve(each_once, "a.example").port
        client = net.client()
        old.stop()
        for _ in range(2):
            # What was fetched just now is not fetched again.
            assert failure(net, client.get("a.example", "/")).kind is FailureKind.CONNECT
        net.clock.advance(600)
        assert failure(net, client.get("a.example", "/")).kind is FailureKind.CONNECT
        assert net.run(client.get("a.example", "/")) == {"a": 1}
        assert len(new.asked) == 1

    def test_well_known_then_service_then_request(self, net: Net) -> None:
        web = net.serve(answering(answer(b'{"m.server":"b.example"}')), "a.example")
        matrix = net.serve(answering(answer(b'{"a":1}')), "b.example")
        net.moved[("a.example", 443)] = web.port
        net.names.add(FED + "b.example", names.Record_SRV(0, 0, matrix.port, "target.example"))
        assert net.run(net.client().get("a.example", "/")) == {"a": 1}
        assert web.asked[0].line == "GET /.well-known/matrix/server HTTP/1.1"
        assert (web.asked[0].headers["host"], matrix.asked[0].headers["host"]) == ("a.example", "b.example")
        assert matrix.server_names == ["b.example"]
        assert net.signed[0][0] == "a.example"

    def test_the_second_target_is_used_if_the_first_fails(self, net: Net) -> None:
        gone = net.serve(answering(b""), "a.example")
        gone.stop()
        wrong = net.serve(answering(answer(b"{}")), "other.example")
        right = net.serve(answering(answer(b'{"a":1}')), "a.example")
        for priority, server in enumerate((gone, wrong, right)):
            net.names.add(FED + "a.example", names.Record_SRV(priority, 0, server.port, "target.example"))
        net.moved[("a.example", 443)] = gone.port
        assert net.run(net.client().get("a.example", "/")) == {"a": 1}
        assert wrong.asked == []
