"""What the server can do: versions and capabilities."""

from collections.abc import Mapping

from matrixd.core.versions import ROOM_VERSIONS
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn
from matrixd.services.account_capabilities import AccountCapabilities

#: Versions of the specification whose clients this server serves.
_VERSIONS = (
    "r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1",
    *(f"v1.{minor}" for minor in range(1, 20)),
)  # fmt: skip


class Versions:
    """`GET /_matrix/client/versions` and `GET /_matrix/client/v3/capabilities`.

    `default_room_version` is given to new rooms. `capabilities` are those of the parts of the server, by name; those
    that `accounts` tells depend on the user.
    """

    def __init__(
        self,
        default_room_version: str,
        capabilities: Mapping[str, Mapping[str, object]],
        accounts: AccountCapabilities,
    ) -> None:
        self._accounts = accounts
        self._capabilities = {
            "m.room_versions": {
                "default": default_room_version,
                "available": dict.fromkeys(ROOM_VERSIONS, "stable"),
            },
            **capabilities,
        }

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/_matrix/client/versions", self.versions,
                spec="get_matrixclientversions", auth=Auth.OPTIONAL, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/_matrix/client/v3/capabilities", self.capabilities,
                spec="get_matrixclientv3capabilities", auth=Auth.GUEST, runs_on=RunsOn.ANY,
            ),
        ]

    async def versions(self, call: Call) -> object:
        """The versions of the specification that the server speaks."""
        return {"versions": _VERSIONS, "unstable_features": {}}

    async def capabilities(self, call: Call) -> object:
        """What the server allows and prefers."""
        return {"capabilities": {**self._capabilities, **self._accounts.of(call.requester)}}
