"""Which server a check is about, and what is known of it if it is our own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matrixd.config.listeners import Listener
from matrixd.net.federation_client import Sign


@dataclass(frozen=True, slots=True)
class TurnAccess:
    """What clients get to use the TURN servers."""

    uris: Sequence[str]
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class OwnServer:
    """What the configuration says.

    keys: key ID -> public key, base64; empty if the key file could not be read. notaries: servers that can be asked
    what they see of us. turn: None without TURN servers.
    """

    listeners: Sequence[Listener]
    public_baseurl: str | None
    keys: Mapping[str, str]
    key_refresh_interval_ms: int
    notaries: Sequence[str]
    turn: TurnAccess | None

    @property
    def proxy_pass(self) -> str:
        """What a reverse proxy on this machine passes requests to."""
        for listener in self.listeners:
            if listener.path is not None and "federation" in listener.resources:
                return f"http://unix:{listener.path}"
            if listener.port is not None and "federation" in listener.resources and not listener.tls:
                return f"http://127.0.0.1:{listener.port}"
        return "http://127.0.0.1:8008"


@dataclass(frozen=True, slots=True)
class Subject:
    """The server. own: None if it is another's. sign: signs requests of ours; None without a key."""

    server_name: str
    own: OwnServer | None
    sign: Sign | None

    @property
    def nginx(self) -> str:
        """What nginx needs."""
        to = "http://127.0.0.1:8008" if self.own is None else self.own.proxy_pass
        return f"location ~ ^/(_matrix|\\.well-known/matrix) {{ proxy_pass {to}; }}"
