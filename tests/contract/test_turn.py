"""The check of TURN servers against Debian's coturn: a relay is made and taken back, and what is wrong is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from matrixd.net.check.calls import Calls
from matrixd.net.check.report import Notes, Result, Section, State
from matrixd.net.check.subject import TurnAccess
from matrixd.net.check.tools import Tools
from matrixd.net.stun import Endpoint
from matrixd.net.turn import Allocation, TurnUri
from matrixd.services.turn import Turn
from matrixd.util.clock import SystemClock
from tests.support.authority import Authority, Certificate
from tests.support.coturn import Coturn, CoturnMissing
from tests.support.server import free_port
from tests.unit.net.check.homeserver import Looking
from tests.unit.net.loopback import Net, Peer

StartCoturn = Callable[..., Coturn]


@pytest.fixture
def net(authority: Authority, tmp_path: Path) -> Iterator[Net]:
    made = Net(authority, tmp_path)
    yield made
    made.stop()


@pytest.fixture
def coturn() -> Iterator[StartCoturn]:
    """A function that starts TURN servers."""
    started: list[Coturn] = []

    def start(*options: str, **more: Any) -> Coturn:
        try:
            started.append(Coturn(*options, **more))
        except CoturnMissing as missing:
            pytest.fail(str(missing), pytrace=False)
        return started[-1]

    yield start
    for each in started:
        each.stop()


def access(secret: str, *uris: str) -> TurnAccess:
    """What the server hands out to its users."""
    found = Turn(SystemClock(), uris, secret, None, None, 600_000, False).credentials("@alice:test", False)
    return TurnAccess(found.uris, found.username, found.password)


def look(net: Net, given: TurnAccess) -> list[Result]:
    """What the check says of the URIs."""
    notes = Notes(Section.CALLS)
    tools: Tools = Looking(net, {}).tools()
    net.run(Calls(tools, given, notes).check())
    return [result for result in notes.results if result.check != "turns"]


def only(results: list[Result]) -> Result:
    (result,) = results
    return result


@pytest.mark.parametrize("uri", ["turn:127.0.0.1:{port}", "turn:localhost:{port}?transport=tcp"])
def test_a_relay_is_made_and_taken_back(net: Net, coturn: StartCoturn, uri: str) -> None:
    running = coturn()
    result = only(look(net, access(running.secret, uri.format(port=running.port))))
    # Loopback is private: it works, and it is said that nobody else can use it.
    assert (result.check, result.state) == ("turn", State.WARNING), result
    assert "It gives relays, such as 127.0.0.1:" in result.text


def test_over_tls(net: Net, coturn: StartCoturn) -> None:
    running = coturn(certificate=net.authority.issue("localhost"))
    result = only(look(net, access(running.secret, f"turns:localhost:{running.tls_port}?transport=tcp")))
    assert (result.check, result.state) == ("turn", State.WARNING), result
    assert "It gives relays" in result.text


@pytest.mark.parametrize(
    ("certificate", "says"),
    [
        (lambda authority: authority.issue("localhost", valid_days=-1), "has expired"),
        (lambda authority: authority.issue("other.example"), "not for localhost"),
        (lambda authority: Authority("Somebody").issue("localhost"), "issuer is not known"),
    ],
)
def test_certificates_that_clients_refuse(
    net: Net, coturn: StartCoturn, certificate: Callable[[Authority], Certificate], says: str
) -> None:
    running = coturn(certificate=certificate(net.authority))
    result = only(look(net, access(running.secret, f"turns:localhost:{running.tls_port}")))
    assert result.state is State.FAILURE
    assert says in result.text
    assert "`cert` and `pkey`" in (result.cure or "")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_another_secret(net: Net, coturn: StartCoturn, transport: str) -> None:
    running = coturn()
    given = access("another", f"turn:127.0.0.1:{running.port}?transport={transport}")
    result = only(look(net, given))
    assert result.state is State.FAILURE
    assert "401" in result.text
    assert "`turn_shared_secret`" in (result.cure or "")


def test_a_relay_for_anybody(net: Net, coturn: StartCoturn) -> None:
    running = coturn("--no-auth")
    result = only(look(net, access("any", f"turn:127.0.0.1:{running.port}")))
    assert result.state is State.FAILURE
    assert "to anybody" in result.text


def test_fixed_credentials(net: Net, coturn: StartCoturn) -> None:
    running = coturn("--lt-cred-mech", "--user", "bob:tomato")
    uri = f"turn:127.0.0.1:{running.port}"
    assert only(look(net, TurnAccess([uri], "bob", "tomato"))).state is State.WARNING
    assert only(look(net, TurnAccess([uri], "bob", "potato"))).state is State.FAILURE


def test_stun_alone(net: Net, coturn: StartCoturn) -> None:
    running = coturn()
    result = only(look(net, access("", f"stun:127.0.0.1:{running.port}")))
    assert (result.check, result.state) == ("stun", State.OK)
    assert "127.0.0.1:" in result.text


@pytest.mark.parametrize(
    "uri", ["turn:127.0.0.1:{port}", "turn:127.0.0.1:{port}?transport=tcp", "turns:localhost:{port}"]
)
def test_nobody_listens(net: Net, uri: str) -> None:
    result = only(look(net, access("any", uri.format(port=free_port()))))
    assert result.state is State.FAILURE
    assert "must run" in (result.cure or "")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("turn://turn.example", "without //"),
        ("turn:a.example?transport=sctp", "sctp"),
        ("turn:nowhere.example", "leads nowhere"),
    ],
)
def test_uris_of_no_use(net: Net, uri: str, says: str) -> None:
    result = only(look(net, access("any", uri)))
    assert result.state is State.FAILURE
    assert says in result.text


def test_something_else_on_the_port(net: Net) -> None:
    def handle(peer: Peer) -> None:
        peer.connection.recv(100)
        peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.connection.recv(100)

    server = net.serve(handle, "localhost")
    result = only(look(net, access("any", f"turns:localhost:{server.port}")))
    assert result.state is State.FAILURE
    assert "correct `turn_uris`" in (result.cure or "")


@pytest.mark.parametrize(
    ("relayed", "state", "says"),
    [
        ("8.8.4.4", State.OK, "takes it back"),
        ("10.0.0.5", State.FAILURE, "external-ip=8.8.8.8/10.0.0.5"),
        ("0.0.0.0", State.FAILURE, "external-ip"),
    ],
)
def test_the_relayed_address_must_be_one_that_others_reach(
    net: Net, relayed: str, state: State, says: str
) -> None:
    notes = Notes(Section.CALLS)
    made = Allocation(Endpoint(relayed, 50000), None, 600, None, True, True)
    uri = "turn:turn.example"
    Calls(Looking(net, {}).tools(), access("any", uri), notes).tell(uri, "8.8.8.8", made)
    result = only(notes.results)
    assert result.state is state
    assert says in result.text + (result.cure or "")


def test_the_parts_of_a_uri() -> None:
    assert TurnUri.parse("turn:a.example") == TurnUri("turn:a.example", True, False, "a.example", 3478, "udp")
    assert TurnUri.parse("turns:[::1]:443").port == 443
    assert TurnUri.parse("turns:a.example").transport == "tcp"
    assert not TurnUri.parse("stuns:a.example").is_relay
