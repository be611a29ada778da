"""The string formats of the specification's data (``data/string-formats.yaml``, grammar in the appendices)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

MAX_IDENTIFIER_BYTES = 255

_DNS_NAME = re.compile(r"[0-9A-Za-z.-]{1,255}\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*\Z")
_URL_SAFE_BASE64 = re.compile(r"[A-Za-z0-9_-]*\Z")
_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]+\Z")


def is_server_name(value: str) -> bool:
    """Appendices, "Server Name"."""
    if value.startswith("["):
        host, bracket, port = value[1:].partition("]")
        if not bracket or not _is_ipv6(host):
            return False
        return not port or (port.startswith(":") and _PORT.match(port[1:]) is not None)
    host, colon, port = value.partition(":")
    return _DNS_NAME.match(host) is not None and (not colon or _PORT.match(port) is not None)


def is_user_id(value: str) -> bool:
    """Appendices, "User Identifiers", with the historical localparts that servers must accept in events."""
    return _is_identifier(value, "@", needs_domain=True)


def is_room_id(value: str) -> bool:
    """Appendices, "Room IDs": with a domain before room version 12, without from then on."""
    return _is_identifier(value, "!", needs_domain=False)


def is_event_id(value: str) -> bool:
    """Appendices, "Event IDs"."""
    return value.startswith("$") and 1 < len(value.encode()) <= MAX_IDENTIFIER_BYTES and "\0" not in value


def is_room_alias(value: str) -> bool:
    """Appendices, "Room Aliases"."""
    return _is_identifier(value, "#", needs_domain=True)


def is_mxc_uri(value: str) -> bool:
    """Client-server API, "Matrix Content (mxc://) URIs"."""
    if not value.startswith("mxc://"):
        return False
    server, slash, media = value[6:].partition("/")
    return bool(slash) and is_server_name(server) and _MEDIA_ID.match(media) is not None


def is_uri(value: str) -> bool:
    """RFC 3986, as far as a scheme, no spaces or control characters, and something after the scheme."""
    if re.search(r"[\x00-\x20\x7f<>\"{}|\\^`]", value):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme) and bool(parts.netloc or parts.path)


def is_email(value: str) -> bool:
    """RFC 5321 mailbox, roughly: one unquoted @ with something on both sides."""
    local, at, domain = value.rpartition("@")
    return bool(local) and bool(at) and bool(domain) and " " not in value


def _is_identifier(value: str, sigil: str, needs_domain: bool) -> bool:
    if not value.startswith(sigil) or "\0" in value or not 1 < len(value.encode()) <= MAX_IDENTIFIER_BYTES:
        return False
    localpart, colon, domain = value[1:].partition(":")
    if not colon:
        return not needs_domain and bool(localpart)
    return is_server_name(domain)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _in_int64(value: int) -> bool:
    return -(2**63) <= value < 2**63


STRING_FORMATS: Mapping[str, Callable[[str], bool]] = {
    "mx-user-id": is_user_id,
    "mx-event-id": is_event_id,
    "mx-room-id": is_room_id,
    "mx-room-alias": is_room_alias,
    "mx-server-name": is_server_name,
    "mx-mxc-uri": is_mxc_uri,
    "mx-unpadded-base64": lambda value: _BASE64.match(value) is not None,
    "mx-urlsafe-unpadded-base64": lambda value: _URL_SAFE_BASE64.match(value) is not None,
    "uri": is_uri,
    "email": is_email,
}
INTEGER_FORMATS: Mapping[str, Callable[[int], bool]] = {"int64": _in_int64}


def conforms(name: str, value: object) -> bool:
    """True when ``value`` has the format ``name``, is of another type than the format speaks of, or it is unknown."""
    if isinstance(value, str) and name in STRING_FORMATS:
        return STRING_FORMATS[name](value)
    if isinstance(value, int) and not isinstance(value, bool) and name in INTEGER_FORMATS:
        return INTEGER_FORMATS[name](value)
    return True
