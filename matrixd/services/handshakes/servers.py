"""Asking one server after the other until one helps, and what a client is told when none did.

One server's answer never ends it: another may know more, or may be allowed to do more. What the client gets in the end
is the most telling of the answers.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import is_server_name
from matrixd.net.errors import FailureKind, RemoteError

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Servers that are asked for one request.
MAX_SERVERS = 20
#: Errors that are passed on, the most telling first. https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
_TELLING = (
    "M_INCOMPATIBLE_ROOM_VERSION", "M_FORBIDDEN", "M_UNABLE_TO_GRANT_JOIN", "M_UNABLE_TO_AUTHORISE_JOIN", "M_NOT_FOUND",
)
#: Errors that this server has made, and no client can do something about.
_ABOUT_OUR_REQUEST = ("M_MISSING_PARAM", "M_INVALID_PARAM", "M_BAD_JSON", "M_NOT_JSON", "M_UNRECOGNIZED")


class UselessAnswer(Exception):
    """A server answered what cannot be used."""

    def __init__(self, destination: str, sentence: str) -> None:
        super().__init__(destination, sentence)
        self.destination = destination
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.destination}: {self.sentence}"


Failure = RemoteError | UselessAnswer


def candidates(own_server: str, *groups: Iterable[str]) -> list[str]:
    """The servers of some groups, each once and in order, without our own and what is no server name."""
    found = dict.fromkeys(name for group in groups for name in group if is_server_name(name) and name != own_server)
    return list(found)[:MAX_SERVERS]


async def in_turn(servers: Sequence[str], what: str, attempt: Callable[[str], Awaitable[T]]) -> T:
    """What the first server gives that `attempt(server)` is successful with; `what` names it in the log.

    `attempt` raises RemoteError or UselessAnswer. Raises the MatrixError of `refusal`.
    """
    failures: list[Failure] = []
    for server in servers:
        try:
            return await attempt(server)
        except (RemoteError, UselessAnswer) as failure:
            logger.info("%s: %s", what, failure)
            failures.append(failure)
    raise refusal(failures)


def refusal(failures: Sequence[Failure]) -> MatrixError:
    """What a client is told when no server helped."""
    if not failures:
        return MatrixError(404, "M_NOT_FOUND", "No server is known that is in the room.")
    refused = [failure for failure in failures if isinstance(failure, RemoteError) and _is_telling(failure)]
    if not refused:
        return MatrixError(502, "M_UNKNOWN", f"No server that is in the room could help: {_said(failures[0])}")
    best = min(refused, key=_rank)
    extra = {}
    if best.errcode == "M_INCOMPATIBLE_ROOM_VERSION" and isinstance(best.body.get("room_version"), str):
        extra["room_version"] = best.body["room_version"]
    status = 404 if best.errcode == "M_NOT_FOUND" else 403 if best.errcode == "M_FORBIDDEN" else 400
    return MatrixError(status, best.errcode or "M_UNKNOWN", best.error, **extra)


def _is_telling(failure: RemoteError) -> bool:
    return failure.errcode in _TELLING or (
        # "The error should be passed through to clients so that they may give better feedback to users"
        failure.status == 400 and failure.errcode is not None and failure.errcode not in _ABOUT_OUR_REQUEST
    )


def _rank(failure: RemoteError) -> int:
    return _TELLING.index(failure.errcode) if failure.errcode in _TELLING else len(_TELLING)


def _said(failure: Failure) -> str:
    if isinstance(failure, RemoteError) and failure.kind is not FailureKind.HTTP:
        return f"{failure.destination} did not answer ({failure.kind.value})."
    return f"{failure.destination} answered: {failure.error if isinstance(failure, RemoteError) else failure.sentence}"
