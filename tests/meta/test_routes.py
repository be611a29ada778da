"""Every route that the master serves is an operation of the specification, and every operation is served.

Exceptions are named here with their reason, and in not_served.txt what is still to be built: that list only shrinks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet import reactor

from matrixd.config.generate import NewServer, generate
from matrixd.config.load import load
from matrixd.http.kit.route import Auth, Route
from matrixd.master.build import build
from tests.support.database import fresh
from tests.support.openapi import Specification

# Prefixes of our own and of Synapse's public admin API, which existing tools speak.
OWN_PREFIXES = ("/_synapse/", "/_matrixd/")
# (method, path) -> why it exists although the data does not have it.
ALLOWED = {
    ("GET", "/"): "the plain page that tells a visitor that the server runs",
    ("GET", "/health"): "asked by load balancers",
    ("GET", "/_matrix/static/client/login/"): "the login fallback page (prose)",
    ("GET", "/_matrix/static/client/login"): "the login fallback page, without the trailing slash",
    ("GET", "/_matrix/client/v3/auth/{authType}/fallback/web"): "the fallback page of a stage (prose)",
    ("POST", "/_matrix/client/v3/auth/{authType}/fallback/web"): "the form on the fallback page",
    ("GET", "/metrics"): "asked by Prometheus",
    ("GET", "/_matrix/client/unstable/org.matrixd.check/seen"): "`synctl check` asks it through reverse proxies",
    ("GET", "/_matrix/key/v2/server/{keyId}"): "older servers name a key",
    ("POST", "/_matrix/federation/v1/3pid/onbind"): "what identity servers send instead of PUT",
    ("PUT", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}"): "the trailing slash is optional (prose)",
    ("GET", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}"): "the trailing slash is optional (prose)",
    ("GET", "/_matrix/client/v3/pushrules"): "older clients leave the trailing slash out",
    ("GET", "/_matrix/client/v3/pushrules/global"): "older clients leave the trailing slash out",
    ("POST", "/_matrix/client/v3/rooms/{roomId}/send/{eventType}"): "older clients send without a transaction ID",
    **{
        (method, f"/_matrix/client/v3/pushrules/{path}"): "says what is wrong with the path of a push rule"
        for method in ("GET", "PUT", "DELETE")
        for path in ("{scope}", "{scope}/{kind}", "{scope}/{kind}/{ruleId}", "{scope}/{kind}/{ruleId}/{attr}")
    },
}
# The APIs that a homeserver serves; the others are those that it calls, or somebody else's.
SERVED_APIS = ("client-server", "server-server")
NOT_SERVED = Path(__file__).with_name("not_served.txt")


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Route]]:
    """The routes of a master as it is built, with the options as generated but for those that take routes away."""
    directory = tmp_path_factory.mktemp("master")
    generate(NewServer("test", directory / "homeserver.yaml", directory, directory))
    (directory / "more.yaml").write_text("login_via_existing_session:\n  enabled: true\n")
    place = fresh("sqlite3")
    master = build(load([directory / "homeserver.yaml", directory / "more.yaml"]), reactor, place.engine())
    yield [route for group in master.frame.routes.values() for route in group]
    master.database.stop()
    place.drop()


def is_known(specification: Specification, method: str, path: str) -> bool:
    """Whether the data or the list above has the route."""
    if (method, path) in ALLOWED or path.startswith(OWN_PREFIXES):
        return True
    return any(operation.path == path for operation in specification.find(method, path))


def test_every_route_is_in_the_specification(routes: list[Route], specification: Specification) -> None:
    assert len(routes) > 100
    unknown = [
        (route.method, path)
        for route in routes
        for path in (route.path, *route.aliases)
        if not is_known(specification, route.method, path)
    ]
    assert unknown == []


def test_every_operation_is_served(routes: list[Route], specification: Specification) -> None:
    served = {(route.method, path) for route in routes for path in route.paths()}
    missing = {
        f"{operation.method} {operation.path}"
        for operation in specification.operations
        if operation.api in SERVED_APIS and (operation.method, operation.path) not in served
    }
    listed = [line for line in NOT_SERVED.read_text().splitlines() if line]
    assert sorted(missing - set(listed)) == [], "not served any more, or new in the specification"
    assert sorted(set(listed) - missing) == [], "served now: take it out of not_served.txt"
    assert listed == sorted(set(listed))


def test_no_route_is_open_that_needs_a_token(routes: list[Route], specification: Specification) -> None:
    open_routes = [
        (route.method, path)
        for route in routes
        if route.auth in (Auth.NONE, Auth.OPTIONAL)
        for path in (route.path, *route.aliases)
        if any(operation.needs_token for operation in specification.find(route.method, path))
    ]
    assert open_routes == []


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("GET", "/_matrix/client/v3/sync", True),
        ("POST", "/_matrix/client/v3/sync", False),
        ("GET", "/_matrix/client/v3/rooms/{room}/state", False),
        ("GET", "/_matrix/client/v9/sync", False),
        ("GET", "/_synapse/admin/v1/register", True),
    ],
)
def test_routes_are_recognised(specification: Specification, method: str, path: str, known: bool) -> None:
    assert is_known(specification, method, path) is known
