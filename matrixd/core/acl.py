"""Server access control lists: which servers may take part in a room.

https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from matrixd.core.event import Event
from matrixd.core.globs import compile_glob

# The form decides, not the range of the numbers: 1.2.3.999 is no name of the DNS either.
_IPV4: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", re.ASCII)
_PORT: Final = re.compile(r":[0-9]*\Z", re.ASCII)


def host_of(server_name: str) -> str:
    """The server name without its port; an IPv6 address keeps its brackets.

    https://spec.matrix.org/v1.19/appendices/#server-name
    """
    return _PORT.sub("", server_name) if not server_name.endswith("]") else server_name


def is_ip_literal(host: str) -> bool:
    """Whether a host, without port, is an IPv4 or a bracketed IPv6 address rather than a DNS name."""
    return host.startswith("[") or _IPV4.fullmatch(host) is not None


class ServerAcl:
    """The list of an ``m.room.server_acl`` event, or of its content, ready to be asked.

    One that is kept takes a few times its event.

    https://spec.matrix.org/v1.19/client-server-api/#mroomserver_acl
    """

    __slots__ = ("_allow", "_deny", "_ip_literals")

    def __init__(self, event: Event | Mapping[str, Any]) -> None:
        content = event.content if isinstance(event, Event) else event
        self._ip_literals = content.get("allow_ip_literals") is not False
        self._allow = _Patterns(content.get("allow"))
        self._deny = _Patterns(content.get("deny"))

    def allows(self, server_name: str) -> bool:
        """Whether the server may take part in the room. The port plays no role, nor does the case of letters."""
        host = host_of(server_name).lower()
        # Rule 2: addresses in the place of names can be kept out altogether.
        if not self._ip_literals and is_ip_literal(host):
            return False
        # Rules 3, 4 and 5: denying comes first, and who is not allowed is denied.
        return not self._deny.match(host) and self._allow.match(host)


def server_allowed(event: Event | None, server_name: str) -> bool:
    """Whether the ACL event of a room, if it has one, lets the server take part.

    For a single question; ServerAcl is for many. https://spec.matrix.org/v1.19/client-server-api/#mroomserver_acl
    """
    # Rule 1: without the event there is nothing to obey.
    return event is None or ServerAcl(event).allows(server_name)


class _Patterns:
    """A list of globs. Most entries of real lists are plain names: these cost one look-up, however many there are."""

    __slots__ = ("_globs", "_names")

    def __init__(self, value: object) -> None:
        entries = {entry.lower() for entry in value if isinstance(entry, str)} if isinstance(value, list) else set()
        globs = {entry for entry in entries if "*" in entry or "?" in entry}
        self._globs = tuple(compile_glob(entry) for entry in sorted(globs))
        self._names = frozenset(entries - globs)

    def match(self, host: str) -> bool:
        return host in self._names or any(matches(host) for matches in self._globs)
