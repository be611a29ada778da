"""Paths and targets of requests."""

from __future__ import annotations

import pytest

from matrixd.net.paths import path_of, target_of


def test_segments_are_encoded_as_a_whole() -> None:
    assert path_of("/a/{}/b/{}", "!r:x", "ü/%?#") == "/a/%21r%3Ax/b/%C3%BC%2F%25%3F%23"


@pytest.mark.parametrize("segments", [(), ("a", "b"), ("",), (".",), ("..",)])
def test_what_would_be_another_path(segments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"/a/\{\}"):
        path_of("/a/{}", *segments)


def test_queries() -> None:
    assert target_of("/a", []) == "/a"
    assert target_of("/a", [("v", "1"), ("v", "a&b=c d+ü")]) == "/a?v=1&v=a%26b%3Dc%20d%2B%C3%BC"
