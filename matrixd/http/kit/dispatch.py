"""From a parsed request to its answer: route, token or signature, rate limit, endpoint, errors."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.http.kit import response
from matrixd.http.kit.call import Call, Register
from matrixd.http.kit.metrics import RequestMetrics
from matrixd.http.kit.percent import parse_query
from matrixd.http.kit.response import Response as Response  # part of this module's interface
from matrixd.http.kit.response import limit_exceeded as limit_exceeded
from matrixd.http.kit.route import Auth, BadPath, Match, MethodNotAllowed, NoSuchPath, Route, Router
from matrixd.queries.authentication import Authenticator, Requester
from matrixd.storage.engines.base import Unavailable
from matrixd.util.clock import Clock
from matrixd.util.ratelimit import RateLimiter
from matrixd.util.turnstile import TurnedAway, Turnstile

logger = logging.getLogger(__name__)

#: What a user whose account is locked may still call (client-server API, "Account locking").
_LOCKED_ALLOWED = frozenset({"/_matrix/client/v3/logout", "/_matrix/client/v3/logout/all"})

#: The body that a request to no endpoint may have: it is read, and not looked at.
_UNKNOWN_MAX_BODY = 64 * 1024

#: A server of which too many requests wait is told to come back after so many seconds.
_TURNED_AWAY_S = 1.0

_RETRY_AFTER = ((b"Retry-After", b"2"),)

#: So much of a path goes into a line of the log.
_SHOWN = 200


@dataclass(slots=True)
class Raw:
    """A request as it came off the wire."""

    method: bytes
    path: bytes
    arguments: Mapping[bytes, list[bytes]]
    authorization: bytes | None
    body: bytes
    client_ip: str
    user_agent: str
    on_disconnect: Register
    on_shutdown: Register = lambda callback: None
    #: The path with the query, as it was received: what another server has signed.
    uri: bytes = b""
    #: Every Authorization header; `authorization` is the last.
    authorizations: Sequence[bytes] = ()


class ServerAuthenticator(Protocol):
    """Finds out which server makes a request."""

    async def authenticate(self, method: str, uri: str, authorizations: Sequence[bytes], body: bytes) -> str:
        """The name of the server, by the signatures in the Authorization headers; MatrixError if there is no right one.

        `uri` is the path with the query. https://spec.matrix.org/v1.19/server-server-api/#request-authentication
        """


@dataclass(frozen=True, slots=True)
class Servers:
    """How requests of other servers are authenticated, and how many of one are worked on at once."""

    authenticator: ServerAuthenticator
    turnstile: Turnstile


class Dispatcher:
    """Answers requests. `limiters` has the limiter of each name that a route uses as `limit`.

    `seen(requester, client_ip, user_agent)` is told of each authenticated request. `servers` is needed if there are
    routes for other servers.
    """

    def __init__(
        self,
        router: Router,
        authenticator: Authenticator,
        limiters: Mapping[str, RateLimiter],
        clock: Clock,
        seen: Callable[[Requester, str, str], None],
        metrics: RequestMetrics | None = None,
        servers: Servers | None = None,
    ) -> None:
        self.router = router
        self._authenticator = authenticator
        self._limiters = limiters
        self._clock = clock
        self._seen = seen
        self._metrics = metrics
        self._servers = servers
        missing = {route.limit for route in router.routes if route.limit} - set(limiters)
        if missing:
            raise ValueError(f"no rate limiter for {sorted(missing)}")
        if servers is None and any(route.auth is Auth.SERVER for route in router.routes):
            raise ValueError("nothing authenticates other servers")

    def max_body(self, method: bytes, path: bytes) -> int:
        """How many bytes the body of a request may have, to be asked before it is read."""
        try:
            return self.router.find(method, path).route.max_body
        except (NoSuchPath, MethodNotAllowed, BadPath):
            return _UNKNOWN_MAX_BODY

    async def respond(self, raw: Raw) -> Response:
        """The answer to `raw`; never raises."""
        started = self._clock.monotonic()
        route = None
        try:
            match = self._find(raw)
            if match is None:
                answer = response.PREFLIGHT
            else:
                route = match.route
                answer = response.success(await self._call(match, raw))
        except MatrixError as error:
            answer = response.failure(error)
        except RuleViolation as error:
            answer = response.failure(response.of_rule(error))
        except MethodNotAllowed as error:
            answer = _wrong_method(raw, error)
        except Unavailable as error:
            logger.error("%s %s: %s", *_shown(raw), error)
            sentence = "The server's database is not available at the moment. Try again."
            answer = response.failure(MatrixError(503, "M_UNKNOWN", sentence), _RETRY_AFTER)
        except Exception:
            logger.exception("%s %s failed", *_shown(raw))
            answer = response.failure(MatrixError(500, "M_UNKNOWN", "The server failed to answer; its log says why."))
        if self._metrics is not None:
            self._metrics.observe(route, answer.status, self._clock.monotonic() - started)
        return answer

    def _find(self, raw: Raw) -> Match | None:
        """The request's route; None for OPTIONS, which every path has and no endpoint is asked about."""
        method = raw.method
        if method == b"OPTIONS":
            return None
        try:
            return self.router.find(b"GET" if method == b"HEAD" else method, raw.path)
        except NoSuchPath:
            raise MatrixError(404, "M_UNRECOGNIZED", "No endpoint has this path.") from None
        except BadPath as error:
            raise MatrixError(400, "M_INVALID_PARAM", str(error)) from None

    async def _call(self, match: Match, raw: Raw) -> object:
        route = match.route
        if len(raw.body) > route.max_body:
            raise response.too_large(route.max_body)
        arguments = raw.arguments
        if route.takes_form and raw.body:
            arguments = {**arguments, **parse_query(raw.body)}
        call = Call(
            route, match.parameters, arguments, raw.body, raw.client_ip, raw.user_agent,
            raw.on_disconnect, raw.on_shutdown,
        )  # fmt: skip
        if route.auth is Auth.SERVER:
            return await self._call_of_server(route, call, raw)
        if route.auth is not Auth.NONE:
            await self._authenticate(route, call, raw)
        if route.limit is not None:
            requester = call.maybe_requester
            self._count(route.limit, call.client_ip if requester is None else requester.user_id)
        return await route.handler(call)

    async def _call_of_server(self, route: Route, call: Call, raw: Raw) -> object:
        assert self._servers is not None
        # Twisted lets through only ASCII.
        method, uri = raw.method.decode("latin-1"), raw.uri.decode("latin-1")
        origin = await self._servers.authenticator.authenticate(method, uri, raw.authorizations, raw.body)
        call.of_server(origin)
        if route.limit is not None:
            self._count(route.limit, origin)
        turnstile = self._servers.turnstile
        try:
            await turnstile.enter(origin)
        except TurnedAway:
            raise limit_exceeded(_TURNED_AWAY_S) from None
        try:
            return await route.handler(call)
        finally:
            turnstile.leave(origin)

    async def _authenticate(self, route: Route, call: Call, raw: Raw) -> None:
        auth = route.auth
        token = _access_token(raw)
        if token is None:
            if auth is Auth.OPTIONAL:
                return
            raise MatrixError(401, "M_MISSING_TOKEN", "An access token is needed: 'Authorization: Bearer …'.")
        requester = await self._authenticator.requester(token)
        if requester.is_locked and route.path not in _LOCKED_ALLOWED:
            raise MatrixError(401, "M_USER_LOCKED", "This account has been locked.", soft_logout=True)
        if requester.is_guest and auth is Auth.USER:
            raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests may not use this endpoint.")
        if not requester.is_admin and auth is Auth.ADMIN:
            raise MatrixError(403, "M_FORBIDDEN", "Only administrators of the server may use this endpoint.")
        call.authenticated(requester)
        self._seen(requester, raw.client_ip, raw.user_agent)

    def _count(self, limit: str, key: str) -> None:
        wait = self._limiters[limit].wait(key, self._clock.monotonic())
        if wait > 0:
            raise limit_exceeded(wait)


def _access_token(raw: Raw) -> str | None:
    """The token of the header, else that of the deprecated query parameter (client-server API, "Using access tokens").

    A header of another scheme is a reverse proxy's own business.
    """
    header = raw.authorization
    if header is not None:
        scheme, _, token = header.partition(b" ")
        token = token.strip()
        if scheme.lower() == b"bearer" and token:
            return token.decode("latin-1")
    values = raw.arguments.get(b"access_token")
    return values[-1].decode("latin-1") if values and values[-1] else None


def _wrong_method(raw: Raw, error: MethodNotAllowed) -> Response:
    allowed = b", ".join(error.allowed)
    sentence = f"This endpoint takes {allowed.decode()}, not {_shown(raw)[0]}."
    return response.failure(MatrixError(405, "M_UNRECOGNIZED", sentence), ((b"Allow", allowed),))


def _shown(raw: Raw) -> tuple[str, str]:
    # The query stays out of the log: it may hold an access token.
    method, path = raw.method[:_SHOWN], raw.path[:_SHOWN]
    return method.decode("ascii", "backslashreplace"), path.decode("ascii", "backslashreplace")
