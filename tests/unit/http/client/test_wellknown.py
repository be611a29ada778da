"""What is served to those who only know the server's name or address."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from matrixd.http.client import wellknown
from matrixd.http.client.welcome import Welcome
from matrixd.http.client.wellknown import WellKnown
from matrixd.http.health import Health
from matrixd.http.kit.dispatch import Dispatcher
from matrixd.http.kit.route import Route, Router
from tests.support.openapi import Specification
from tests.unit.http.kit.peer import Parsed, ReactorClock, Tokens, World

CLIENT = "/.well-known/matrix/client"
SERVER = "/.well-known/matrix/server"
SUPPORT = "/.well-known/matrix/support"


def _get(routes: Sequence[Route], path: str) -> Parsed:
    world = World()
    world.site.dispatcher = Dispatcher(
        Router(routes),
        Tokens(),  # type: ignore[arg-type]
        {},
        ReactorClock(world.reactor),
        lambda *seen: None,
    )
    return world.ask("GET", path)


def test_what_is_configured_is_served(specification: Specification) -> None:
    client = wellknown.client_discovery("https://m.example.com/", "https://id.example.com", {"com.example.x": [1]})
    support = {"support_page": "https://example.com/help"}
    routes = WellKnown(client, wellknown.server_delegation("example.com"), support).routes()
    answers = {path: _get(routes, path) for path in (CLIENT, SERVER, SUPPORT)}
    assert answers[CLIENT].json == {
        "m.homeserver": {"base_url": "https://m.example.com/"},
        "m.identity_server": {"base_url": "https://id.example.com"},
        "com.example.x": [1],
    }
    assert answers[SERVER].json == {"m.server": "example.com:443"}
    assert answers[SUPPORT].json == support
    for path, answer in answers.items():
        assert answer.headers["access-control-allow-origin"] == "*"
        specification.check_answer("GET", path, answer.status, answer.headers, answer.body)


def test_what_is_not_configured_is_not_found() -> None:
    routes = WellKnown(wellknown.client_discovery(None, "https://id.example.com", {"a": 1}), None, {}).routes()
    for path in (CLIENT, SERVER, SUPPORT):
        answer = _get(routes, path)
        assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("server_name", "delegate"),
    [("example.com", "example.com:443"), ("example.com:8448", None), ("[::1]", None), ("[::1]:8448", None)],
)
def test_names_that_are_delegated(server_name: str, delegate: str | None) -> None:
    assert wellknown.server_delegation(server_name) == (delegate and {"m.server": delegate})


class TestWelcome:
    def test_the_page_says_how_to_connect(self) -> None:
        answer = _get(Welcome("example.com", "1.2.3", "https://m.example.com/", None, True).routes(), "/")
        text = answer.body.decode()
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        for expected in ("example.com", "1.2.3", "https://m.example.com/", "make an account"):
            assert expected in text

    def test_without_base_url_and_registration(self) -> None:
        text = _get(Welcome("example.com", "1", None, None, False).routes(), "/").body.decode()
        assert "enter <code>example.com</code>" in text
        assert "make an account" not in text

    def test_nothing_is_loaded_or_run(self) -> None:
        answer = _get(Welcome("example.com", "1", None, None, False).routes(), "/")
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert "script-src" not in policy
        text = answer.body.decode()
        for loading in ("<script", "<img", "<link", "src=", "@import", "url(", "style="):
            assert loading not in text

    def test_an_admins_own_web_client(self) -> None:
        answer = _get(Welcome("example.com", "1", None, "https://chat.example.com", False).routes(), "/")
        assert (answer.status, answer.headers["location"]) == (302, "https://chat.example.com")


def test_health() -> None:
    answer = _get(Health().routes(), "/health")
    assert (answer.status, answer.body) == (200, b"OK")
