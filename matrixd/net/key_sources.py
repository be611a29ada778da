"""Who tells the keys of a server: the server itself, and notaries.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from matrixd.core.errors import SignatureInvalid
from matrixd.core.server_keys import ServerKeys
from matrixd.core.signing import VerifyKey, verify_json

#: An answer about one server may have so many bytes, and name so many keys.
_MAX_BYTES = 64 * 1024
_MAX_KEYS = 200

#: What one answer of a notary may have, in bytes.
_MAX_NOTARY_BYTES = 8 * 1024 * 1024

#: In seconds. A server that has not answered by then is asked again later, and a notary meanwhile.
SERVER_TIMEOUT_S = 8.0
_NOTARY_TIMEOUT_S = 20.0


class KeyClient(Protocol):
    """The part of the federation client that fetches keys. Both raise RemoteError."""

    async def get_unsigned(
        self, destination: str, path: str, *, timeout_s: float, max_bytes: int, ignore_backoff: bool
    ) -> Any: ...

    async def post(self, destination: str, path: str, content: Any, *, timeout_s: float, max_bytes: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class Notary:
    """A server that is trusted to tell the keys of others (`trusted_key_servers`)."""

    server_name: str
    #: Key ID -> the keys of which one must have signed its answers; none where its TLS certificate is enough.
    verify_keys: Mapping[str, VerifyKey]


@dataclass(frozen=True, slots=True)
class Told:
    """What was answered about one server, its signatures checked."""

    keys: ServerKeys
    #: The signed object as it was received.
    response: Mapping[str, Any]
    from_server: str


async def ask_server(client: KeyClient, server_name: str, received_ts: int, ignore_backoff: bool) -> Told:
    """What a server says of its own keys. Raises RemoteError, and SignatureInvalid for an answer that is no good.

    https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
    """
    response = await client.get_unsigned(
        server_name,
        "/_matrix/key/v2/server",
        timeout_s=SERVER_TIMEOUT_S,
        max_bytes=_MAX_BYTES,
        ignore_backoff=ignore_backoff,
    )
    return _told(response, server_name, server_name, received_ts)


async def ask_notary(
    client: KeyClient, notary: Notary, wanted: Mapping[str, Mapping[str, int]], received_ts: int
) -> tuple[list[Told], list[SignatureInvalid]]:
    """What a notary says of the keys of servers (name -> key ID -> ms), and what was wrong with some of its answers.

    Raises RemoteError. https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
    """
    criteria = {
        server_name: {key_id: {"minimum_valid_until_ts": ts} for key_id, ts in key_ids.items()}
        for server_name, key_ids in wanted.items()
    }
    answer = await client.post(
        notary.server_name,
        "/_matrix/key/v2/query",
        {"server_keys": criteria},
        timeout_s=_NOTARY_TIMEOUT_S,
        max_bytes=_MAX_NOTARY_BYTES,
    )
    told: list[Told] = []
    wrong: list[SignatureInvalid] = []
    for response in _responses(answer):
        # A notary may tell of servers that it was not asked about; nobody waits for those.
        server_name = response.get("server_name") if isinstance(response, dict) else None
        if isinstance(server_name, str) and server_name in wanted:
            try:
                if notary.verify_keys:
                    verify_json(response, notary.server_name, notary.verify_keys)
                told.append(_told(response, server_name, notary.server_name, received_ts))
            except SignatureInvalid as error:
                wrong.append(error)
    return told, wrong


def _responses(answer: Any) -> Sequence[Any]:
    found = answer.get("server_keys") if isinstance(answer, dict) else None
    return found if isinstance(found, list) else ()


def _told(response: Any, server_name: str, from_server: str, received_ts: int) -> Told:
    if not isinstance(response, dict):
        raise SignatureInvalid(f"The keys of {server_name} are not a JSON object")
    keys = ServerKeys.from_response(response, server_name, received_ts)
    if len(keys.keys) > _MAX_KEYS:
        raise SignatureInvalid(f"{server_name} has more than {_MAX_KEYS} keys")
    return Told(keys, response, from_server)
