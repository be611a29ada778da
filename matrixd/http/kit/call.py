"""One request as an endpoint sees it, and what it may answer with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import orjson

from matrixd.core.errors import MatrixError
from matrixd.http.kit.route import Route
from matrixd.queries.authentication import Requester

T = TypeVar("T")

#: Deeper bodies are refused, so that no recursion over them can run out of stack.
MAX_NESTING = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not plainly 200 with JSON.

    `body` is bytes as they are, or what serialises to JSON.
    """

    status: int = 200
    body: object = field(default_factory=dict)
    content_type: bytes = b"application/json"
    headers: Mapping[bytes, bytes] = field(default_factory=dict)


class Call:
    """One request: its path, query, body, and who makes it.

    `client_ip` is the client's address, seen through a trusted proxy where the listener says so.
    """

    __slots__ = ("_arguments", "_body", "_requester", "client_ip", "on_disconnect", "parameters", "route", "user_agent")

    def __init__(
        self,
        route: Route,
        parameters: dict[str, str],
        arguments: Mapping[bytes, list[bytes]],
        body: bytes,
        client_ip: str,
        user_agent: str,
        on_disconnect: Callable[[Callable[[], None]], None],
    ) -> None:
        self.route = route
        self.parameters = parameters
        self._arguments = arguments
        self._body = body
        self._requester: Requester | None = None
        self.client_ip = client_ip
        self.user_agent = user_agent
        #: Registers what to do when the client goes away before the answer is ready.
        self.on_disconnect = on_disconnect

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

    def path(self, name: str) -> str:
        """A decoded segment of the path."""
        return self.parameters[name]

    def query(self, name: str) -> str | None:
        """A query parameter, None if absent; given several times, the last counts."""
        values = self._arguments.get(name.encode())
        if not values:
            return None
        try:
            return values[-1].decode("utf-8")
        except UnicodeDecodeError:
            raise MatrixError(400, "M_INVALID_PARAM", f"Query parameter '{name}' is not UTF-8.") from None

    def query_all(self, name: str) -> list[str]:
        """Every value of a query parameter that may be given several times."""
        try:
            return [value.decode("utf-8") for value in self._arguments.get(name.encode(), [])]
        except UnicodeDecodeError:
            raise MatrixError(400, "M_INVALID_PARAM", f"Query parameter '{name}' is not UTF-8.") from None

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
        try:
            # int() would also read "1_000", " 7 " and other scripts' digits.
            value = int(text) if text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) < 20 else None
        except ValueError:
            value = None
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
        """The body decoded into a typed structure.

        Raises M_NOT_JSON for what is no JSON and M_BAD_JSON, naming the field, for JSON of another shape.
        """
        try:
            return msgspec.json.decode(self._body or b"{}", type=body_type)
        except msgspec.ValidationError as error:
            raise MatrixError(400, "M_BAD_JSON", _shape_error(str(error))) from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise _not_json(error) from None

    def json(self) -> Any:
        """The body as plain JSON values; an empty body is an empty object.

        Raises M_NOT_JSON, also for lone surrogates, NaN and nesting over `MAX_NESTING`.
        """
        try:
            value = orjson.loads(self._body or b"{}")
        except (orjson.JSONDecodeError, RecursionError) as error:
            raise _not_json(error) from None
        if self._body.count(b"{") + self._body.count(b"[") > MAX_NESTING and _nesting(value) > MAX_NESTING:
            raise MatrixError(400, "M_BAD_JSON", f"The body is nested more than {MAX_NESTING} levels deep.")
        return value

    def json_object(self) -> dict[str, Any]:
        """The body, which must be a JSON object."""
        value = self.json()
        if not isinstance(value, dict):
            raise MatrixError(400, "M_BAD_JSON", "The body must be a JSON object.")
        return value


def _not_json(error: Exception) -> MatrixError:
    return MatrixError(400, "M_NOT_JSON", f"The body is not valid JSON: {error}")


def _shape_error(message: str) -> str:
    """msgspec says "Expected `str`, got `int` - at `$.room.name`"."""
    what, separator, where = message.rpartition(" - at `$")
    if not separator:
        return f"The body has the wrong shape: {message}."
    field_name = where.rstrip("`").lstrip(".")
    return f"Field '{field_name}' of the body: {what}." if field_name else f"The body: {what}."


def _nesting(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            child
            for container in level
            if isinstance(container, (dict, list))
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, (dict, list))
        ]
    return depth
