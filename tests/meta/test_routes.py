"""Every route is an operation of the specification, or is named here with the reason why it is not."""

from __future__ import annotations

import ast
from dataclasses import dataclass

import pytest

from tests.meta.source import Module, dotted, modules
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
    ("PUT", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}"): "the trailing slash is optional (prose)",
    ("GET", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}"): "the trailing slash is optional (prose)",
    ("POST", "/_matrix/client/v3/rooms/{roomId}/send/{eventType}"): "older clients send without a transaction ID",
    **{
        (method, f"/_matrix/client/v3/pushrules/{path}"): "says what is wrong with the path of a push rule"
        for method in ("GET", "PUT", "DELETE")
        for path in ("{scope}", "{scope}/{kind}", "{scope}/{kind}/{ruleId}", "{scope}/{kind}/{ruleId}/{attr}")
    },
}


@dataclass(frozen=True)
class Declared:
    """A ``Route(…)`` in the source."""

    place: str
    method: str
    path: str


def declared(module: Module) -> list[Declared]:
    """The routes that a module declares; one whose method or path is no literal has None shown as '?'."""
    constants = {
        target.id: node.value.value
        for node in module.tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = []
    for node in ast.walk(module.tree):
        if not (isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "Route"):
            continue
        words = {word.arg: word.value for word in node.keywords}
        arguments = [*node.args, *(words[name] for name in ("method", "path") if name in words)]
        method = _text(arguments[0], constants)
        aliases = words.get("aliases", ast.Tuple([]))
        paths = [arguments[1], *(aliases.elts if isinstance(aliases, ast.Tuple) else [aliases])]
        found += [Declared(module.place(node), method, _text(path, constants)) for path in paths]
    return found


def _text(node: ast.expr, constants: dict[str, str]) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return constants.get(node.id, "?")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, constants) + _text(node.right, constants)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            _text(part.value if isinstance(part, ast.FormattedValue) else part, constants) for part in node.values
        )
    return "?"


def is_known(specification: Specification, route: Declared) -> bool:
    """Whether the data or the list above has the route."""
    if (route.method, route.path) in ALLOWED or route.path.startswith(OWN_PREFIXES):
        return True
    return any(op.path == route.path for op in specification.find(route.method, route.path))


def all_routes() -> list[Declared]:
    """Every route of the product."""
    return [route for module in modules() for route in declared(module)]


def test_routes_are_written_so_that_they_can_be_read() -> None:
    assert [route for route in all_routes() if "?" in route.method + route.path] == []


def test_every_route_is_in_the_specification(specification: Specification) -> None:
    unknown = [route for route in all_routes() if not is_known(specification, route)]
    assert unknown == []


@pytest.mark.parametrize(
    ("source", "known"),
    [
        ("Route('GET', '/_matrix/client/v3/sync', f, spec='x')", True),
        ("BASE = '/_matrix/client/v3'\nRoute('GET', f'{BASE}/sync', f, spec='x')", True),
        ("BASE = '/_matrix/client/v3'\nRoute(method='GET', path=BASE + '/sync', handler=f, spec='x')", True),
        ("Route('POST', '/_matrix/client/v3/sync', f, spec='x')", False),
        ("Route('GET', '/_matrix/client/v3/rooms/{room}/state', f, spec='x')", False),
        ("Route('GET', '/_matrix/client/v3/sync', f, spec='x', aliases=('/_matrix/client/v9/sync',))", False),
        ("Route('GET', path_of(x), f, spec='x')", False),
    ],
)
def test_routes_are_recognised(specification: Specification, source: str, known: bool) -> None:
    routes = declared(Module("matrixd/example.py", ast.parse(source)))
    assert all(is_known(specification, route) for route in routes) is known
