"""Fields of other servers' answers: each has the type that the specification gives, or the answer is of no use."""

from collections.abc import Mapping
from typing import Any

from matrixd.net.errors import FailureKind, RemoteError


def objects(destination: str, answer: Any, name: str, most: int, *, required: bool = True) -> list[Mapping[str, Any]]:
    """A list of at most `most` objects, which may lack if it is not `required`. Raises RemoteError(BAD_ANSWER)."""
    found = _list(destination, answer, name, most, required=required)
    if not all(isinstance(item, dict) for item in found):
        raise bad_answer(destination, f"'{name}' must hold objects")
    return found


def strings(destination: str, answer: Any, name: str, most: int, *, required: bool = True) -> list[str]:
    """A list of at most `most` strings, which may lack if it is not `required`. Raises RemoteError(BAD_ANSWER)."""
    found = _list(destination, answer, name, most, required=required)
    if not all(isinstance(item, str) for item in found):
        raise bad_answer(destination, f"'{name}' must hold strings")
    return found


def mapping(destination: str, answer: Any, name: str) -> Mapping[str, Any]:
    """An object. Raises RemoteError(BAD_ANSWER)."""
    found = whole(destination, answer).get(name)
    if not isinstance(found, dict):
        raise bad_answer(destination, f"'{name}' must be an object")
    return found


def whole(destination: str, answer: Any) -> Mapping[str, Any]:
    """The answer, which must be an object. Raises RemoteError(BAD_ANSWER)."""
    if not isinstance(answer, dict):
        raise bad_answer(destination, "the answer must be an object")
    return answer


def bad_answer(destination: str, problem: str) -> RemoteError:
    """The error for an answer that has not the shape which the specification gives."""
    return RemoteError(destination, FailureKind.BAD_ANSWER, problem)


def _list(destination: str, answer: Any, name: str, most: int, *, required: bool) -> list[Any]:
    found = whole(destination, answer).get(name, None if required else [])
    if not isinstance(found, list):
        raise bad_answer(destination, f"'{name}' must be a list")
    if len(found) > most:
        raise bad_answer(destination, f"'{name}' has more than {most} entries")
    return found
