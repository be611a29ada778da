"""Fields of other servers' answers: each has the type that the specification gives, or the answer is of no use."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from matrixd.net.errors import FailureKind, RemoteError

T = TypeVar("T")

_MAX_PROBLEM = 300


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


def text(destination: str, answer: Any, name: str, most: int, *, required: bool = True) -> str | None:
    """A string of at most `most` characters; None if it lacks and is not `required`. Raises RemoteError(BAD_ANSWER)."""
    found = whole(destination, answer).get(name)
    if found is None and not required:
        return None
    if not isinstance(found, str) or len(found) > most:
        raise bad_answer(destination, f"'{name}' must be a string of at most {most} characters")
    return found


def flag(destination: str, answer: Any, name: str) -> bool:
    """A boolean; false if it lacks. Raises RemoteError(BAD_ANSWER)."""
    found = whole(destination, answer).get(name, False)
    if not isinstance(found, bool):
        raise bad_answer(destination, f"'{name}' must be true or false")
    return found


def shaped(destination: str, answer: Any, shape: type[T]) -> T:
    """The answer as a structure of msgspec. Raises RemoteError(BAD_ANSWER) with the place of what does not fit."""
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError as error:
        raise bad_answer(destination, str(error)[:_MAX_PROBLEM]) from None


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
