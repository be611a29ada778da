"""One request as an endpoint sees it, and what it may answer with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from matrixd.core.errors import MatrixError
from matrixd.http.kit import json_body
from matrixd.queries.authentication import Requester

T = TypeVar("T")

#: Registers what to do when something happens.
Register = Callable[[Callable[[], None]], None]

#: A query parameter may be this long, decoded, in bytes: a filter is the longest.
MAX_QUERY_VALUE = 8192


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not plainly 200 with JSON.

    `body` is bytes as they are, or what serialises to JSON.
    """

    status: int = 200
    body: object = field(default_factory=dict)
    content_type: bytes = b"application/json"
    headers: Mapping[bytes, bytes] = field(default_factory=dict)


class Endpoint(Protocol):
    """What a call knows of the route that it came by."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...


class Call:
    """One request: its path, query, body, and who makes it.

    `client_ip` is the client's address, seen through a trusted proxy where the listener says so.
    """

    __slots__ = (
        "_arguments",
        "_body",
        "_origin",
        "_requester",
        "client_ip",
        "on_disconnect",
        "on_shutdown",
        "parameters",
        "route",
        "user_agent",
    )

    def __init__(
        self,
        route: Endpoint,
        parameters: dict[str, str],
        arguments: Mapping[bytes, list[bytes]],
        body: bytes,
        client_ip: str,
        user_agent: str,
        on_disconnect: Register,
        on_shutdown: Register = lambda callback: None,
    ) -> None:
        self.route = route
        self.parameters = parameters
        self._arguments = arguments
        self._body = body
        self._requester: Requester | None = None
        self._origin: str | None = None
        self.client_ip = client_ip
        self.user_agent = user_agent
        #: Registers what to do when the client goes away before the answer is ready.
        self.on_disconnect = on_disconnect
        #: Registers what to do when the server stops: whatever waits for news must answer at once.
        self.on_shutdown = on_shutdown

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Register what ends a wait early: the client has gone, or the server stops."""
        self.on_disconnect(callback)
        self.on_shutdown(callback)

    @property
    def requester(self) -> Requester:
        """Who makes the request; only for routes that require authentication."""
        if self._requester is None:
            raise RuntimeError(f"{self.route.path} does not authenticate")
        return self._requester

    @property
    def maybe_requester(self) -> Requester | None:
        """Who makes the request, where a token is optional."""
        return self._requester

    def authenticated(self, requester: Requester) -> None:
        """Note who makes the request."""
        self._requester = requester

    @property
    def origin(self) -> str:
        """The name of the server that makes the request; only for routes with `Auth.SERVER`."""
        if self._origin is None:
            raise RuntimeError(f"{self.route.path} is not only for servers")
        return self._origin

    def of_server(self, origin: str) -> None:
        """Note which server makes the request."""
        self._origin = origin

    def path(self, name: str) -> str:
        """A decoded segment of the path."""
        return self.parameters[name]

    def query(self, name: str) -> str | None:
        """A query parameter, None if absent; given several times, the last counts. Raises M_INVALID_PARAM."""
        values = self._arguments.get(name.encode())
        return _text(name, values[-1]) if values else None

    def query_all(self, name: str) -> list[str]:
        """Every value of a query parameter that may be given several times. Raises M_INVALID_PARAM."""
        return [_text(name, value) for value in self._arguments.get(name.encode(), ())]

    def require_query(self, name: str) -> str:
        """A query parameter that must be there."""
        value = self.query(name)
        if value is None:
            raise MatrixError(400, "M_MISSING_PARAM", f"Query parameter '{name}' is missing.")
        return value

    def query_int(self, name: str, default: int, minimum: int = 0, maximum: int = 2**53 - 1) -> int:
        """An integer query parameter; below `minimum` is an error, above `maximum` counts as `maximum`."""
        text = self.query(name)
        if text is None:
            return default
        digits = text.removeprefix("-")
        # int() would also read "1_000", " 7 " and other scripts' digits.
        value = int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None
        if value is None or value < minimum:
            raise MatrixError(
                400, "M_INVALID_PARAM", f"Query parameter '{name}' must be an integer of at least {minimum}."
            )
        return min(value, maximum)

    def query_bool(self, name: str, default: bool = False) -> bool:
        """A boolean query parameter."""
        text = self.query(name)
        if text is None:
            return default
        if text not in ("true", "false"):
            raise MatrixError(400, "M_INVALID_PARAM", f"Query parameter '{name}' must be 'true' or 'false'.")
        return text == "true"

    def query_one_of(self, name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        """A query parameter with a fixed set of values; missing without a default is an error."""
        text = self.query(name)
        if text is None:
            if default is None:
                raise MatrixError(400, "M_MISSING_PARAM", f"Query parameter '{name}' is missing.")
            return default
        if text not in allowed:
            raise MatrixError(400, "M_INVALID_PARAM", f"Query parameter '{name}' must be one of {', '.join(allowed)}.")
        return text

    def body(self, body_type: type[T]) -> T:
        """The body decoded into a typed structure; an empty body is an empty object.

        Raises M_NOT_JSON for what is no JSON and M_BAD_JSON, naming the field, for JSON of another shape.
        """
        return json_body.decode_as(self._body, body_type)

    def json(self) -> Any:
        """The body as plain JSON values; an empty body is an empty object.

        Integers of any size are int, never float. Raises M_NOT_JSON, also for lone surrogates and NaN, and M_BAD_JSON
        for nesting over `json_body.MAX_NESTING`.
        """
        return json_body.decode(self._body)

    def json_object(self) -> dict[str, Any]:
        """The body, which must be a JSON object."""
        value = self.json()
        if not isinstance(value, dict):
            raise MatrixError(400, "M_BAD_JSON", "The body must be a JSON object.")
        return value


def _text(name: str, value: bytes) -> str:
    if len(value) > MAX_QUERY_VALUE:
        raise MatrixError(400, "M_INVALID_PARAM", f"Query parameter '{name}' is over {MAX_QUERY_VALUE} bytes long.")
    if b"\0" in value:
        raise MatrixError(400, "M_INVALID_PARAM", f"Query parameter '{name}' has a NUL character.")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise MatrixError(400, "M_INVALID_PARAM", f"Query parameter '{name}' is not UTF-8.") from None
