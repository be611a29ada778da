"""A route declares all that is known of an endpoint; the router finds the route of a request."""

import enum
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from matrixd.http.kit import percent
from matrixd.http.kit.call import Call


class Auth(enum.Enum):
    """Who may call an endpoint."""

    NONE = "none"
    #: A token is looked at when there is one.
    OPTIONAL = "optional"
    #: A user's access token; guests are refused.
    USER = "user"
    #: A user's or a guest's access token.
    GUEST = "guest"
    #: The access token of a server administrator.
    ADMIN = "admin"
    #: Another server, by its signature on the request; `call.origin` is its name.
    SERVER = "server"


class RunsOn(enum.Enum):
    """Which processes can serve an endpoint."""

    MASTER = "master"
    #: Reads only: any worker that follows the streams.
    ANY = "any"


Handler = Callable[[Call], Awaitable[object]]

#: The widest body of an endpoint that takes JSON, in bytes.
MAX_JSON_BODY = 10 * 1024 * 1024

#: A segment of a path may be this long, decoded, in bytes: more than any identifier.
MAX_SEGMENT = 2048

#: The only parameters of a path that may be empty: "PUT /rooms/{roomId}/state/…" of the client-server API, and all the
#: push rules of a kind, which older clients ask for.
_MAY_BE_EMPTY = frozenset({"stateKey", "ruleId"})


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint.

    `path` is the specification's, with `{name}` for a segment. `spec` is the anchor of the operation in the
    specification. `limit` names the limiter that each call counts against, before the endpoint runs: the requester's
    or the server's own bucket where the route authenticates, the client address's otherwise. What has another key (a
    room, an account, failures only) or must not count repeated transactions is limited by the endpoint, with
    `limit_exceeded`.
    `aliases` are further paths with the same parameters. A `/_matrix/client/v3/` path is also served under `r0`.
    `max_body` is in bytes; a longer body is refused before it is read. `takes_form` adds the fields of an HTML form in
    the body to the query parameters.
    """

    method: str
    path: str
    handler: Handler
    spec: str
    auth: Auth = Auth.USER
    limit: str | None = None
    runs_on: RunsOn = RunsOn.MASTER
    aliases: tuple[str, ...] = ()
    max_body: int = MAX_JSON_BODY
    takes_form: bool = False

    def paths(self) -> list[str]:
        """Every path that the route answers."""
        found = [self.path, *self.aliases]
        for path in tuple(found):
            if path.startswith("/_matrix/client/v3/"):
                found.append("/_matrix/client/r0/" + path.removeprefix("/_matrix/client/v3/"))
        return found


class _Node:
    __slots__ = ("literal", "routes", "wildcard")

    def __init__(self) -> None:
        self.literal: dict[bytes, _Node] = {}
        self.wildcard: _Node | None = None
        self.routes: dict[bytes, tuple[Route, tuple[str, ...]]] = {}


@dataclass(frozen=True, slots=True)
class Match:
    """A route with the decoded segments of its path."""

    route: Route
    parameters: dict[str, str]


class NoSuchPath(Exception):
    """No endpoint has this path."""


class MethodNotAllowed(Exception):
    """The endpoint exists, but not with this method."""

    def __init__(self, allowed: Iterable[bytes]) -> None:
        super().__init__()
        self.allowed = sorted(allowed)


class BadPath(Exception):
    """A segment of the path cannot be read; `str(e)` is a sentence that names the parameter."""


class Router:
    """Finds the route of a method and a path in time proportional to the path's length."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = list(routes)
        self._root = _Node()
        #: The paths without parameters, found without walking.
        self._fixed: dict[bytes, _Node] = {}
        for route in self.routes:
            for path in route.paths():
                self._add(route, path)

    def _add(self, route: Route, path: str) -> None:
        node = self._root
        names = []
        for segment in path.split("/")[1:]:
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.wildcard = node.wildcard or _Node()
                node = node.wildcard
            else:
                node = node.literal.setdefault(segment.encode(), _Node())
        method = route.method.encode()
        if method in node.routes:
            raise ValueError(f"two routes for {route.method} {path}")
        node.routes[method] = (route, tuple(names))
        if not names:
            self._fixed[path.encode()] = node

    def find(self, method: bytes, path: bytes) -> Match:
        """The route of a request; raises `NoSuchPath`, `MethodNotAllowed` or `BadPath`."""
        values: list[bytes] = []
        node = self._fixed.get(path) or self._walk(self._root, _segments(path), 1, values)
        if node is None:
            raise NoSuchPath
        found = node.routes.get(method)
        if found is None:
            raise MethodNotAllowed(node.routes)
        route, names = found
        return Match(route, {name: _text(name, value) for name, value in zip(names, values, strict=True)})

    def _walk(self, node: _Node, segments: list[bytes], index: int, values: list[bytes]) -> _Node | None:
        if index == len(segments):
            return node if node.routes else None
        segment = segments[index]
        literal = node.literal.get(segment)
        if literal is not None:
            found = self._walk(literal, segments, index + 1, values)
            if found is not None:
                return found
        if node.wildcard is not None:
            values.append(segment)
            found = self._walk(node.wildcard, segments, index + 1, values)
            if found is not None:
                return found
            values.pop()
        return None


def _segments(path: bytes) -> list[bytes]:
    """The decoded segments: an encoded slash is part of its segment and parts nothing."""
    segments = path.split(b"/")
    if b"%" not in path:
        return segments
    try:
        return [percent.decode(segment) for segment in segments]
    except ValueError as error:
        raise BadPath(f"The path: {error}.") from None


def _text(name: str, value: bytes) -> str:
    if len(value) > MAX_SEGMENT:
        raise BadPath(f"'{name}' in the path is over {MAX_SEGMENT} bytes long.")
    if b"\0" in value:
        raise BadPath(f"'{name}' in the path has a NUL character.")
    if not value and name not in _MAY_BE_EMPTY:
        raise BadPath(f"'{name}' in the path is empty.")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise BadPath(f"'{name}' in the path is not UTF-8.") from None
