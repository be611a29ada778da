"""The page for clients that know no login flow of the server (client-server API, "Login Fallback")."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.pages import page
from matrixd.http.kit.route import Auth, Route, RunsOn


class LoginFallback:
    """`/_matrix/static/client/login/`."""

    def __init__(self, server_name: str) -> None:
        self._server_name = server_name

    def routes(self) -> list[Route]:
        """The page."""
        return [
            Route(
                "GET", "/_matrix/static/client/login/", self.login, spec="login-fallback", auth=Auth.NONE,
                aliases=("/_matrix/static/client/login",), runs_on=RunsOn.ANY,
            ),
        ]

    async def login(self, call: Call) -> object:
        """A page that logs in, and hands the answer to `window.matrixLogin.onLogin`."""
        return page("login.html", "login.js", server_name=self._server_name)
