"""The page on which an admin reads what other servers see of this one, and what it is made from."""

from collections.abc import Awaitable, Callable

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import is_server_name
from matrixd.http.kit.call import Answer, Call
from matrixd.http.kit.pages import page
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.net.check.clients import SEEN
from matrixd.net.check.report import Report

#: Makes a report of a server; None for our own.
MakeReport = Callable[[str | None], Awaitable[Report]]


class CheckPage:
    """`/_matrixd/check`.

    The page is for everybody, and holds nothing. It signs in as the admin says, fetches the report with the token, and
    signs out.
    """

    def __init__(self, server_name: str, version: str, report: MakeReport) -> None:
        self._server_name = server_name
        self._version = version
        self._report = report

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("GET", "/_matrixd/check", self.show, spec="", auth=Auth.NONE),
            Route("GET", "/_matrixd/check/report", self.report, spec="", auth=Auth.ADMIN),
            Route("GET", SEEN, self.seen, spec="", auth=Auth.NONE, runs_on=RunsOn.ANY),
        ]

    async def show(self, call: Call) -> object:
        """The page."""
        return page(
            "check.html", "check.js", style_sheet="check.css", server_name=self._server_name, version=self._version
        )

    async def report(self, call: Call) -> object:
        """A new report, of the server that the query's `server` names, else of this one. It takes up to a minute."""
        server_name = call.query("server") or None
        if server_name is not None and not is_server_name(server_name):
            raise MatrixError(400, "M_INVALID_PARAM", "'server' is not a server name.")
        report = await self._report(server_name)
        return Answer(200, report.as_json(), headers={b"Cache-Control": b"no-store"})

    async def seen(self, call: Call) -> object:
        """The address of who asks, as this server sees it: so a check learns what a reverse proxy passes on."""
        return Answer(200, {"client_ip": call.client_ip}, headers={b"Cache-Control": b"no-store"})
