"""Where to find a server by its name: the specification's steps, one function each.

https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
"""

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from matrixd.core.identifiers import ServerAddress, is_server_name, parse_server_name
from matrixd.net.addresses import is_address
from matrixd.net.dns import Dns
from matrixd.net.errors import FailureKind, RemoteError
from matrixd.net.route import Outcome, Place, Route, Step, StepKind, bracketed
from matrixd.net.srv import SrvRecord, ordered
from matrixd.net.well_known import WellKnown

DEFAULT_PORT = 8448
#: More targets of SRV records are left out.
_MAX_PLACES = 8


class Delegations(Protocol):
    """Tells what a host name delegates to: `WellKnowns`."""

    async def of(self, host: str) -> WellKnown:
        """What a host name says."""

    def doubt(self, host: str) -> None:
        """What it said led nowhere."""


class Discovery:
    """Finds servers."""

    def __init__(self, dns: Dns, well_knowns: Delegations, chance: Callable[[], float] = random.random) -> None:
        self._dns = dns
        self._well_knowns = well_knowns
        self._chance = chance

    async def find(self, server_name: str, steps: list[Step] | None = None) -> Route:
        """The way to a server, with all steps that were made; addresses are not looked up yet.

        They are added to `steps` too, for who wants to see them if this raises: RemoteError(DNS) for what is no server
        name, and if the domain says that it has no server.
        """
        steps = [] if steps is None else steps
        if not is_server_name(server_name):
            raise RemoteError(server_name, FailureKind.DNS, "this is not a server name")
        address = parse_server_name(server_name)
        # Steps 1 and 2.
        route = _explicit(server_name, address, steps)
        if route is not None:
            return route
        said = await self._well_knowns.of(address.host)
        steps.append(_well_known_step(address.host, said))
        if said.server is None:
            # Steps 4 to 6.
            return await self._by_service(server_name, address.host, steps)
        delegated = parse_server_name(said.server)
        # Steps 3.1 and 3.2, then 3.3 to 3.5.
        route = _explicit(server_name, delegated, steps)
        return route or await self._by_service(server_name, delegated.host, steps)

    def doubt(self, server_name: str) -> None:
        """The way that was found led nowhere: what may have changed is looked at again the next time."""
        if is_server_name(server_name):
            self._well_knowns.doubt(parse_server_name(server_name).host)

    async def _by_service(self, server_name: str, host: str, steps: list[Step]) -> Route:
        for kind, service in ((StepKind.SRV, "_matrix-fed._tcp"), (StepKind.SRV_DEPRECATED, "_matrix._tcp")):
            records = await self._services(server_name, kind, f"{service}.{host}", steps)
            if records:
                places = [Place(record.target, record.port) for record in ordered(records, self._chance)]
                # The certificate and the Host header are the name's, not the target's: DNS proves nothing.
                return Route(server_name, places[:_MAX_PLACES], host, host, steps)
        steps.append(Step(StepKind.DEFAULT, host, Outcome.FOUND, f"{host} port {DEFAULT_PORT}"))
        return Route(server_name, [Place(host, DEFAULT_PORT)], host, host, steps)

    async def _services(
        self, server_name: str, kind: StepKind, name: str, steps: list[Step]
    ) -> Sequence[SrvRecord]:
        try:
            records = await self._dns.services(server_name, name)
        except RemoteError as error:
            # Not to know is no reason not to try the rest: the certificate says whether it is the right server.
            steps.append(Step(kind, name, Outcome.FAILED, error.error))
            return ()
        if not records:
            steps.append(Step(kind, name, Outcome.NONE, "there is no such record"))
            return ()
        usable = [record for record in records if record.target and record.port]
        if not usable:
            steps.append(Step(kind, name, Outcome.FAILED, "the record says that there is no server ('.')"))
            raise RemoteError(server_name, FailureKind.DNS, f"SRV of {name}: the domain says that it has no server")
        detail = ", ".join(f"{record.target} port {record.port}" for record in usable)
        steps.append(Step(kind, name, Outcome.FOUND, detail))
        return usable


def _explicit(server_name: str, address: ServerAddress, steps: list[Step]) -> Route | None:
    """The way to what needs no look-up of where it is: an address, or a name with a port."""
    literal = is_address(address.host)
    if not literal and address.port is None:
        return None
    place = Place(address.host, DEFAULT_PORT if address.port is None else address.port)
    if not 0 < place.port < 65536:
        # The grammar of server names has all numbers of five digits.
        raise RemoteError(server_name, FailureKind.DNS, f"{place.host}: there is no port {place.port}")
    host = bracketed(address.host)
    header = host if address.port is None else f"{host}:{address.port}"
    kind = StepKind.LITERAL if literal else StepKind.PORT
    steps.append(Step(kind, header, Outcome.FOUND, f"{place.host} port {place.port}"))
    return Route(server_name, [place], address.host, header, steps)


def _well_known_step(host: str, said: WellKnown) -> Step:
    url = said.urls[-1] if said.urls else f"https://{host}/.well-known/matrix/server"
    if said.server is not None:
        return Step(StepKind.WELL_KNOWN, url, Outcome.FOUND, said.server)
    return Step(StepKind.WELL_KNOWN, url, Outcome.FAILED, said.problem or "")
