"""Parsers of single values. Each takes a Value and returns what it means, or raises WrongValue with reason and cure.

Parsers compose: `each(integer(minimum=1))` reads a list of positive numbers. What a parser of text refuses is never
repeated in its message, because it may be a secret.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from matrixd.config.faults import Fault, WrongValue
from matrixd.config.yaml_tree import Value

T = TypeVar("T")
K = TypeVar("K", bound=str)
Parser = Callable[[Value], T]
IPNetwork = IPv4Network | IPv6Network

SECOND = 1000
_UNITS_MS = {
    "ms": 1,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 24 * 3600 * SECOND,
    "w": 7 * 24 * 3600 * SECOND,
    "y": 365 * 24 * 3600 * SECOND,
}
_UNITS_BYTES = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdwy])?", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])?(?:i?B)?", re.ASCII)


def wrong(value: Value, reason: str, cure: str, suffix: str = "") -> WrongValue:
    """The exception for one wrong value; `suffix` goes behind the option's name (`[0]`, `.key`)."""
    return WrongValue(Fault(value.place, suffix, reason, cure))


def text(value: Value) -> str:
    """Text that is not empty."""
    if not isinstance(value.data, str):
        raise wrong(value, f"is {value.kind}, not text.", "Put the value in quotes.")
    if not value.data:
        raise wrong(value, "is empty.", "Write a value, or remove the line.")
    return value.data


def text_or_empty(value: Value) -> str:
    """Text; the empty one counts as a value."""
    return "" if value.data == "" else text(value)


def boolean(value: Value) -> bool:
    """`true` or `false`."""
    if not isinstance(value.data, bool):
        raise wrong(value, f"is {value.kind}, not true or false.", "Write `true` or `false`, without quotes.")
    return value.data


def integer(minimum: int | None = None, maximum: int | None = None) -> Parser[int]:
    """A whole number between the two bounds, both allowed."""

    def parse(value: Value) -> int:
        if not isinstance(value.data, int) or isinstance(value.data, bool):
            raise wrong(
                value, f"is {value.kind}, not a whole number.", f"Write a whole number{_range(minimum, maximum)}."
            )
        _check_range(value, value.data, minimum, maximum)
        return value.data

    return parse


def number(minimum: float | None = None, maximum: float | None = None) -> Parser[float]:
    """A number, whole or not, between the two bounds, both allowed."""

    def parse(value: Value) -> float:
        if not isinstance(value.data, int | float) or isinstance(value.data, bool):
            raise wrong(value, f"is {value.kind}, not a number.", f"Write a number{_range(minimum, maximum)}.")
        _check_range(value, value.data, minimum, maximum)
        return float(value.data)

    return parse


def positive(value: Value) -> float:
    """A number above zero, whole or not."""
    given = number()(value)
    if not 0 < given < float("inf"):
        raise wrong(value, f"is {value.raw}.", "Write a number above 0.")
    return given


def duration_ms(minimum: int = 0) -> Parser[int]:
    """A time span: milliseconds as a number, or a number with ms, s, m, h, d, w or y. Gives milliseconds."""

    def parse(value: Value) -> int:
        matched = _DURATION.fullmatch(value.raw) if _is_word(value) else None
        if not matched:
            raise wrong(value, "is not a time span.", "Write for example `30s`, `5m`, `12h`, `7d`, or milliseconds.")
        span = round(float(matched[1]) * _UNITS_MS[matched[2] or "ms"])
        if span < minimum:
            raise wrong(value, f"is {value.raw}, which is too short.", f"Write at least `{minimum}` milliseconds.")
        return span

    return parse


def size_bytes(minimum: int = 0) -> Parser[int]:
    """A size: bytes as a number, or a number with K, M, G or T (powers of 1024). Gives bytes."""

    def parse(value: Value) -> int:
        matched = _SIZE.fullmatch(value.raw) if _is_word(value) else None
        if not matched:
            raise wrong(value, "is not a size.", "Write for example `512K`, `50M`, `2G`, or bytes.")
        size = round(float(matched[1]) * _UNITS_BYTES.get(matched[2], 1))
        if size < minimum:
            raise wrong(value, f"is {value.raw}, which is too small.", f"Write at least `{minimum}` bytes.")
        return size

    return parse


def choice(*words: K) -> Parser[K]:
    """One of the words, as written in the file: a bare `off` means the word."""

    def parse(value: Value) -> K:
        for word in words:
            if _is_word(value) and value.raw == word:
                return word
        given = f"`{value.raw}`" if _is_word(value) else value.kind
        raise wrong(value, f"is {given}.", f"Write one of: {', '.join(words)}.")

    return parse


def each(parse: Parser[T]) -> Parser[tuple[T, ...]]:
    """A list whose items `parse` reads; all wrong items are told together."""

    def parse_list(value: Value) -> tuple[T, ...]:
        if not isinstance(value.data, list):
            raise wrong(
                value, f"is {value.kind}, not a list.", "Write a list: `[first, second]`, or one `- item` a line."
            )
        return tuple(_collect([(f"[{at}]", item) for at, item in enumerate(value.data)], parse))

    return parse_list


def by_key(parse: Parser[T]) -> Parser[dict[str, T]]:
    """A section whose keys are free and whose values `parse` reads; all wrong values are told together."""

    def parse_section(value: Value) -> dict[str, T]:
        entries = section(value)
        return dict(zip(entries, _collect([(f".{key}", item) for key, item in entries.items()], parse)))

    return parse_section


def section(value: Value) -> dict[str, Value]:
    """A section: a mapping of names to values."""
    if not isinstance(value.data, dict):
        raise wrong(
            value, f"is {value.kind}, not a section.", "Write its options below it, each indented by two spaces."
        )
    return value.data


def anything(value: Value) -> Any:
    """Any YAML, as plain Python values."""
    return value.plain()


def path(value: Value) -> Path:
    """A path; a relative one counts from the directory of the file that it is written in."""
    written = Path(text(value)).expanduser()
    return (value.place.file.absolute().parent / written).resolve()


def ip_range(value: Value) -> IPNetwork:
    """An IP address or CIDR range."""
    try:
        return ip_network(text(value), strict=False)
    except ValueError:
        cure = "Write an address or a range such as `10.0.0.0/8` or `fd00::/8`."
        raise wrong(value, f"is `{value.raw}`, which is no IP range.", cure) from None


def http_url(value: Value) -> str:
    """An absolute http or https URL."""
    url = text(value)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise wrong(value, "is not an http(s) URL.", "Write for example `https://matrix.example.com/`.")
    return url


def regex(value: Value) -> str:
    """A regular expression that compiles."""
    try:
        re.compile(text(value))
    except re.error as error:
        raise wrong(value, f"is not a regular expression: {error}.", "Correct the expression.") from None
    return str(value.data)


def _collect(items: list[tuple[str, Value]], parse: Parser[T]) -> list[T]:
    parsed: list[T] = []
    faults: list[Fault] = []
    for suffix, item in items:
        try:
            parsed.append(parse(item))
        except WrongValue as error:
            faults += [Fault(fault.place, suffix + fault.option, fault.reason, fault.cure) for fault in error.faults]
    if faults:
        raise WrongValue(*faults)
    return parsed


def _is_word(value: Value) -> bool:
    return not isinstance(value.data, list | dict)


def _check_range(value: Value, given: float, minimum: float | None, maximum: float | None) -> None:
    if not (given >= (given if minimum is None else minimum) and given <= (given if maximum is None else maximum)):
        raise wrong(value, f"is {value.raw}.", f"Write a number{_range(minimum, maximum)}.")


def _range(minimum: float | None, maximum: float | None) -> str:
    match minimum, maximum:
        case None, None:
            return ""
        case _, None:
            return f" of at least {minimum}"
        case None, _:
            return f" of at most {maximum}"
        case _:
            return f" between {minimum} and {maximum}"
