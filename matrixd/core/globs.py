"""Glob-style matching: `*` matches any number of characters, `?` exactly one.

https://spec.matrix.org/v1.19/appendices/#glob-style-matching

Patterns come from users and meet texts of other users, so matching takes time proportional to the text's length (times
the pattern's): each `*` gives way to the first occurrence of what follows it and is never tried again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

Matcher = Callable[[str], bool]

# "a word boundary is the start or end of the value, or any character not in [A-Za-z0-9_]" (push rules, event_match)
_WORD: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_NOT_AFTER_WORD: Final = "(?<![A-Za-z0-9_])"
_NOT_BEFORE_WORD: Final = "(?![A-Za-z0-9_])"


def compile_glob(pattern: str, *, question_mark: bool = True) -> Matcher:
    """A function that says whether a whole text matches, case-sensitively.

    With `question_mark=False` only `*` is special: filters know no `?`.
    """
    stars = pattern.count("*")
    if not (question_mark and "?" in pattern):
        if stars == 0:
            return pattern.__eq__
        return _star_matcher(*pattern.split("*"))
    if stars:
        first, *middle, last = _pieces(pattern)
        expression = first + "".join(f"(?>.*?{piece})" for piece in middle) + ".*" + last
    else:
        expression = _piece(pattern)
    full_match = re.compile(expression, re.DOTALL).fullmatch
    return lambda text: full_match(text) is not None


def _star_matcher(first: str, *pieces: str) -> Matcher:
    """What stands between the stars, as a matcher.

    Without a regular expression, whose compilation takes thirty times as long: a server ACL may have thousands.
    """
    *middle, last = pieces

    def matches(text: str) -> bool:
        start, end = len(first), len(text) - len(last)
        if start > end or not text.startswith(first) or not text.endswith(last):
            return False
        for piece in middle:
            place = text.find(piece, start, end)
            if place < 0:
                return False
            start = place + len(piece)
        return True

    return matches


def compile_word_glob(pattern: str) -> Matcher:
    """A function that says whether any part of a text that starts and ends at a word boundary matches.

    https://spec.matrix.org/v1.19/client-server-api/#conditions-1 (`event_match` of `content.body`)
    """
    if "*" not in pattern and "?" not in pattern:
        return lambda text: contains_word(text, pattern)
    first, *rest = _pieces(pattern)
    if rest:
        *middle, last = rest
        # If the first place where the beginning fits does not lead to a match, no later one does: the star that
        # follows could have swallowed the text between.
        expression = f"(?>.*?{_NOT_AFTER_WORD}{first})" + "".join(f"(?>.*?{piece})" for piece in middle)
        expression += f".*?{last}{_NOT_BEFORE_WORD}"
    else:
        expression = f".*?{_NOT_AFTER_WORD}{first}{_NOT_BEFORE_WORD}"
    match = re.compile(expression, re.DOTALL).match
    return lambda text: match(text) is not None


def contains_word(text: str, word: str) -> bool:
    """Whether `word` occurs in `text` between word boundaries, case-sensitively."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if (start == 0 or text[start - 1] not in _WORD) and (end == len(text) or text[end] not in _WORD):
            return True
        start = text.find(word, start + 1)
    return False


def _pieces(pattern: str) -> list[str]:
    """The regular expressions of what stands between the stars; empty ones only at the ends."""
    return [_piece(piece) for piece in re.split(r"\*+", pattern)]


def _piece(text: str) -> str:
    return re.escape(text).replace(r"\?", ".")
