"""The page at `/`, for whoever opens the server's address in a browser."""

from collections.abc import Mapping
from typing import Any

from matrixd.http.kit.call import Answer, Call
from matrixd.http.kit.pages import page
from matrixd.http.kit.route import Auth, Route, RunsOn

#: Clients that a visitor may take; the specification's site has the list of all.
_CLIENTS: Mapping[str, str] = {
    "Element": "https://element.io/download",
    "Cinny": "https://cinny.in/",
    "FluffyChat": "https://fluffychat.im/",
    "Fractal": "https://flathub.org/apps/org.gnome.Fractal",
    "all others": "https://matrix.org/ecosystem/clients/",
}


class Welcome:
    """`GET /`.

    `base_url` is where clients find the server, None if nobody has said. With `web_client` the page is only a
    redirection to it. `registration_is_open`: whether a visitor can make an account.
    """

    def __init__(
        self,
        server_name: str,
        version: str,
        base_url: str | None,
        web_client: str | None,
        registration_is_open: bool,
    ) -> None:
        self._web_client = web_client
        self._values: dict[str, Any] = {
            "server_name": server_name,
            "version": version,
            "base_url": base_url,
            "registration_is_open": registration_is_open,
            "clients": _CLIENTS,
        }

    def routes(self) -> list[Route]:
        """The page."""
        return [Route("GET", "/", self.show, spec="", auth=Auth.NONE, runs_on=RunsOn.ANY)]

    async def show(self, call: Call) -> object:
        """The page, or the way to the web client."""
        if self._web_client is not None:
            return Answer(302, b"", b"text/plain", {b"Location": self._web_client.encode()})
        return page("welcome.html", style_sheet="welcome.css", **self._values)
