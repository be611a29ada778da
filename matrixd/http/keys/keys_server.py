"""The keys of this server: `data/api/server-server/keys_server.yaml` of the specification."""

from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route
from matrixd.services.own_keys import OwnKeys

_SPEC = "get_matrixkeyv2server"


class KeysServer:
    """`GET /server`; older servers put the ID of a key behind it, and get all keys too."""

    def __init__(self, own_keys: OwnKeys) -> None:
        self._own_keys = own_keys

    def routes(self) -> list[Route]:
        """The endpoint."""
        return [
            Route("GET", "/_matrix/key/v2/server", self.get, spec=_SPEC, auth=Auth.NONE),
            Route("GET", "/_matrix/key/v2/server/{keyId}", self.get, spec=_SPEC, auth=Auth.NONE),
        ]

    async def get(self, call: Call) -> object:
        """All keys, signed."""
        return self._own_keys.published()
