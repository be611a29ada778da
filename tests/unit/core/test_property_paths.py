"""core/property_paths: the escapes of the appendices, and that a projection holds what was asked for and no more."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.core.property_paths import ABSENT, look_up, parse_path, project

names = st.text(alphabet="ab.\\x", max_size=4)


def written(path: list[str]) -> str:
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("content.body", ("content", "body")),
        (r"content.m\.relates_to", ("content", "m.relates_to")),
        (r"content.m\\foo", ("content", "m\\foo")),
        (r"content.\x", ("content", "\\x")),
        (r"a\\.b", ("a\\", "b")),
        ("a\\", ("a\\",)),
        ("", ("",)),
        ("a..b", ("a", "", "b")),
        ("é\n.b", ("é\n", "b")),
    ],
)
def test_parse(text: str, path: tuple[str, ...]) -> None:
    assert parse_path(text) == path


@settings(max_examples=200)
@given(st.lists(names, min_size=1, max_size=4))
def test_round_trip(path: list[str]) -> None:
    assert parse_path(written(path)) == tuple(path)


def test_look_up() -> None:
    event = {"content": {"a": None, "list": [{"b": 1}]}}
    assert look_up(event, ("content", "a")) is None
    assert look_up(event, ("content", "b")) is ABSENT
    assert look_up(event, ("content", "a", "b")) is ABSENT
    assert look_up(event, ("content", "list", "b")) is ABSENT
    assert look_up(event, ()) is event


class TestProject:
    EVENT = {"type": "t", "content": {"body": "b", "m.x": {"y": 1, "z": 2}, "n": None}, "sender": "@a:b"}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ([], {}),
            (["type"], {"type": "t"}),
            (["content.body", "sender"], {"sender": "@a:b", "content": {"body": "b"}}),
            (["content.m\\.x.y", "content.m\\.x.z"], {"content": {"m.x": {"y": 1, "z": 2}}}),
            (["content.m\\.x.y", "content.m\\.x"], {"content": {"m.x": {"y": 1, "z": 2}}}),
            (["content", "content.body"], {"content": EVENT["content"]}),
            (["content.n"], {"content": {"n": None}}),
            (["nothing", "content.nothing", "type.of"], {}),
        ],
    )
    def test_examples(self, fields: list[str], expected: object) -> None:
        before = copy.deepcopy(self.EVENT)
        assert project(self.EVENT, tuple(map(parse_path, fields))) == expected
        assert before == self.EVENT
