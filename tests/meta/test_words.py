"""Nothing in the tree depends on, or tells of, the machine that it was written on."""

from __future__ import annotations

import re

import pytest

from tests.meta.source import tracked_files
from tests.support.openapi_files import REPOSITORY

# Written in two halves, so that this file does not hold what it looks for.
FORBIDDEN = [
    re.compile(first + second)
    for first, second in [
        (r"(?<![\w.])/wo", r"rk/"),
        (r"(?<![\w.])/ro", r"ot/(?!\.?$)"),
        (r"(?<![\w.])/ho", r"me/(?!user\b|matrix)"),
        (r"py", r"pi\.org"),
        (r"python", r"hosted\.org"),
        (r"registry\.np", r"mjs\.org"),
        (r"proxy\.go", r"lang\.org"),
        (r"(?:extra-)?index", r"-url"),
        (r"deb\.deb", r"ian\.org"),
        (r"\bissues ", r"show\b"),
        (r"\bC", r"laude\b"),
        (r"\bA", r"nthropic\b"),
        (r"Co-Auth", r"ored-By"),
    ]
]
MAX_BYTES = 2_000_000


def complaints(text: str) -> list[str]:
    """The forbidden words in a text."""
    return [match[0] for pattern in FORBIDDEN for match in pattern.finditer(text)]


def test_no_file_tells_of_the_machine() -> None:
    found = []
    for file in tracked_files():
        if file.stat().st_size <= MAX_BYTES:
            words = complaints(file.read_text("utf-8", errors="replace"))
            found += [f"{file.relative_to(REPOSITORY)}: {word}" for word in words]
    assert found == []


@pytest.mark.parametrize("text", ["see /wo" + "rk/main/x", "https://py" + "pi.org/simple", "--index" + "-url x"])
def test_forbidden_words_are_found(text: str) -> None:
    assert complaints(text)


@pytest.mark.parametrize("text", ["from PyPI", "a network/home", "../shared/spec", "lib/work/x", "issues to show"])
def test_other_words_pass(text: str) -> None:
    assert complaints(text) == []
