"""Messages of STUN and TURN as bytes: made, read and verified. RFC 8489, RFC 8656; nothing is sent from here."""

import enum
import hashlib
import hmac
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

_MAGIC: Final = 0x2112A442
_HEADER: Final = struct.Struct("!HHI12s")
_FIELD: Final = struct.Struct("!HH")
HEADER_BYTES: Final = _HEADER.size
TRANSACTION_BYTES: Final = 12
#: Larger messages are none that a client gets as an answer.
MAX_BYTES: Final = 2048
_INTEGRITY_BYTES, _FINGERPRINT_BYTES = 20, 4
_FINGERPRINT_XOR: Final = 0x5354554E
_UDP: Final = 17


class NotStun(ValueError):
    """The bytes are no message of STUN; the text says why."""


class Method(enum.IntEnum):
    """What a request asks for."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004


class Kind(enum.IntEnum):
    """The class of a message."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Attribute(enum.IntEnum):
    """The attributes that are used."""

    MAPPED_ADDRESS = 0x0001
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    LIFETIME = 0x000D
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_TRANSPORT = 0x0019
    XOR_MAPPED_ADDRESS = 0x0020
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves who asks ("long-term credentials", RFC 8489, section 9.2); realm and nonce are the server's."""

    username: str
    realm: str
    nonce: bytes
    password: str = field(repr=False)

    @property
    def key(self) -> bytes:
        """The key of the message integrity."""
        # MD5 is what the specification says, and what all servers know.
        text = f"{self.username}:{self.realm}:{self.password}"
        return hashlib.md5(text.encode(), usedforsecurity=False).digest()


@dataclass(frozen=True, slots=True)
class Message:
    """A message. attributes: the first of each type, as bytes; `data` is the whole message as it was received."""

    method: int
    kind: Kind
    transaction_id: bytes
    attributes: Mapping[int, bytes]
    data: bytes = b""

    @property
    def error(self) -> tuple[int, str] | None:
        """Code and reason of an error answer. Raises NotStun."""
        value = self.attributes.get(Attribute.ERROR_CODE)
        if value is None:
            return None
        if len(value) < 4:
            raise NotStun("its ERROR-CODE is too short")
        return (value[2] & 0x7) * 100 + value[3], value[4:].decode("utf-8", "replace")[:200]

    @property
    def relayed(self) -> Endpoint | None:
        """The address of an allocation. Raises NotStun."""
        return self._endpoint(Attribute.XOR_RELAYED_ADDRESS)

    @property
    def mapped(self) -> Endpoint | None:
        """The address of the client as the server sees it. Raises NotStun."""
        return self._endpoint(Attribute.XOR_MAPPED_ADDRESS)

    @property
    def lifetime_s(self) -> int | None:
        """For how long an allocation holds. Raises NotStun."""
        value = self.attributes.get(Attribute.LIFETIME)
        if value is None:
            return None
        if len(value) != 4:
            raise NotStun("its LIFETIME has not four bytes")
        return int.from_bytes(value, "big")

    def text(self, attribute: Attribute) -> str | None:
        """An attribute that is text."""
        value = self.attributes.get(attribute)
        return None if value is None else value.decode("utf-8", "replace")[:200]

    def fits(self, key: bytes) -> bool:
        """Whether who made the message has the key: its MESSAGE-INTEGRITY is right."""
        at = _find(self.data, Attribute.MESSAGE_INTEGRITY)
        if at is None:
            return False
        return hmac.compare_digest(_integrity(self.data[:at], key), self.attributes[Attribute.MESSAGE_INTEGRITY])

    def _endpoint(self, attribute: Attribute) -> Endpoint | None:
        value = self.attributes.get(attribute)
        if value is None:
            return None
        mask = _MAGIC.to_bytes(4, "big") + self.transaction_id
        if len(value) not in (8, 20) or value[1] != (1 if len(value) == 8 else 2):
            raise NotStun("an address in it cannot be read")
        port = int.from_bytes(value[2:4], "big") ^ (_MAGIC >> 16)
        raw = bytes(one ^ other for one, other in zip(value[4:], mask, strict=False))
        return Endpoint(str(IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)), port)


def request(method: Method, transaction_id: bytes, credentials: Credentials | None = None, **more: int) -> bytes:
    """A request. `lifetime` in seconds may be given; an allocation is one for UDP, the only kind that there is."""
    attributes: list[tuple[int, bytes]] = []
    if method is Method.ALLOCATE:
        attributes.append((Attribute.REQUESTED_TRANSPORT, bytes([_UDP, 0, 0, 0])))
    if "lifetime" in more:
        attributes.append((Attribute.LIFETIME, more["lifetime"].to_bytes(4, "big")))
    if credentials is not None:
        attributes += [
            (Attribute.USERNAME, credentials.username.encode()),
            (Attribute.REALM, credentials.realm.encode()),
            (Attribute.NONCE, credentials.nonce),
        ]
    return encode(method, Kind.REQUEST, transaction_id, attributes, None if credentials is None else credentials.key)


def encode(
    method: int, kind: Kind, transaction_id: bytes, attributes: list[tuple[int, bytes]], key: bytes | None = None
) -> bytes:
    """A message, with MESSAGE-INTEGRITY if there is a `key`, and FINGERPRINT."""
    body = b"".join(_attribute(number, value) for number, value in attributes)
    message = _HEADER.pack(_type(method, kind), len(body), _MAGIC, transaction_id) + body
    if key is not None:
        message += _attribute(Attribute.MESSAGE_INTEGRITY, _integrity(message, key))
    message = _with_length(message, _FIELD.size + _FINGERPRINT_BYTES)
    return message + _attribute(Attribute.FINGERPRINT, _fingerprint(message))


def decode(data: bytes) -> Message:
    """Reads a message, and verifies its FINGERPRINT if it has one. Raises NotStun."""
    if len(data) < HEADER_BYTES:
        raise NotStun("it is too short")
    kind_and_method, length, magic, transaction_id = _HEADER.unpack_from(data)
    if kind_and_method & 0xC000 or magic != _MAGIC:
        raise NotStun("it does not begin as a message of STUN does")
    if length % 4 or len(data) != HEADER_BYTES + length:
        raise NotStun("its length is wrong")
    method = kind_and_method & 0xF | (kind_and_method >> 1) & 0x70 | (kind_and_method >> 2) & 0xF80
    kind = Kind((kind_and_method >> 4) & 1 | (kind_and_method >> 7) & 2)
    message = Message(method, kind, transaction_id, _attributes(data), data)
    at = _find(data, Attribute.FINGERPRINT)
    if at is not None and message.attributes[Attribute.FINGERPRINT] != _fingerprint(data[:at]):
        raise NotStun("its FINGERPRINT is wrong")
    return message


def whole_length(start: bytes) -> int | None:
    """On a stream: how long the message that begins so is; None for what is too short to say. Raises NotStun."""
    if len(start) < _FIELD.size:
        return None
    kind_and_method, length = _FIELD.unpack_from(start)
    if kind_and_method & 0xC000 or length % 4 or length > MAX_BYTES:
        raise NotStun("what came is no message of STUN")
    return HEADER_BYTES + int(length)


def _type(method: int, kind: Kind) -> int:
    bits = method & 0xF | (method & 0x70) << 1 | (method & 0xF80) << 2
    return bits | (kind & 1) << 4 | (kind & 2) << 7


def _attribute(number: int, value: bytes) -> bytes:
    return _FIELD.pack(number, len(value)) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = HEADER_BYTES
    while at < len(data):
        if at + _FIELD.size > len(data):
            raise NotStun("an attribute is cut off")
        number, length = _FIELD.unpack_from(data, at)
        at += _FIELD.size
        if at + length > len(data):
            raise NotStun("an attribute is cut off")
        # "What follows MESSAGE-INTEGRITY is ignored, with the exception of FINGERPRINT": nothing else proves anything.
        if Attribute.MESSAGE_INTEGRITY not in found or number == Attribute.FINGERPRINT:
            found.setdefault(number, data[at : at + length])
        at += length + -length % 4
    return found


def _find(data: bytes, attribute: Attribute) -> int | None:
    """Where the first attribute of a type begins."""
    at = HEADER_BYTES
    while at + _FIELD.size <= len(data):
        number, length = _FIELD.unpack_from(data, at)
        if number == attribute:
            return at
        at += _FIELD.size + length + -length % 4
    return None


def _with_length(message: bytes, more: int) -> bytes:
    """The message with the length that it has when `more` bytes follow."""
    return message[:2] + (len(message) - HEADER_BYTES + more).to_bytes(2, "big") + message[4:]


def _integrity(before: bytes, key: bytes) -> bytes:
    return hmac.new(key, _with_length(before, _FIELD.size + _INTEGRITY_BYTES), hashlib.sha1).digest()


def _fingerprint(before: bytes) -> bytes:
    whole = _with_length(before, _FIELD.size + _FINGERPRINT_BYTES)
    return (zlib.crc32(whole) ^ _FINGERPRINT_XOR).to_bytes(4, "big")
