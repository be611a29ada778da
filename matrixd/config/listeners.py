"""On which addresses the server listens, and what it serves there."""

from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal, get_args

from matrixd.config.options import Options
from matrixd.config.values import IPNetwork, boolean, choice, each, integer, ip_range, path, text, wrong
from matrixd.config.yaml_tree import Value

Resource = Literal["client", "federation", "keys", "media", "openid", "metrics", "health", "static", "replication"]
_IMPLIED: dict[Resource, frozenset[Resource]] = {
    "client": frozenset({"media", "static"}),
    "federation": frozenset({"media", "keys", "openid"}),
}
ListenerType = Literal["http", "metrics"]
_TYPES: tuple[ListenerType, ...] = ("http", "metrics")
_RESOURCES: tuple[Resource, ...] = get_args(Resource)
_LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class Listener:
    """One port or Unix socket."""

    port: int | None
    """The TCP port; None for a Unix socket."""
    bind_addresses: tuple[str, ...]
    """Local addresses or host names; empty for a Unix socket."""
    path: Path | None
    """The Unix socket; None for a TCP port."""
    mode: int
    """The Unix socket's permissions, as for chmod."""
    type: ListenerType
    tls: bool
    """Whether the listener speaks TLS, with the certificate of TlsConfig."""
    x_forwarded: bool
    """Whether X-Forwarded-For and X-Forwarded-Proto of a request from `trusted_proxies` are believed."""
    trusted_proxies: tuple[IPNetwork, ...]
    """Addresses of reverse proxies. Peers of a Unix socket are always trusted."""
    resources: frozenset[Resource]
    """What is served, with everything that a name implies."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return self.path is not None or all(map(_is_loopback, self.bind_addresses))

    @property
    def local_host(self) -> str:
        """A host, ready for a URL, at which this machine reaches the listener."""
        loopback = {"127.0.0.1", "::1"}
        if loopback <= set(self.bind_addresses) or {"::", "0.0.0.0", "localhost"} & set(self.bind_addresses):
            return "localhost"
        address = self.bind_addresses[0] if self.bind_addresses else "localhost"
        return f"[{address}]" if ":" in address else address

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        scheme = "https" if self.tls else "http"
        return ", ".join(f"{scheme}://{f'[{a}]' if ':' in a else a}:{self.port}" for a in self.bind_addresses)


def read(options: Options) -> tuple[Listener, ...]:
    """Reads `listeners`; at least one must serve clients or the federation."""
    if options.value("listeners") is None:
        return (_default(),)
    listeners = options.sections("listeners", _listener)
    if not listeners and not options.findings.faults:
        options.wrong(
            "listeners", "is empty.", "Name at least one listener, or remove the line for port 8008 on localhost."
        )
    for address, count in Counter(place for listener in listeners for place in _places(listener)).items():
        if count > 1:
            options.wrong("listeners", f"names {address} {count} times.", "Give each listener its own port.")
    return listeners


def _default() -> Listener:
    return Listener(
        8008, ("127.0.0.1", "::1"), None, 0o666, "http", False, False, (), _expand(("client", "federation"))
    )


def _listener(options: Options) -> Listener:
    kind = options.read("type", choice(*_TYPES), _TYPES[0])
    socket = options.read("path", path, None)
    port = options.read("port", integer(1, 65535), None)
    if options.value("port") is None and options.value("path") is None:
        options.wrong("port", "is missing.", "Write a TCP `port`, or the `path` of a Unix socket.")
    if port is not None and socket is not None:
        options.wrong("path", "stands beside `port`.", "Make two listeners of it.")
    listener = Listener(
        port=port,
        bind_addresses=() if socket else _addresses(options),
        path=socket,
        mode=options.read("mode", _mode, 0o666),
        type=kind,
        tls=options.read("tls", boolean, False),
        x_forwarded=options.read("x_forwarded", boolean, socket is not None),
        trusted_proxies=_trusted_proxies(options),
        resources=_resources(options, kind),
    )
    _check_forwarding(options, listener)
    return listener


def _addresses(options: Options) -> tuple[str, ...]:
    one = options.read("bind_address", text, None)
    default = (one,) if one else ("::", "0.0.0.0")
    return options.read("bind_addresses", each(text), default) or default


def _trusted_proxies(options: Options) -> tuple[IPNetwork, ...]:
    if options.value("trusted_proxies"):
        return options.read("trusted_proxies", each(ip_range), ())
    return tuple(map(ip_network, _LOOPBACK))


def _resources(options: Options, kind: str) -> frozenset[Resource]:
    if kind == "metrics":
        options.value("resources")
        return frozenset({"metrics"})
    if options.value("resources") is None:
        return _expand(("client", "federation"))
    return frozenset().union(*options.sections("resources", _resource))


def _resource(options: Options) -> frozenset[Resource]:
    cure = "Write for example `names: [client, federation]`."
    return _expand(options.required("names", each(choice(*_RESOURCES)), (), cure))


def _expand(names: tuple[Resource, ...]) -> frozenset[Resource]:
    return frozenset(names).union(*(_IMPLIED.get(name, frozenset()) for name in names), {"health"})


def _mode(value: Value) -> int:
    try:
        return int(value.raw, 8)
    except ValueError:
        raise wrong(value, "is not a file mode.", "Write octal permissions such as `660`.") from None


def _check_forwarding(options: Options, listener: Listener) -> None:
    """A listener that others can reach needs a decision: the rate limits depend on the client's address."""
    if listener.is_local or listener.type == "metrics":
        return
    if options.value("x_forwarded") is None:
        options.wrong(
            "x_forwarded",
            "is missing, and other machines can reach the listener.",
            "Write `x_forwarded: false` if clients connect directly. Behind a reverse proxy write `x_forwarded: true` "
            "and the proxy's address in `trusted_proxies`; otherwise all clients would share one rate limit.",
        )
    elif listener.x_forwarded and options.value("trusted_proxies") is None:
        options.wrong(
            "trusted_proxies",
            "is missing: anyone who can reach the port could claim any address.",
            "Write your reverse proxy's addresses, for example `trusted_proxies: [172.16.0.0/12]`.",
        )


def _places(listener: Listener) -> list[str]:
    if listener.path:
        return [str(listener.path)]
    return [f"{address} port {listener.port}" for address in listener.bind_addresses]


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")
