"""`GET /health`, for load balancers and watchdogs."""

from matrixd.http.kit.call import Answer, Call
from matrixd.http.kit.route import Auth, Route, RunsOn

_ANSWER = Answer(200, b"OK", b"text/plain; charset=utf-8")


class Health:
    """Says that the process answers requests. It asks nobody else: a slow database is no reason to be restarted."""

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [Route("GET", "/health", self.health, spec="", auth=Auth.NONE, runs_on=RunsOn.ANY)]

    async def health(self, call: Call) -> object:
        """OK."""
        return _ANSWER
