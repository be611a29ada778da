"""The identifiers of Matrix and their grammar. https://spec.matrix.org/v1.19/appendices/#identifier-grammar

For each kind there is `is_x(value)`, and `validate_x(value, field)` that returns the identifier or raises a MatrixError
which names the field. What other servers made is read by the historical grammar; the strict one is for what we make.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from matrixd.core.errors import MatrixError

#: Bytes in UTF-8, sigil and domain included, that an identifier of a user, room, alias or event may have.
MAX_IDENTIFIER_BYTES = 255

#: Bytes that a device ID may have; the specification leaves it open.
MAX_DEVICE_ID_BYTES = 512

_SERVER_NAME = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|[0-9A-Za-z.-]{1,255})(?::[0-9]{1,5})?")
_NEW_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
_OPAQUE_ROOM_ID = re.compile(r"![0-9A-Za-z_-]{1,254}")
_OPAQUE_ID = re.compile(r"[0-9A-Za-z._~-]{1,255}")
_NAMESPACED_ID = re.compile(r"[a-z][a-z0-9._-]{0,254}")
_CLIENT_SECRET = re.compile(r"[0-9A-Za-z.=_-]{1,255}")
_KEY_ID = re.compile(r"[a-z0-9_]{1,64}:[0-9A-Za-z_]{1,190}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ServerAddress(NamedTuple):
    """A server name taken apart. An IPv6 `host` stands without its brackets; `port` is None when none is named."""

    host: str
    port: int | None


def fits(value: str, limit: int = MAX_IDENTIFIER_BYTES) -> bool:
    """Whether a string is Unicode without lone surrogates and NUL, and at most `limit` bytes long in UTF-8."""
    if value.isascii():
        return len(value) <= limit and "\0" not in value
    try:
        return len(value.encode("utf-8")) <= limit and "\0" not in value
    except UnicodeEncodeError:
        return False


# --- Server names: https://spec.matrix.org/v1.19/appendices/#server-name


def is_server_name(value: object) -> bool:
    """Whether the value is a hostname, an IPv4 address or an IPv6 address in brackets, with or without a port."""
    if not isinstance(value, str):
        return False
    match = _SERVER_NAME.fullmatch(value)
    if match is None:
        return False
    if match[1] is None:
        return True
    try:
        IPv6Address(match[1])
    except AddressValueError:
        return False
    return True


def parse_server_name(name: str) -> ServerAddress:
    """The host and the port of a server name. Raises ValueError for what is none."""
    if not is_server_name(name):
        raise ValueError(f"{name!r} is not a server name")
    if name.startswith("["):
        host, _, port = name[1:].partition("]")
        port = port[1:]
    else:
        host, _, port = name.partition(":")
    return ServerAddress(host, int(port) if port else None)


# --- Users, rooms, aliases, events: https://spec.matrix.org/v1.19/appendices/#common-identifier-format


def is_user_id(value: object) -> bool:
    """Whether the value is a user ID, by the historical grammar: any Unicode but ":" and NUL, or nothing, before ":".

    https://spec.matrix.org/v1.19/appendices/#historical-user-ids
    """
    return _has_domain("@", value)


def is_compliant_user_id(value: object) -> bool:
    """Whether clients may be told of this user ID outside an event: a localpart of visible ASCII characters.

    https://spec.matrix.org/v1.19/appendices/#historical-user-ids
    """
    if not isinstance(value, str) or not is_user_id(value):
        return False
    localpart = localpart_of(value)
    return bool(localpart) and all("!" <= character <= "~" for character in localpart)


def is_new_user_id(value: object) -> bool:
    """Whether the value is a user ID that may be made today.

    https://spec.matrix.org/v1.19/appendices/#user-identifiers
    """
    return isinstance(value, str) and is_user_id(value) and _NEW_LOCALPART.fullmatch(localpart_of(value)) is not None


def is_room_alias(value: object) -> bool:
    """Whether the value is `#localpart:domain`. https://spec.matrix.org/v1.19/appendices/#room-aliases"""
    return _has_domain("#", value)


def is_room_id(value: object) -> bool:
    """Whether the value is a room ID of any room version. https://spec.matrix.org/v1.19/appendices/#room-ids"""
    return is_opaque_room_id(value) or is_room_id_with_domain(value)


def is_room_id_with_domain(value: object) -> bool:
    """Whether the value is `!opaque_id:domain`, the room ID of room versions 1 to 11."""
    return _has_domain("!", value)


def is_opaque_room_id(value: object) -> bool:
    """Whether the value is `!` and a hash in URL-safe base64, the room ID of room version 12."""
    return isinstance(value, str) and _OPAQUE_ROOM_ID.fullmatch(value) is not None


def is_event_id(value: object) -> bool:
    """Whether the value may be an event ID of any room version: it is opaque to all but its room version.

    https://spec.matrix.org/v1.19/appendices/#event-ids
    """
    return isinstance(value, str) and len(value) > 1 and value[0] == "$" and fits(value)


def is_event_id_with_domain(value: object) -> bool:
    """Whether the value is `$opaque_id:domain`, the event ID of room versions 1 and 2."""
    return _has_domain("$", value)


def domain_of(identifier: str) -> str:
    """The server name in a user ID, alias, or such room and event IDs as have one. Raises ValueError without one."""
    _, colon, domain = identifier.partition(":")
    if not colon:
        raise ValueError(f"{identifier!r} has no domain")
    return domain


def localpart_of(identifier: str) -> str:
    """What stands between the sigil and the domain. Raises ValueError for an identifier without a domain."""
    localpart, colon, _ = identifier.partition(":")
    if not colon:
        raise ValueError(f"{identifier!r} has no domain")
    return localpart[1:]


def user_id(localpart: str, server_name: str) -> str:
    """`@localpart:server_name`."""
    return f"@{localpart}:{server_name}"


def _has_domain(sigil: str, value: object) -> bool:
    if not isinstance(value, str) or not value.startswith(sigil) or not fits(value):
        return False
    _, colon, domain = value.partition(":")
    return bool(colon) and is_server_name(domain)


# --- Devices, keys, and the rest


def is_device_id(value: object) -> bool:
    """Whether the value may be a device ID: not empty, no control characters, at most 512 bytes."""
    return isinstance(value, str) and bool(value) and fits(value, MAX_DEVICE_ID_BYTES) and not _CONTROL.search(value)


def is_signing_key_id(value: object) -> bool:
    """Whether the value is `algorithm:version` as servers name their keys.

    https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
    """
    return isinstance(value, str) and _KEY_ID.fullmatch(value) is not None


def parse_key_id(value: str) -> tuple[str, str]:
    """The algorithm and the key's name of any key ID (`ed25519:JLAFKJWSCS`). Raises ValueError when one is missing."""
    algorithm, _, name = value.partition(":")
    if not algorithm or not name:
        raise ValueError(f"{value!r} is not a key ID")
    return algorithm, name


def is_opaque_id(value: object) -> bool:
    """https://spec.matrix.org/v1.19/appendices/#opaque-identifiers"""
    return isinstance(value, str) and _OPAQUE_ID.fullmatch(value) is not None


def is_namespaced_id(value: object) -> bool:
    """https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar"""
    return isinstance(value, str) and _NAMESPACED_ID.fullmatch(value) is not None


def is_client_secret(value: object) -> bool:
    """Whether the value may be the `client_secret` or the session ID (`sid`) of a third-party ID's validation.

    https://spec.matrix.org/v1.19/identity-service-api/#email-associations
    """
    return isinstance(value, str) and _CLIENT_SECRET.fullmatch(value) is not None


# --- The same as conditions on what a client sent


def validate_server_name(value: object, field: str) -> str:
    """The server name, or MatrixError M_INVALID_PARAM."""
    return _validated(value, field, is_server_name, "a server name, like example.org or example.org:8448")


def validate_user_id(value: object, field: str) -> str:
    """The user ID (historical grammar), or MatrixError M_INVALID_PARAM."""
    return _validated(value, field, is_user_id, "a user ID of the form @localpart:domain")


def validate_room_id(value: object, field: str) -> str:
    """The room ID of any room version, or MatrixError M_INVALID_PARAM."""
    return _validated(value, field, is_room_id, "a room ID of the form !opaque_id or !opaque_id:domain")


def validate_room_alias(value: object, field: str) -> str:
    """The room alias, or MatrixError M_INVALID_PARAM."""
    return _validated(value, field, is_room_alias, "a room alias of the form #localpart:domain")


def validate_event_id(value: object, field: str) -> str:
    """The event ID of any room version, or MatrixError M_INVALID_PARAM."""
    return _validated(value, field, is_event_id, "an event ID, beginning with $")


def validate_device_id(value: object, field: str) -> str:
    """The device ID, or MatrixError M_INVALID_PARAM."""
    return _validated(value, field, is_device_id, "a device ID: a string without control characters, not empty")


def validate_opaque_id(value: object, field: str) -> str:
    """The opaque identifier, or MatrixError M_INVALID_PARAM."""
    return _validated(value, field, is_opaque_id, "an identifier of 1 to 255 characters of A-Z a-z 0-9 - . _ ~")


def validate_namespaced_id(value: object, field: str) -> str:
    """The namespaced identifier, or MatrixError M_INVALID_PARAM."""
    wanted = "an identifier of 1 to 255 characters of a-z 0-9 - _ . that begins with a letter"
    return _validated(value, field, is_namespaced_id, wanted)


def validate_client_secret(value: object, field: str) -> str:
    """The client secret or session ID, or MatrixError M_INVALID_PARAM."""
    return _validated(value, field, is_client_secret, "1 to 255 characters of A-Z a-z 0-9 . = _ -")


def validate_new_localpart(value: object, field: str, server_name: str) -> str:
    """The localpart of a user that is to be made, or MatrixError M_INVALID_USERNAME.

    https://spec.matrix.org/v1.19/appendices/#user-identifiers
    """
    if not isinstance(value, str) or _NEW_LOCALPART.fullmatch(value) is None:
        raise MatrixError(400, "M_INVALID_USERNAME", f"{field} may hold only a-z, 0-9 and . _ = - / +, at least one")
    if len(user_id(value, server_name)) > MAX_IDENTIFIER_BYTES:
        error = f"{field} is too long: the user ID would exceed {MAX_IDENTIFIER_BYTES} bytes"
        raise MatrixError(400, "M_INVALID_USERNAME", error)
    return value


def _validated(value: object, field: str, test: Callable[[object], bool], wanted: str) -> str:
    if isinstance(value, str) and test(value):
        return value
    raise MatrixError(400, "M_INVALID_PARAM", f"{field} must be {wanted}")
