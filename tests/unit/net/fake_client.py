"""A federation client that gives the answers of a test."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import pytest
from twisted.internet.defer import Deferred

from matrixd.core import canonical_json
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.federation_client import FederationClient

T = TypeVar("T")
THERE = "there.example"


@dataclass
class FakeClient:
    """Answers each request with the next of `answers`; an exception is raised."""

    answers: list[Any]
    #: Method, target, content.
    asked: list[tuple[str, str, Sequence[tuple[str, str]], Any]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    #: Bytes of the pieces that consumers get.
    piece: int = 10

    async def get(self, destination: str, path: str, query: Sequence[tuple[str, str]] = (), **options: Any) -> Any:
        return await self._answer("GET", destination, path, query, None, options)

    async def put(
        self, destination: str, path: str, content: Any, query: Sequence[tuple[str, str]] = (), **options: Any
    ) -> Any:
        return await self._answer("PUT", destination, path, query, content, options)

    async def post(
        self, destination: str, path: str, content: Any, query: Sequence[tuple[str, str]] = (), **options: Any
    ) -> Any:
        return await self._answer("POST", destination, path, query, content, options)

    async def _answer(
        self, method: str, destination: str, path: str, query: Any, content: Any, options: dict[str, Any]
    ) -> Any:
        assert destination == THERE
        self.asked.append((method, path, list(query), content))
        self.options.append(options)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        consume: Callable[[bytes], Deferred[None] | None] | None = options.get("consume")
        if consume is None:
            return answer
        data = answer if isinstance(answer, bytes) else canonical_json.encode(answer)
        for at in range(0, len(data), self.piece):
            waiting = consume(data[at : at + self.piece])
            if waiting is not None:
                await waiting
        return None


def client(*answers: Any) -> tuple[FakeClient, FederationClient]:
    """A client with these answers, as itself and as what the operations take."""
    made = FakeClient(list(answers))
    return made, cast(FederationClient, made)


def refusal(status: int, errcode: str | None = None) -> RemoteError:
    """An answer without success."""
    return RemoteError(THERE, FailureKind.HTTP, "no", status=status, errcode=errcode)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that does not wait."""
    got: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(got.append)
    (result,) = got
    if hasattr(result, "raiseException"):
        result.raiseException()
    return cast(T, result)


def problem(work: Coroutine[Any, Any, object]) -> str:
    """What is wrong with the answer, by the error with which the work ends."""
    with pytest.raises(RemoteError) as raised:
        run(work)
    assert (raised.value.kind, raised.value.destination) == (FailureKind.BAD_ANSWER, THERE)
    return raised.value.error
