"""Builds the check of this server, or of another one, as `synctl check` and the page for admins run it."""

from collections.abc import Sequence
from typing import Any

from matrixd import __version__
from matrixd.config import Config
from matrixd.core.errors import MatrixError
from matrixd.http.admin.check import CheckPage
from matrixd.master.federation_client import system_dns, system_hosts
from matrixd.master.federation_keys import request_signer, signing_keys
from matrixd.master.frame import Frame
from matrixd.net.check.check import Check
from matrixd.net.check.report import Report, Result
from matrixd.net.check.subject import OwnServer, Subject, TurnAccess
from matrixd.net.check.tools import make_tools
from matrixd.services.turn import Turn
from matrixd.util.clock import Clock
from matrixd.util.single_flight import SingleFlight


def build_check(
    config: Config, reactor: Any, clock: Clock, server_name: str | None, given: Sequence[Result] = ()
) -> Check:
    """A check of `server_name`, of this server if it is None. `given`: what is known before.

    Without signing keys in the configuration (it was loaded without files) nothing is signed. Raises ValueError if a
    file of `federation_custom_ca_list` holds no certificates.
    """
    name = server_name or config.server.server_name
    own = _own(config, clock) if name == config.server.server_name else None
    tools = make_tools(
        config.federation,
        reactor,
        clock,
        system_hosts(clock),
        lambda hosts, budget: system_dns(reactor, clock, hosts, budget),
        is_own=own is not None,
    )
    sign = request_signer(config) if config.keys.signing_keys else None
    return Check(tools, Subject(name, own, sign), given)


def _own(config: Config, clock: Clock) -> OwnServer:
    name = config.server.server_name
    return OwnServer(
        config.listeners,
        config.server.public_baseurl,
        {key.key_id: key.verify_key.to_base64() for key in signing_keys(config)},
        config.keys.key_refresh_interval_ms,
        [server.server_name for server in config.keys.trusted_key_servers if server.server_name != name],
        _turn(config, clock),
    )


def _turn(config: Config, clock: Clock) -> TurnAccess | None:
    """What a user of this server would get; None if there is nothing to get."""
    given = config.turn
    turn = Turn(
        clock,
        given.uris,
        given.shared_secret,
        given.username,
        given.password,
        given.user_lifetime_ms,
        given.allow_guests,
    )
    try:
        found = turn.credentials(f"@matrixd-check:{config.server.server_name}", is_guest=False)
    except MatrixError:
        return None
    return TurnAccess(found.uris, found.username, found.password)


def serve_check(frame: Frame) -> None:
    """Serve the page for admins, and the report behind it. Those who ask at the same time share one check."""
    flights: SingleFlight[str, Report] = SingleFlight()
    config = frame.config

    async def report(server_name: str | None) -> Report:
        name = server_name or config.server.server_name
        return await flights.run(name, build_check(config, frame.reactor, frame.clock, name).run)

    frame.serve("client", CheckPage(config.server.server_name, __version__, report).routes())
