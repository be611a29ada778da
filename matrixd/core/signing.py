"""Signatures on JSON, and the Ed25519 keys that make and check them.

https://spec.matrix.org/v1.19/appendices/#signing-json
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nacl import bindings
from nacl.exceptions import BadSignatureError
from unpaddedbase64 import decode_base64, encode_base64

from matrixd.core import canonical_json
from matrixd.core.errors import NotCanonical, SignatureInvalid
from matrixd.core.identifiers import is_signing_key_id, parse_key_id

#: The one algorithm of Matrix.
ALGORITHM: Final = "ed25519"

#: Milliseconds after which a key is asked for again, whatever its server says of it.
#: https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period
MAX_KEY_VALIDITY_MS: Final = 7 * 24 * 60 * 60 * 1000

_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A private key with its ID. The key itself appears in no text form but `to_line`."""

    #: `ed25519:version`
    key_id: str
    #: 32 bytes, the public key.
    public: bytes
    _secret: bytes

    @classmethod
    def from_seed(cls, version: str, seed: bytes) -> SigningKey:
        """The key of 32 random bytes, under the ID `ed25519:version`. Raises ValueError for a wrong length or name."""
        key_id = f"{ALGORITHM}:{version}"
        if not is_signing_key_id(key_id):
            raise ValueError(f"{version!r} is no name for a signing key: only A-Z, a-z, 0-9 and _ are allowed")
        if len(seed) != _KEY_BYTES:
            raise ValueError(f"the seed of a signing key has {_KEY_BYTES} bytes, not {len(seed)}")
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(key_id, public, secret)

    @classmethod
    def from_line(cls, line: str) -> SigningKey:
        """Reads `ed25519 version base64_seed`, as a signing key file holds it. Raises ValueError without naming it."""
        parts = line.split()
        if len(parts) != 3 or parts[0] != ALGORITHM:
            raise ValueError(f"a signing key is written as: {ALGORITHM} NAME KEY")
        try:
            seed = decode_base64(parts[2])
        except ValueError:
            raise ValueError(f"the signing key {parts[1]!r} is not base64") from None
        return cls.from_seed(parts[1], seed)

    def to_line(self) -> str:
        """What `from_line` reads: SECRET."""
        algorithm, version = parse_key_id(self.key_id)
        return f"{algorithm} {version} {encode_base64(self._secret[:_KEY_BYTES])}"

    def sign(self, message: bytes) -> str:
        """The signature of the bytes, in unpadded base64."""
        return encode_base64(bindings.crypto_sign(message, self._secret)[:_SIGNATURE_BYTES])

    @property
    def verify_key(self) -> VerifyKey:
        """The public half, without an end of its validity."""
        return VerifyKey(self.key_id, self.public)

    def __repr__(self) -> str:
        return f"<SigningKey {self.key_id}>"


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key with its ID and its period. https://spec.matrix.org/v1.19/server-server-api/#publishing-keys"""

    #: `ed25519:version`
    key_id: str
    #: 32 bytes.
    public: bytes
    #: Milliseconds since 1970 until which a current key is known to be good; None when it needs no refresh.
    valid_until_ts: int | None = None
    #: Milliseconds since 1970 at which an old key (`old_verify_keys`) went out of use; None for a current key.
    expired_ts: int | None = None

    @classmethod
    def from_base64(
        cls, key_id: str, key: str, valid_until_ts: int | None = None, expired_ts: int | None = None
    ) -> VerifyKey:
        """A key as servers publish it. Raises ValueError for another algorithm and for what is no key."""
        if parse_key_id(key_id)[0] != ALGORITHM:
            raise ValueError(f"{key_id!r} is not an {ALGORITHM} key")
        public = decode_base64(key)
        if len(public) != _KEY_BYTES:
            raise ValueError(f"the key {key_id!r} has {len(public)} bytes, not {_KEY_BYTES}")
        return cls(key_id, public, valid_until_ts, expired_ts)

    def to_base64(self) -> str:
        """The key as servers publish it."""
        return encode_base64(self.public)

    def verifies(self, message: bytes, signature: str) -> bool:
        """Whether `signature` (base64) is this key's signature of the bytes."""
        try:
            decoded = decode_base64(signature)
        except ValueError:
            return False
        if len(decoded) != _SIGNATURE_BYTES:
            return False
        try:
            bindings.crypto_sign_open(decoded + message, self.public)
        except BadSignatureError:
            return False
        return True

    def counts_at(self, timestamp: int, *, enforce_validity: bool) -> bool:
        """Whether a signature of this key counts on an event with this `origin_server_ts` (ms since 1970).

        A key that is known to have expired before does not. With `enforce_validity` (room version 5 and later) a
        current key also has to be known as valid until then.
        https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
        https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period
        """
        if self.expired_ts is not None:
            return self.expired_ts >= timestamp
        return not enforce_validity or self.valid_until_ts is None or self.valid_until_ts >= timestamp


def signable_bytes(value: Mapping[str, Any]) -> bytes:
    """What a signature of the object covers: its canonical JSON without `signatures` and `unsigned`."""
    return canonical_json.encode({k: v for k, v in value.items() if k not in ("signatures", "unsigned")})


def with_signature(value: Mapping[str, Any], server_name: str, key_id: str, signature: str) -> dict[str, Any]:
    """The object with one more signature: a new dict that shares all else with the old one.

    What stands in the place of signatures but cannot hold any is replaced.
    """
    signatures = value.get("signatures")
    if not isinstance(signatures, dict):
        signatures = {}
    theirs = signatures.get(server_name)
    ours = {**theirs, key_id: signature} if isinstance(theirs, dict) else {key_id: signature}
    return {**value, "signatures": {**signatures, server_name: ours}}


def sign_json(value: Mapping[str, Any], name: str, key: SigningKey) -> dict[str, Any]:
    """The object with the signature of an entity, normally a server, added. Raises NotCanonical.

    https://spec.matrix.org/v1.19/appendices/#signing-details
    """
    return with_signature(value, name, key.key_id, key.sign(signable_bytes(value)))


def signatures_by(value: Mapping[str, Any], name: str) -> dict[str, str]:
    """The signatures of an entity on an object that can be checked: key ID -> signature (base64).

    Steps 1 and 2 of https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
    """
    signatures = value.get("signatures")
    entry = signatures.get(name) if isinstance(signatures, dict) else None
    if not isinstance(entry, dict):
        return {}
    prefix = ALGORITHM + ":"
    return {key_id: found for key_id, found in entry.items() if key_id.startswith(prefix) and isinstance(found, str)}


def verify_json(value: Mapping[str, Any], name: str, keys: Mapping[str, VerifyKey]) -> None:
    """Raises SignatureInvalid unless an entity signed the object with a key of `keys` (key ID -> key).

    Every signature whose key is given has to be right. Periods of keys are the caller's business.
    https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
    """
    try:
        message = signable_bytes(value)
    except NotCanonical as error:
        raise SignatureInvalid(f"The object that {name} is said to have signed has no canonical JSON") from error
    verify_signatures(message, name, signatures_by(value, name), keys)


def verify_signatures(message: bytes, name: str, signatures: Mapping[str, str], keys: Mapping[str, VerifyKey]) -> None:
    """Raises SignatureInvalid unless one of the signatures has its key among `keys`, and all of those are right."""
    if not signatures:
        raise SignatureInvalid(f"There is no signature of {name}")
    checked = False
    for key_id, signature in signatures.items():
        key = keys.get(key_id)
        if key is None:
            continue
        if not key.verifies(message, signature):
            raise SignatureInvalid(f"The signature of {name} with the key {key_id} is wrong")
        checked = True
    if not checked:
        raise SignatureInvalid(f"No usable key of {name} is known for its signatures ({', '.join(sorted(signatures))})")
