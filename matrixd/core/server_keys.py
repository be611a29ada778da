"""The keys that a server publishes. https://spec.matrix.org/v1.19/server-server-api/#publishing-keys"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from matrixd.core.errors import SignatureInvalid
from matrixd.core.signing import ALGORITHM, MAX_KEY_VALIDITY_MS, SigningKey, VerifyKey, sign_json, verify_json


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """The keys of one server, as it published them at some time."""

    server_name: str
    #: Milliseconds since 1970: the server's word, but at most 7 days after the answer was received.
    valid_until_ts: int
    #: Key ID -> key, current and old ones.
    keys: Mapping[str, VerifyKey]

    @classmethod
    def from_response(cls, response: Mapping[str, Any], server_name: str, received_ts: int) -> ServerKeys:
        """Reads what a server (or a notary for it) answered, and checks that its own current keys signed it.

        Keys of other algorithms are left out. `received_ts` is milliseconds since 1970. Raises SignatureInvalid when
        the answer is malformed, speaks for another server, or is not signed by it.
        """
        if response.get("server_name") != server_name:
            raise SignatureInvalid(f"The keys are not those of {server_name}")
        valid_until_ts = response.get("valid_until_ts")
        if type(valid_until_ts) is not int:
            raise SignatureInvalid("valid_until_ts must be an integer")
        # A key that is "valid for ever" could never be revoked: each has to be asked for again after a week.
        valid_until_ts = min(valid_until_ts, received_ts + MAX_KEY_VALIDITY_MS)
        current = _read_keys(response.get("verify_keys"), "verify_keys", valid_until_ts)
        verify_json(response, server_name, current)
        old = _read_keys(response.get("old_verify_keys", {}), "old_verify_keys", None)
        return cls(server_name, valid_until_ts, {**old, **current})


def published_keys(
    server_name: str, current: Iterable[SigningKey], old: Iterable[VerifyKey], valid_until_ts: int
) -> dict[str, Any]:
    """The signed answer to `GET /_matrix/key/v2/server`. `old` keys need their `expired_ts`; others are left out."""
    current = list(current)
    response: dict[str, Any] = {
        "server_name": server_name,
        "valid_until_ts": valid_until_ts,
        "verify_keys": {key.key_id: {"key": key.verify_key.to_base64()} for key in current},
        "old_verify_keys": {
            key.key_id: {"key": key.to_base64(), "expired_ts": key.expired_ts}
            for key in old
            if key.expired_ts is not None
        },
    }
    for key in current:
        response = sign_json(response, server_name, key)
    return response


def _read_keys(entries: object, field: str, valid_until_ts: int | None) -> dict[str, VerifyKey]:
    """`valid_until_ts` is that of current keys; None reads old ones, each of which has its own `expired_ts`."""
    if not isinstance(entries, dict):
        raise SignatureInvalid(f"{field} must be an object")
    keys = {}
    for key_id, entry in entries.items():
        if not key_id.startswith(ALGORITHM + ":"):
            continue
        key = entry.get("key") if isinstance(entry, dict) else None
        expired_ts = entry.get("expired_ts") if isinstance(entry, dict) and valid_until_ts is None else None
        if not isinstance(key, str) or (valid_until_ts is None and type(expired_ts) is not int):
            raise SignatureInvalid(f"{field}: the entry of {key_id} is incomplete")
        try:
            keys[key_id] = VerifyKey.from_base64(key_id, key, valid_until_ts, expired_ts)
        except ValueError as error:
            raise SignatureInvalid(f"{field}: {error}") from error
    return keys
