"""core/globs: every matcher says what the plain definition says, and none can be made slow."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.globs import compile_glob, compile_word_glob, contains_word

patterns = st.text(alphabet="ab*?.", max_size=7)
texts = st.text(alphabet="ab. \n", max_size=12)


def as_regex(pattern: str, question_mark: bool = True) -> str:
    one = "." if question_mark else r"\?"
    return "".join(".*" if c == "*" else one if c == "?" else re.escape(c) for c in pattern)


class TestGlob:
    @settings(max_examples=200)
    @given(patterns, texts)
    def test_equals_definition(self, pattern: str, text: str) -> None:
        assert compile_glob(pattern)(text) == bool(re.fullmatch(as_regex(pattern), text, re.DOTALL))

    @settings(max_examples=100)
    @given(patterns, st.text(alphabet="ab?", max_size=8))
    def test_question_mark_is_literal_in_filters(self, pattern: str, text: str) -> None:
        expected = bool(re.fullmatch(as_regex(pattern, False), text, re.DOTALL))
        assert compile_glob(pattern, question_mark=False)(text) == expected

    @pytest.mark.parametrize(
        ("pattern", "text", "matches"),
        [
            ("lunc?*", "Lunch plans".lower(), True),
            ("lunc?*", " lunch", False),
            ("lunc?*", "lunc", False),
            ("m.room.*", "m.room.member", True),
            ("m.room.*", "m-room-member", False),
            ("*", "", True),
            ("?", "", False),
            ("a*b*c", "a\nbc", True),
            ("a*b*c", "acb", False),
        ],
    )
    def test_examples(self, pattern: str, text: str, matches: bool) -> None:
        assert compile_glob(pattern)(text) is matches


class TestWordGlob:
    @settings(max_examples=200)
    @given(patterns, texts)
    def test_equals_definition(self, pattern: str, text: str) -> None:
        expression = rf"(?<![A-Za-z0-9_]){as_regex(pattern)}(?![A-Za-z0-9_])"
        assert compile_word_glob(pattern)(text) == bool(re.search(expression, text, re.DOTALL))

    @pytest.mark.parametrize(
        ("pattern", "text", "matches"),
        [
            ("ex*ple", "an example event.", True),
            ("ex*ple", "exple", True),
            ("ex*ple", "an exciting triple-whammy", True),
            ("ex*ple", "an example_event", False),
            ("cake", "a piece of cake", True),
            ("cake", "cakes, pancake cake!", True),
            ("cake", "pancake", False),
            ("@room", "hey @room", True),
            ("*", "", True),
            ("b?er", "root beer", True),
        ],
    )
    def test_examples(self, pattern: str, text: str, matches: bool) -> None:
        assert compile_word_glob(pattern)(text) is matches

    def test_contains_word(self) -> None:
        assert contains_word("zoë is here", "zoë")
        assert not contains_word("alice", "ali")


@pytest.mark.parametrize("compile_", [compile_glob, compile_word_glob])
def test_nobody_can_make_it_slow(compile_: object) -> None:
    """A backtracking matcher needs longer than the universe has for these."""
    assert callable(compile_)
    began = time.process_time()
    for pattern in ("*a" * 60 + "*b", "a" * 200, "?" * 200 + "b", ("a?" * 50 + "*") * 3 + "b"):
        assert not compile_(pattern)("a" * 20_000)
    assert time.process_time() - began < 2
