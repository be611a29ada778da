"""Endpoints for other servers: what their authentication sees, whom they serve, and how many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from twisted.internet.defer import Deferred

from matrixd.core.errors import MatrixError
from matrixd.http.kit.call import Call
from matrixd.http.kit.dispatch import Dispatcher, Servers
from matrixd.http.kit.route import Auth, Route, Router
from matrixd.util.ratelimit import RateLimiter
from matrixd.util.turnstile import Turnstile
from tests.unit.http.kit.peer import Rate, ReactorClock, Tokens, World, request

PATH = "/_matrix/federation/v1/x"


@dataclass(frozen=True)
class Limits:
    window_size_ms: int = 1000
    sleep_limit: int = 100
    sleep_delay_ms: int = 500
    reject_limit: int = 1
    concurrent: int = 1


class Named:
    """Takes the name that stands in the header; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Sequence[bytes], bytes]] = []

    async def authenticate(self, method: str, uri: str, authorizations: Sequence[bytes], body: bytes) -> str:
        self.asked.append((method, uri, authorizations, body))
        if not authorizations:
            raise MatrixError(401, "M_UNAUTHORIZED", "The request must be signed.")
        return authorizations[-1].decode()


class ServerWorld(World):
    """A site with endpoints for servers."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Deferred[object]] = []
        self.named = Named()
        clock = ReactorClock(self.reactor)
        turnstile = Turnstile(Limits(), clock, self.reactor.callLater)
        self.site.dispatcher = Dispatcher(
            Router([
                Route("PUT", PATH, self.show, spec="x", auth=Auth.SERVER),
                Route("GET", f"{PATH}/few", self.show, spec="x", auth=Auth.SERVER, limit="few"),
                Route("GET", f"{PATH}/wait", self.wait, spec="x", auth=Auth.SERVER),
                Route("GET", f"{PATH}/fail", self.fail, spec="x", auth=Auth.SERVER),
                Route("GET", f"{PATH}/open", self.show, spec="x", auth=Auth.NONE),
            ]),
            Tokens(),  # type: ignore[arg-type]
            {"few": RateLimiter(Rate())},
            clock,
            lambda *seen: None,
            servers=Servers(self.named, turnstile),
        )  # fmt: skip

    async def show(self, call: Call) -> object:
        return {"origin": call.origin, "body": call.json()}

    async def wait(self, call: Call) -> object:
        done: Deferred[object] = Deferred()
        self.waiting.append(done)
        return await done

    async def fail(self, call: Call) -> object:
        raise RuntimeError("inside")


@pytest.fixture
def servers() -> ServerWorld:
    return ServerWorld()


def test_the_authentication_sees_the_request_as_it_came(servers: ServerWorld) -> None:
    head = f"PUT {PATH}?a=%41+b&&c=%ff HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n"
    lines = f"{head}Authorization: one\r\nAuthorization: two\r\n\r\n"
    answer = servers.peer().send(lines.encode() + b'{"a": 1 }').answer()
    assert answer.json == {"origin": "two", "body": {"a": 1}}
    assert servers.named.asked == [("PUT", f"{PATH}?a=%41+b&&c=%ff", [b"one", b"two"], b'{"a": 1 }')]


def test_a_whole_url_counts_as_its_path(servers: ServerWorld) -> None:
    assert servers.ask("PUT", f"https://test{PATH}?a=b", b"{}", Authorization="one").status == 200
    assert servers.named.asked[0][1] == f"{PATH}?a=b"


def test_who_is_refused(servers: ServerWorld) -> None:
    answer = servers.ask("PUT", PATH, b"{}")
    assert (answer.status, answer.errcode) == (401, "M_UNAUTHORIZED")
    # Twisted's own answer: what is signed is ASCII.
    assert servers.ask("PUT", f"{PATH}?a=\xff", b"{}", Authorization="one").status == 400
    assert len(servers.named.asked) == 1


def test_a_body_that_is_no_json_is_refused(servers: ServerWorld) -> None:
    assert servers.ask("PUT", PATH, b"{", Authorization="one").errcode == "M_NOT_JSON"


def test_only_routes_for_servers_have_an_origin(servers: ServerWorld) -> None:
    assert servers.ask("GET", f"{PATH}/open", Authorization="one").status == 500
    assert servers.named.asked == []


def test_limits_count_by_server(servers: ServerWorld) -> None:
    def ask(name: str) -> int:
        return servers.ask("GET", f"{PATH}/few", Authorization=name).status

    assert [ask("one") for _ in range(3)] == [200, 200, 429]
    assert ask("two") == 200


def test_few_requests_of_a_server_are_worked_on_at_once(servers: ServerWorld) -> None:
    waiting = request("GET", f"{PATH}/wait", Authorization="one")
    first, second = servers.peer().send(waiting), servers.peer().send(waiting)
    assert len(servers.waiting) == 1
    answer = servers.ask("PUT", PATH, b"{}", Authorization="one")
    assert (answer.status, answer.errcode, answer.headers["retry-after"]) == (429, "M_LIMIT_EXCEEDED", "2")
    assert servers.ask("PUT", PATH, b"{}", Authorization="two").status == 200
    servers.waiting[0].callback({})
    assert first.answer().status == 200
    servers.waiting[1].callback({})
    assert second.answer().status == 200


def test_a_failure_makes_room_for_the_next(servers: ServerWorld) -> None:
    for _ in range(3):
        assert servers.ask("GET", f"{PATH}/fail", Authorization="one").status == 500
    assert servers.ask("PUT", PATH, b"{}", Authorization="one").status == 200


def test_nothing_is_served_to_servers_that_nobody_authenticates(servers: ServerWorld) -> None:
    route = Route("GET", "/", servers.show, spec="x", auth=Auth.SERVER)
    clock = ReactorClock(servers.reactor)
    with pytest.raises(ValueError, match="authenticates"):
        Dispatcher(Router([route]), Tokens(), {}, clock, lambda *seen: None)  # type: ignore[arg-type]
