"""The way to another server, as discovery finds it, and how it was found."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from matrixd.net.addresses import is_address


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect to: a host name, or an address without brackets."""

    host: str
    port: int


class StepKind(enum.Enum):
    """A step of the specification's discovery."""

    LITERAL = "literal"
    """The server name is an address: steps 1 and 3.1."""
    PORT = "port"
    """The server name has a port: steps 2 and 3.2."""
    WELL_KNOWN = "well_known"
    """`/.well-known/matrix/server`: step 3."""
    SRV = "srv"
    """`_matrix-fed._tcp`: steps 3.3 and 4."""
    SRV_DEPRECATED = "srv_deprecated"
    """`_matrix._tcp`: steps 3.4 and 5."""
    DEFAULT = "default"
    """The name itself and port 8448: steps 3.5 and 6."""


class Outcome(enum.Enum):
    """What came of a step."""

    FOUND = "found"
    """It led on."""
    NONE = "none"
    """There is nothing, which is an answer: the next step follows."""
    FAILED = "failed"
    """It could not be found out, or what came is of no use: the next step follows."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was made. subject: the name or URL. detail: a sentence, or what was found."""

    kind: StepKind
    subject: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a server.

    places: to be tried in this order.
    tls_name: what the certificate must be for, a host name or an address without brackets.
    host_header: as it is sent.
    """

    server_name: str
    places: Sequence[Place]
    tls_name: str
    host_header: str
    steps: Sequence[Step] = ()


def bracketed(host: str) -> str:
    """A host as it stands in URLs and `Host` headers."""
    return f"[{host}]" if ":" in host and is_address(host) else host
