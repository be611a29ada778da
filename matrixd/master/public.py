"""What is served to anybody who finds the server: well-known, the page at `/`, health, who made an OpenID token."""

from typing import Any

from matrixd import __version__
from matrixd.config.server import ServerConfig
from matrixd.http.client import wellknown
from matrixd.http.client.welcome import Welcome
from matrixd.http.client.wellknown import WellKnown
from matrixd.http.federation.openid import OpenIdUserInfo
from matrixd.http.health import Health
from matrixd.master.frame import Frame
from matrixd.queries.openid import OpenIdOwners


def client_discovery(server: ServerConfig) -> dict[str, Any] | None:
    """Where clients find the server, as configured."""
    return wellknown.client_discovery(
        server.public_baseurl, server.default_identity_server, server.extra_well_known_client_content
    )


def serve_public(frame: Frame) -> None:
    """Serve it."""
    server = frame.config.server
    delegation = wellknown.server_delegation(server.server_name) if server.serve_server_wellknown else None
    frame.serve("client", WellKnown(client_discovery(server), delegation, server.well_known_support).routes())
    frame.serve(
        "static",
        Welcome(
            server.server_name,
            __version__,
            server.public_baseurl,
            server.web_client_location,
            frame.config.registration.mode != "closed",
        ).routes(),
    )
    frame.serve("health", Health().routes())
    frame.serve("openid", OpenIdUserInfo(OpenIdOwners(frame.database, frame.clock)).routes())
