"""`/.well-known/matrix/…`: where clients and servers that know a server's name find the server, and its people."""

from collections.abc import Mapping
from typing import Any

from matrixd.core.errors import MatrixError
from matrixd.core.identifiers import parse_server_name
from matrixd.http.kit.call import Call
from matrixd.http.kit.route import Auth, Route, RunsOn


def client_discovery(
    public_baseurl: str | None, identity_server: str | None, extra: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What clients are told (`GET /.well-known/matrix/client`); None if nobody has said where the server is.

    `extra` adds members, and may replace ours.
    """
    if public_baseurl is None:
        return None
    discovery: dict[str, Any] = {"m.homeserver": {"base_url": public_baseurl}}
    if identity_server is not None:
        discovery["m.identity_server"] = {"base_url": identity_server}
    return {**discovery, **extra}


def server_delegation(server_name: str) -> dict[str, Any] | None:
    """What other servers are told (`GET /.well-known/matrix/server`): to come to port 443.

    None for an IPv6 address and a name with a port, for then nobody asks (server-server API, "Resolving server names").
    """
    address = parse_server_name(server_name)
    return {"m.server": f"{address.host}:443"} if address.port is None and ":" not in address.host else None


class WellKnown:
    """The endpoints; each part is None, or empty, if it is not to be served."""

    def __init__(
        self, client: Mapping[str, Any] | None, server: Mapping[str, Any] | None, support: Mapping[str, Any] | None
    ) -> None:
        self._client = client
        self._server = server
        self._support = support

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route(
                "GET", "/.well-known/matrix/client", self.client,
                spec="getwell-knownmatrixclient", auth=Auth.NONE, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/.well-known/matrix/server", self.server,
                spec="getwell-knownmatrixserver", auth=Auth.NONE, runs_on=RunsOn.ANY,
            ),
            Route(
                "GET", "/.well-known/matrix/support", self.support,
                spec="getwell-knownmatrixsupport", auth=Auth.NONE, runs_on=RunsOn.ANY,
            ),
        ]  # fmt: skip

    async def client(self, call: Call) -> object:
        """Where clients find the server."""
        return _found(self._client)

    async def server(self, call: Call) -> object:
        """Where other servers find it."""
        return _found(self._server)

    async def support(self, call: Call) -> object:
        """Whom to ask for help."""
        return _found(self._support)


def _found(content: Mapping[str, Any] | None) -> object:
    if not content:
        raise MatrixError(404, "M_NOT_FOUND", "This server says nothing here.")
    return content
