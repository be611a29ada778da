"""TURN servers: `data/api/client-server/voip.yaml` of the specification."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.services.turn import Turn


class Voip:
    """The endpoint that hands out TURN credentials."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route(
                "GET", "/_matrix/client/v3/voip/turnServer", self.get,
                spec="get_matrixclientv3voipturnserver", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
        ]  # fmt: skip

    async def get(self, call: Call) -> object:
        """Credentials for the TURN server."""
        found = self._turn.credentials(call.requester.user_id, call.requester.is_guest)
        return {"username": found.username, "password": found.password, "uris": found.uris, "ttl": found.ttl}
