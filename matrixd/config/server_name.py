"""The grammar of server names, with the reason why a name is refused (appendices, "Server Name")."""

import re
from ipaddress import IPv4Address, IPv6Address

from matrixd.config.values import text, wrong
from matrixd.config.yaml_tree import Value
from matrixd.core.identifiers import is_server_name

MAX_LENGTH = 230
_DNS_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)
_DOTTED_QUAD = re.compile(r"[0-9]+(\.[0-9]+){3}", re.ASCII)
_NAME = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)


def refusal(name: str) -> str | None:
    """Why `name` cannot be the name of a new server; None if it can."""
    matched = _NAME.fullmatch(name)
    if "://" in name or "/" in name:
        return "is a URL, not a server name"
    if not matched:
        return "has more than one colon"
    host, port = matched[1], matched[2]
    if len(name) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    if name != name.lower():
        return "has upper-case letters"
    return _host_refusal(host) or _port_refusal(port) or (None if is_server_name(name) else "is not a server name")


def server_name(value: Value) -> str:
    """Parser of a configuration value that is a server name."""
    name = text(value)
    reason = refusal(name)
    if reason:
        raise wrong(value, f"{reason}.", "Write a host name such as `example.com`, with a port only if you need one.")
    return name


def remote_server_name(value: Value) -> str:
    """Parser of another server's name: whatever the grammar allows."""
    name = text(value)
    if not is_server_name(name):
        raise wrong(value, f"is `{name}`, which is no server name.", "Write for example `matrix.org`.")
    return name


def _host_refusal(host: str) -> str | None:
    if host.startswith("["):
        return None if _is_address(IPv6Address, host[1:-1]) else "is not an IPv6 address in brackets"
    if _DOTTED_QUAD.fullmatch(host):
        return None if _is_address(IPv4Address, host) else "is not an IPv4 address"
    if not _DNS_NAME.fullmatch(host):
        return "is not a host name: letters, digits, hyphens and dots between them are allowed"
    return None


def _port_refusal(port: str | None) -> str | None:
    if port is None:
        return None
    return None if re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536 else "has a port that is not 1 to 65535"


def _is_address(kind: type[IPv4Address] | type[IPv6Address], host: str) -> bool:
    try:
        return "%" not in host and bool(kind(host))
    except ValueError:
        return False
