"""From request to answer: tokens, limits, methods, errors, and what reaches the log."""

from __future__ import annotations

import logging
from enum import Enum

import pytest

from matrixd.core.errors import EventTooLarge, MatrixError, NotCanonical, RuleViolation
from matrixd.http.kit import response
from matrixd.http.kit.call import Call
from matrixd.http.kit.dispatch import Dispatcher
from matrixd.http.kit.route import Auth, Route, Router
from matrixd.storage.engines.base import Unavailable
from tests.unit.http.kit.peer import Parsed, Peer, ReactorClock, Tokens, World, request

V3 = "/_matrix/client/v3"
WHOAMI = f"{V3}/account/whoami"


def _ask(world: World, target: str, authorization: str | None) -> Parsed:
    return world.ask("GET", target) if authorization is None else world.ask("GET", target, Authorization=authorization)


@pytest.mark.parametrize(
    ("target", "authorization", "user_id"),
    [
        (WHOAMI, "Bearer alice", "@alice:test"),
        (WHOAMI, "bearer   alice", "@alice:test"),
        (f"{WHOAMI}?access_token=alice", None, "@alice:test"),
        (f"{WHOAMI}?access_token=admin", "Bearer alice", "@alice:test"),
        (f"{WHOAMI}?access_token=alice", "Basic Zm9vOmJhcg==", "@alice:test"),
        (f"{V3}/optional", None, None),
        (f"{V3}/optional", "Basic Zm9vOmJhcg==", None),
        (f"{V3}/optional", "Bearer alice", "@alice:test"),
        (f"{V3}/guest", "Bearer guest", "@guest:test"),
        (f"{V3}/admin", "Bearer admin", "@admin:test"),
        ("/_matrix/client/r0/account/whoami", "Bearer alice", "@alice:test"),
    ],
)
def test_tokens_that_are_taken(world: World, target: str, authorization: str | None, user_id: str | None) -> None:
    answer = _ask(world, target, authorization)
    assert (answer.status, answer.json) == (200, {"user_id": user_id})


@pytest.mark.parametrize(
    ("target", "authorization", "status", "errcode"),
    [
        (WHOAMI, None, 401, "M_MISSING_TOKEN"),
        (WHOAMI, "", 401, "M_MISSING_TOKEN"),
        (WHOAMI, "Bearer", 401, "M_MISSING_TOKEN"),
        (WHOAMI, "Bearer  ", 401, "M_MISSING_TOKEN"),
        (WHOAMI, "alice", 401, "M_MISSING_TOKEN"),
        (WHOAMI, "Basic Zm9vOmJhcg==", 401, "M_MISSING_TOKEN"),
        (f"{WHOAMI}?access_token=", None, 401, "M_MISSING_TOKEN"),
        (WHOAMI, "Bearer nobody", 401, "M_UNKNOWN_TOKEN"),
        (WHOAMI, "Bearer al\xefce", 401, "M_UNKNOWN_TOKEN"),
        (f"{V3}/optional", "Bearer nobody", 401, "M_UNKNOWN_TOKEN"),
        (WHOAMI, "Bearer locked", 401, "M_USER_LOCKED"),
        (WHOAMI, "Bearer guest", 403, "M_GUEST_ACCESS_FORBIDDEN"),
        (f"{V3}/admin", "Bearer alice", 403, "M_FORBIDDEN"),
    ],
)
def test_tokens_that_are_refused(
    world: World, target: str, authorization: str | None, status: int, errcode: str
) -> None:
    answer = _ask(world, target, authorization)
    assert (answer.status, answer.errcode) == (status, errcode)
    assert answer.json.get("soft_logout") == {"M_USER_LOCKED": True, "M_UNKNOWN_TOKEN": False}.get(errcode)
    assert world.seen == []


def test_a_locked_user_may_log_out(world: World) -> None:
    assert world.ask("POST", f"{V3}/logout", Authorization="Bearer locked").status == 200


def test_who_was_seen_from_where(world: World) -> None:
    world.ask("GET", WHOAMI, Authorization="Bearer alice", User_Agent="Agent/1 \xff" + "x" * 600)
    ((user_id, ip, agent),) = world.seen
    assert (user_id, ip) == ("@alice:test", "192.0.2.1")
    assert agent.startswith("Agent/1 \N{REPLACEMENT CHARACTER}x")
    assert len(agent) == 500


def test_unknown_paths_and_methods(world: World) -> None:
    answer = world.ask("GET", f"{V3}/nothing")
    assert (answer.status, answer.errcode) == (404, "M_UNRECOGNIZED")
    assert answer.headers["access-control-allow-origin"] == "*"
    answer = world.ask("DELETE", f"{V3}/open")
    assert (answer.status, answer.errcode, answer.headers["allow"]) == (405, "M_UNRECOGNIZED", "GET")
    assert "DELETE" in answer.json["error"]
    assert world.ask("TRACE", f"{V3}/open").status == 405
    assert world.ask("get", f"{V3}/open").status == 405


def test_options_runs_nothing_and_needs_no_token(world: World) -> None:
    for target in (WHOAMI, f"{V3}/fail", "/nothing", "*"):
        answer = world.ask("OPTIONS", target)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "*"


def test_limits_count_by_user_and_by_address(world: World) -> None:
    alice = "Bearer alice"
    statuses = [_ask(world, f"{V3}/limited", alice).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    answer = _ask(world, f"{V3}/limited", alice)
    assert (answer.errcode, answer.json["retry_after_ms"], answer.headers["retry-after"]) == (
        "M_LIMIT_EXCEEDED",
        2001,
        "3",
    )
    assert world.ask("GET", f"{V3}/limited", Authorization="Bearer admin").status == 200
    assert world.ask("GET", f"{V3}/limited_open").status == 200
    world.reactor.advance(2.1)
    assert _ask(world, f"{V3}/limited", alice).status == 200


def test_a_route_with_an_unknown_limit_is_found_at_the_start(world: World) -> None:
    route = Route("GET", "/", world.endpoints.echo, spec="x", limit="unheard")
    with pytest.raises(ValueError, match="unheard"):
        Dispatcher(Router([route]), Tokens(), {}, ReactorClock(world.reactor), lambda *seen: None)  # type: ignore[arg-type]


def test_a_failure_tells_the_log_and_not_the_client(world: World, caplog: pytest.LogCaptureFixture) -> None:
    answer = world.ask("GET", f"{V3}/fail?access_token=hunter2&x=%ff")
    assert (answer.status, answer.errcode) == (500, "M_UNKNOWN")
    assert "secret" not in answer.json["error"]
    assert "the secret inside" in caplog.text
    assert f"GET {V3}/fail failed" in caplog.text
    assert "hunter2" not in caplog.text


class _Rule(Enum):
    ANY = "any"


@pytest.mark.parametrize(
    ("raised", "status", "errcode"),
    [
        (MatrixError(418, "M_OWN", "Own.", more=1), 418, "M_OWN"),
        (RuleViolation(_Rule.ANY, "You may not."), 403, "M_FORBIDDEN"),
        (EventTooLarge("The event is too large."), 413, "M_TOO_LARGE"),
        (NotCanonical("content.x is a float"), 400, "M_BAD_JSON"),
        (Unavailable("locked"), 503, "M_UNKNOWN"),
    ],
)
def test_errors_of_endpoints(
    world: World, raised: Exception, status: int, errcode: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(call: Call) -> object:
        raise raised

    caplog.set_level(logging.INFO)
    route = Route("GET", "/x", handler, spec="x", auth=Auth.NONE)
    world.site.dispatcher = Dispatcher(
        Router([route]),
        Tokens(),  # type: ignore[arg-type]
        {},
        ReactorClock(world.reactor),
        lambda *seen: None,
    )
    answer = world.ask("GET", "/x")
    assert (answer.status, answer.errcode) == (status, errcode)
    assert bool(caplog.records) == (status == 503)
    assert ("retry-after" in answer.headers) == (status == 503)


def test_answers_of_all_kinds(world: World) -> None:
    answer = world.ask("GET", f"{V3}/page")
    assert (answer.body, answer.headers["content-type"], answer.headers["x-own"]) == (b"<p>", "text/html", "1")
    assert answer.headers["access-control-allow-origin"] == "*"


def test_nobody_can_put_headers_into_an_answer(world: World) -> None:
    assert world.ask("GET", f"{V3}/injected?to=/a").headers["location"] == "/a"
    answer = world.ask("GET", f"{V3}/injected?to=/a%0d%0aSet-Cookie:%20x")
    assert answer.status == 500
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (f"{V3}/open?q=%zz", "'q'"),
        (f"{V3}/open?q=%e", "'q'"),
        (f"{V3}/open?q=%ff", "'q'"),
        (f"{V3}/open?q=a%00b", "'q'"),
        (f"{V3}/open?q=" + "x" * 8193, "'q'"),
        (f"{V3}/open?%=1", "'%'"),
        (f"{V3}/open?" + "q=1&" * 256, "256"),
        (f"{V3}/rooms/!a%zz/state/t/k", "hexadecimal"),
        (f"{V3}/rooms/!a%ff/state/t/k", "'roomId'"),
        (f"{V3}/rooms/!a%00/state/t/k", "'roomId'"),
        (f"{V3}/rooms/" + "x" * 2049 + "/state/t/k", "'roomId'"),
        (f"{V3}/rooms//state/t/k", "'roomId'"),
    ],
)
def test_paths_and_queries_that_cannot_be_read(world: World, target: str, names: str) -> None:
    answer = world.ask("GET", target)
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")
    assert names in answer.json["error"]


def test_paths_and_queries_that_can(world: World) -> None:
    answer = world.ask("GET", f"{V3}/rooms/%21a%3Atest/state/m.x%2Fy/%C3%A9?q=1&q=a+b%2Bc&&empty")
    assert answer.json["path"] == {"roomId": "!a:test", "type": "m.x/y", "stateKey": "é"}
    assert answer.json["q"] == ["1", "a b+c"]
    assert world.ask("GET", f"{V3}/rooms/!a/state/m.room.name/").json["path"]["stateKey"] == ""
    assert world.ask("GET", f"{V3}/rooms/!a/state/m.room.name").status == 404
    assert world.ask("GET", f"{V3}/open/").status == 404
    assert world.ask("GET", "/_matrix/client/v3/%6fpen").status == 200
    assert world.ask("PUT", f"{V3}/rooms/!a/send/m.x/").status == 400


def test_forms_are_read_where_a_route_says_so(world: World) -> None:
    assert world.ask("POST", f"{V3}/form", b"token=a+b%21").json == {"token": "a b!"}
    assert world.ask("POST", f"{V3}/echo", b"token=1").errcode == "M_NOT_JSON"


def test_a_missing_or_wrong_content_type_does_not_matter(world: World) -> None:
    assert world.ask("POST", f"{V3}/echo", b"{}").status == 200
    assert world.ask("POST", f"{V3}/echo", b"{}", Content_Type="text/plain").status == 200


def test_metrics_count_what_was_answered(world: World) -> None:
    for target in ("/nothing", f"{V3}/open", f"{V3}/open", f"{V3}/fail"):
        world.ask("GET", target)
    peer: Peer = world.peer().send(request("GET", f"{V3}/wait"))
    world.reactor.advance(0.3)
    world.endpoints.waiting[0].callback({})
    assert peer.answer().status == 200
    requests, seconds = world.metrics.collect()
    assert {(s.labels["route"], s.labels["status"]): s.value for s in requests.samples} == {
        ("none", "4xx"): 1,
        (f"{V3}/open", "2xx"): 2,
        (f"{V3}/fail", "5xx"): 1,
        (f"{V3}/wait", "2xx"): 1,
    }
    waits = {
        sample.labels.get("le", sample.name): sample.value
        for sample in seconds.samples
        if sample.labels["route"] == f"{V3}/wait"
    }
    assert (waits["0.25"], waits["0.5"], waits["+Inf"]) == (0, 1, 1)
    assert waits["matrixd_http_request_seconds_sum"] == pytest.approx(0.3)


def test_the_headers_of_an_error_and_of_a_plain_answer_are_shared() -> None:
    assert response.success({}).headers is response.JSON
    assert response.failure(MatrixError(400, "M_X", "x")).headers is response.JSON
