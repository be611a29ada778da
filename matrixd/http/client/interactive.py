"""User-interactive authentication as the endpoints that use it see it."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from matrixd.http.kit.call import Answer, Call
from matrixd.services.uia import AuthenticationNeeded

S = TypeVar("S")

#: The widest body of an endpoint whose body is stored in a session, in bytes.
MAX_BODY = 64 * 1024

#: The `auth` member of a body.
Auth = dict[str, Any] | None


def interactive(
    handler: Callable[[S, Call], Awaitable[object]],
) -> Callable[[S, Call], Awaitable[object]]:
    """An endpoint that answers 401, with the flows, while its user has not authenticated."""

    @wraps(handler)
    async def answer(self: S, call: Call) -> object:
        try:
            return await handler(self, call)
        except AuthenticationNeeded as needed:
            return Answer(401, dict(needed.body))

    return answer


def operation_of(call: Call) -> str:
    """The name under which a session belongs to an operation: method and path, the same for `r0` and `v3`."""
    return f"{call.route.method} {call.route.path.format(**call.parameters)}"
