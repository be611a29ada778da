"""From a parsed request to its answer: route, token, rate limit, endpoint, errors."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from matrixd.core.errors import MatrixError, RuleViolation
from matrixd.http.kit.call import Answer, Call
from matrixd.http.kit.route import Auth, BadPath, Match, MethodNotAllowed, NoSuchPath, Route, Router
from matrixd.queries.authentication import Authenticator, Requester
from matrixd.storage.engines.base import Unavailable
from matrixd.util.clock import Clock
from matrixd.util.ratelimit import RateLimiter

logger = logging.getLogger(__name__)

#: What a user whose account is locked may still call (client-server API, "Account locking").
_LOCKED_ALLOWED = frozenset({"/_matrix/client/v3/logout", "/_matrix/client/v3/logout/all"})

_CORS = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Allow-Methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (b"Access-Control-Allow-Headers", b"X-Requested-With, Content-Type, Authorization"),
)


@dataclass(frozen=True, slots=True)
class Raw:
    """A request as it came off the wire."""

    method: bytes
    path: bytes
    arguments: Mapping[bytes, list[bytes]]
    authorization: bytes | None
    body: bytes
    client_ip: str
    user_agent: str
    on_disconnect: Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back: everything is ready to be written."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Dispatcher:
    """Answers requests. `limiters` has the limiter of each name that a route uses as `limit`."""

    def __init__(
        self,
        router: Router,
        authenticator: Authenticator,
        limiters: Mapping[str, RateLimiter],
        clock: Clock,
        seen: Callable[[Requester, str, str], None],
    ) -> None:
        self.router = router
        self._authenticator = authenticator
        self._limiters = limiters
        self._clock = clock
        self._seen = seen
        missing = {route.limit for route in router.routes if route.limit} - set(limiters)
        if missing:
            raise ValueError(f"no rate limiter for {sorted(missing)}")

    async def respond(self, raw: Raw) -> Response:
        """The answer to `raw`; never raises."""
        if raw.method == b"OPTIONS":
            return Response(204, _CORS, b"")
        try:
            match = self.router.find(b"GET" if raw.method == b"HEAD" else raw.method, raw.path)
            answer = await self._call(match, raw)
            response = _response(answer)
        except MatrixError as error:
            response = _error(error)
        except (NoSuchPath, BadPath):
            response = _error(MatrixError(404, "M_UNRECOGNIZED", "No endpoint has this path."))
        except MethodNotAllowed as error:
            allowed = b", ".join(error.allowed)
            sentence = f"This endpoint takes {allowed.decode()}, not {raw.method.decode('latin-1')}."
            response = _error(MatrixError(405, "M_UNRECOGNIZED", sentence), ((b"Allow", allowed),))
        except RuleViolation as error:
            response = _error(MatrixError(403, "M_FORBIDDEN", str(error)))
        except Unavailable as error:
            logger.error("%s %s: %s", raw.method.decode("latin-1"), raw.path.decode("latin-1"), error)
            sentence = "The server's database is not available at the moment. Try again."
            response = _error(MatrixError(503, "M_UNKNOWN", sentence), ((b"Retry-After", b"2"),))
        except Exception:
            logger.exception("%s %s failed", raw.method.decode("latin-1"), raw.path.decode("latin-1"))
            response = _error(MatrixError(500, "M_UNKNOWN", "The server failed to answer; its log says why."))
        return response

    async def _call(self, match: Match, raw: Raw) -> object:
        route = match.route
        if len(raw.body) > route.max_body:
            raise MatrixError(413, "M_TOO_LARGE", f"The body must not be larger than {route.max_body} bytes.")
        call = Call(
            route, match.parameters, raw.arguments, raw.body, raw.client_ip, raw.user_agent, raw.on_disconnect
        )
        if route.auth is not Auth.NONE:
            await self._authenticate(call, raw)
        if route.limit is not None:
            self._count(route, call)
        return await route.handler(call)

    async def _authenticate(self, call: Call, raw: Raw) -> None:
        token = _access_token(raw)
        auth = call.route.auth
        if token is None:
            if auth is Auth.OPTIONAL:
                return
            raise MatrixError(401, "M_MISSING_TOKEN", "An access token is needed: 'Authorization: Bearer …'.")
        requester = await self._authenticator.requester(token)
        if requester.is_locked and call.route.path not in _LOCKED_ALLOWED:
            raise MatrixError(401, "M_USER_LOCKED", "This account has been locked.", soft_logout=True)
        if requester.is_guest and auth is Auth.USER:
            raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests may not use this endpoint.")
        if not requester.is_admin and auth is Auth.ADMIN:
            raise MatrixError(403, "M_FORBIDDEN", "Only administrators of the server may use this endpoint.")
        call.authenticated(requester)
        self._seen(requester, raw.client_ip, raw.user_agent)

    def _count(self, route: Route, call: Call) -> None:
        assert route.limit is not None
        requester = call.maybe_requester
        key = requester.user_id if requester is not None else call.client_ip
        wait = self._limiters[route.limit].wait(key, self._clock.monotonic())
        if wait > 0:
            raise limit_exceeded(wait)


def limit_exceeded(wait_seconds: float) -> MatrixError:
    """M_LIMIT_EXCEEDED; the `Retry-After` header is made from its `retry_after_ms`."""
    return MatrixError(429, "M_LIMIT_EXCEEDED", "Too many requests.", retry_after_ms=int(wait_seconds * 1000) + 1)


def _access_token(raw: Raw) -> str | None:
    header = raw.authorization
    if header is not None:
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise MatrixError(401, "M_MISSING_TOKEN", "The Authorization header must be 'Bearer' and an access token.")
        return token.strip().decode("latin-1")
    values = raw.arguments.get(b"access_token")
    return values[0].decode("latin-1") if values else None


def _response(answer: object) -> Response:
    if not isinstance(answer, Answer):
        return Response(200, (*_CORS, (b"Content-Type", b"application/json")), _encode(answer))
    headers = (*_CORS, (b"Content-Type", answer.content_type), *answer.headers.items())
    return Response(answer.status, headers, _encode(answer.body))


def _encode(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, (dict, list)):
        return orjson.dumps(body, default=_to_builtins)
    return msgspec.json.encode(body)


def _to_builtins(value: object) -> Any:
    return msgspec.to_builtins(value)


def _error(error: MatrixError, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    body = error.body()
    retry_after = body.get("retry_after_ms")
    if isinstance(retry_after, int):
        headers = (*headers, (b"Retry-After", str(-(-retry_after // 1000)).encode()))
    return Response(error.status, (*_CORS, (b"Content-Type", b"application/json"), *headers), orjson.dumps(body))
