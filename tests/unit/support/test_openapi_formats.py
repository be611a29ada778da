"""The specification's string formats."""

from __future__ import annotations

import pytest

from tests.support.openapi_formats import conforms


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mx-user-id", "@alice:example.org"),
        ("mx-user-id", "@Ünicode name:example.org:8448"),
        ("mx-room-id", "!abc:example.org"),
        ("mx-room-id", "!abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"),
        ("mx-room-alias", "#room:[::1]:8448"),
        ("mx-event-id", "$abc"),
        ("mx-event-id", "$abc:example.org"),
        ("mx-server-name", "1.2.3.4:1"),
        ("mx-server-name", "[1234:5678::abcd]"),
        ("mx-mxc-uri", "mxc://example.org/abc-_1"),
        ("mx-unpadded-base64", "ab+/"),
        ("mx-urlsafe-unpadded-base64", "ab-_"),
        ("uri", "https://example.org/a?b#c"),
        ("uri", "mailto:a@example.org"),
        ("email", "a@example.org"),
        ("int64", 2**63 - 1),
        ("unheard-of", "anything"),
        ("mx-user-id", 7),
    ],
)
def test_values_of_the_format(name: str, value: object) -> None:
    assert conforms(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mx-user-id", "alice:example.org"),
        ("mx-user-id", "@alice"),
        ("mx-user-id", "@al\0ice:example.org"),
        ("mx-user-id", "@" + "a" * 250 + ":example.org"),
        ("mx-room-id", "!"),
        ("mx-room-alias", "#room"),
        ("mx-event-id", "$"),
        ("mx-server-name", "exa mple.org"),
        ("mx-server-name", "example.org:port"),
        ("mx-server-name", "[::1"),
        ("mx-server-name", ""),
        ("mx-mxc-uri", "mxc://example.org"),
        ("mx-mxc-uri", "https://example.org/abc"),
        ("mx-unpadded-base64", "ab=="),
        ("mx-urlsafe-unpadded-base64", "ab+/"),
        ("uri", "no scheme"),
        ("email", "a.example.org"),
        ("int64", 2**63),
    ],
)
def test_values_not_of_the_format(name: str, value: object) -> None:
    assert not conforms(name, value)
